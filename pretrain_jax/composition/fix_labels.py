"""What an objective with labels learns from its source: the classes, the commonest of them, and the
number of texts of a record.

They are resolved at the first start and stored in the config, so that they belong to the model:
evaluation, prediction and a resumed run read them from config.json.
"""

import logging
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
KEYS = ("labels", "texts", "fallback")
"""The keys that are resolved, of those that an objective has."""
OUTSIDE = "O"
"""The tag of words outside of all entities."""
MOST_CLASSES = 1000
"""More classes than this are probably not classes."""


def fix_labels(config: Any, stored: Mapping[str, Any] | None = None) -> Any:
    """The config with the keys KEYS of `objective` resolved.

    stored: the config of the workdir, if it has one; it has all of them already. Raises
    ConfigError, DataError, InputMissing.
    """
    spec = build_spec(config)
    objective = Task(spec).objective
    task = objective.example_task
    if task is None:
        return config
    section, found = config.objective, dict[str, Any]()
    wanted = [key for key in KEYS if key in section and not section[key]]
    if stored is not None:
        found = {key: stored["objective"].get(key, section[key]) for key in wanted}
        found = {key: tuple(x) if isinstance(x, list) else x for key, x in found.items()}
    elif wanted:
        found = read_source(open_annotated(spec.data, spec.data.source, objective), task, wanted)
    fixed = config.copy_and_resolve_references()
    with fixed.unlocked():
        for key in wanted:
            fixed.objective[key] = found[key]
    return fixed


def read_source(corpus: Corpus, task: ExampleTask, wanted: Sequence[str]) -> dict[str, Any]:
    """The values of the keys `wanted`, and maybe of others, from the training records."""
    if list(wanted) == ["texts"]:
        return {"texts": task.texts or corpus.texts_per_record}
    labels = (label for label in corpus.labels("train") if label is not None)
    counts = Counter(name for label in labels for name in task.classes(label))
    names = task.labels or name_classes(corpus, counts)
    common = max(counts, key=lambda name: counts[name], default=names[0])
    return {
        "texts": task.texts or corpus.texts_per_record,
        "labels": names,
        "fallback": OUTSIDE if OUTSIDE in names else common,
    }


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
            "data.label_key the column of labels? For numbers use objective.name=regress; "
            "otherwise name the classes with objective.labels"
        )
    names = sorted(counts, key=order)
    shares = ", ".join(f"{short_repr(name)} {counts[name] / counts.total():.1%}" for name in names)
    log.info("%s: %d classes: %s", corpus.name, len(names), shares)
    return tuple(names)


def order(label: str) -> tuple[float, str]:
    """The key that sorts labels.

    >>> sorted(["10", "2", "b", "a"], key=order)
    ['2', '10', 'a', 'b']
    """
    return (float(label) if label.isdecimal() else float("inf"), label)
