"""What an objective with labels learns from its source: the classes, the commonest of them, and the
number of texts of a record.

They are resolved at the first start and stored in the config, so that they belong to the model:
evaluation, prediction and a resumed run read them from config.json.
"""

import logging
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from pretrain_jax.composition.corpora import open_annotated
from pretrain_jax.composition.spec import build_spec
from pretrain_jax.composition.task import Task
from pretrain_jax.data.corpus import Corpus
from pretrain_jax.errors import ConfigError, DataError, short_repr
from pretrain_jax.objectives import ExampleTask

log = logging.getLogger(__name__)
BY_LABELS = ("labels", "fallback")
"""The keys that follow from the labels of the source, of those that an objective has."""
OUTSIDE = "O"
"""The tag of words outside of all entities."""
NUMBER = re.compile(r"[+-]?[0-9]{1,300}(\.[0-9]+)?")
MOST_CLASSES = 1000
"""More classes than this are probably not classes."""


def fix_labels(config: Any, stored: Mapping[str, Any] | None = None) -> Any:
    """The config with the classes and the number of texts in `objective` resolved.

    stored: the config of the workdir, if it has one; it has all of them already, but for the texts
    of a model that was imported. Raises ConfigError, DataError, InputMissing.
    """
    spec = build_spec(config)
    objective = Task(spec).objective
    task = objective.example_task
    if task is None:
        return config
    section, by_number = config.objective, task.resolve(2).keys()
    missing = [key for key in (*BY_LABELS, *by_number) if key in section and not section[key]]
    found = dict[str, Any]()
    if stored is not None:
        known = {key: stored["objective"].get(key) for key in missing}
        found = {key: tuple(x) if isinstance(x, list) else x for key, x in known.items() if x}
        missing = [key for key in missing if key in by_number and key not in found]
    if missing:
        corpus = open_annotated(spec.data, spec.data.source, objective)
        found |= read_source(corpus, task, missing)
    fixed = config.copy_and_resolve_references()
    with fixed.unlocked():
        for key, value in found.items():
            fixed.objective[key] = value
    return fixed


def read_source(corpus: Corpus, task: ExampleTask, missing: Sequence[str]) -> dict[str, Any]:
    """The values of the keys `missing`, from the training records."""
    found = dict[str, Any]()
    if set(missing) - set(BY_LABELS):
        found |= task.resolve(corpus.texts_per_record)
    if set(missing) & set(BY_LABELS):
        labels = (label for label in corpus.labels("train") if label is not None)
        counts = Counter(name for label in labels for name in task.classes(label))
        names = task.labels or name_classes(corpus, counts)
        common = max(counts, key=lambda name: counts[name], default=names[0])
        found |= {"labels": names, "fallback": OUTSIDE if OUTSIDE in names else common}
    return {key: found[key] for key in missing}


def name_classes(corpus: Corpus, counts: Counter[str]) -> tuple[str, ...]:
    """The classes, in order: numbers by value, other names as text. Raises DataError, ConfigError
    unless they are 2 to MOST_CLASSES."""
    if len(counts) < 2:
        raise DataError(
            f"classification needs two classes or more; the records of {corpus.name} have "
            f"{'the one label ' + short_repr(next(iter(counts))) if counts else 'no labels'}. Name "
            "the column of labels with data.label_key"
        )
    if len(counts) > MOST_CLASSES:
        raise ConfigError(
            f"classification may have at most {MOST_CLASSES} classes that are not named; the "
            f"{counts.total()} labels of {corpus.name} are {len(counts)} different ones. Is "
            "data.label_key the column of labels? For numbers use objective.name=regress; to keep "
            "these classes, name them with objective.labels"
        )
    names = sorted(counts, key=order)
    shares = ", ".join(f"{short_repr(name)} {counts[name] / counts.total():.1%}" for name in names)
    log.info("%s: %d classes: %s", corpus.name, len(names), shares)
    return tuple(names)


def order(label: str) -> tuple[float, str]:
    """The key that sorts labels.

    >>> sorted(["10", "2", "b", "a", "-1", "0.5"], key=order)
    ['-1', '0.5', '2', '10', 'a', 'b']
    """
    return (float(label) if NUMBER.fullmatch(label) else float("inf"), label)
