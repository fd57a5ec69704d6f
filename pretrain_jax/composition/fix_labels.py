"""What an objective with labels learns from its source: the classes, and the texts of a record.

Both are resolved at the first start and stored in the config, so that they belong to the model:
evaluation, prediction and a resumed run read them from config.json.
"""

import logging
from collections import Counter
from collections.abc import Mapping
from typing import Any

from pretrain_jax.composition.corpora import open_annotated
from pretrain_jax.composition.spec import build_spec
from pretrain_jax.composition.task import Task
from pretrain_jax.data.corpus import Corpus
from pretrain_jax.errors import ConfigError, DataError, short_repr

log = logging.getLogger(__name__)
MOST_CLASSES = 1000
"""More classes than this are probably not classes."""


def fix_labels(config: Any, stored: Mapping[str, Any] | None = None) -> Any:
    """The config with `objective.labels` and `objective.texts` resolved.

    stored: the config of the workdir, if it has one; it has both already, but for the texts of a
    model that was imported. Raises ConfigError, DataError, InputMissing.
    """
    spec = build_spec(config)
    objective = Task(spec).objective
    task = objective.example_task
    if task is None:
        return config
    section, found = config.objective, dict[str, Any]()
    if stored is not None:
        known = stored["objective"]
        keys = [key for key in ("labels", *task.resolve(2)) if key in section and key in known]
        found = {key: tuple(known[key]) if key == "labels" else known[key] for key in keys}
    counted = task.texts or all(found.get(key) for key in task.resolve(2))
    lacks_labels = task.labels == () and stored is None
    if lacks_labels or not counted:
        corpus = open_annotated(spec.data, spec.data.source, objective)
        if not counted:
            found |= task.resolve(corpus.texts_per_record)
        if lacks_labels:
            found["labels"] = read_classes(corpus)
    fixed = config.copy_and_resolve_references()
    with fixed.unlocked():
        for key, value in found.items():
            if not section[key]:
                fixed.objective[key] = value
    return fixed


def read_classes(corpus: Corpus) -> tuple[str, ...]:
    """The labels of the training records, in order: numbers by value, other labels as text."""
    counts = Counter(label for label in corpus.labels("train") if label is not None)
    if len(counts) < 2:
        raise DataError(
            f"classification needs two classes or more; the records of {corpus.name} have "
            f"{'the one label ' + short_repr(next(iter(counts))) if counts else 'no labels'}. Name "
            "the column of labels with data.label_key"
        )
    if len(counts) > MOST_CLASSES:
        raise ConfigError(
            f"classification may have at most {MOST_CLASSES} classes that are not named; the "
            f"{counts.total()} records of {corpus.name} have {len(counts)} different labels. Is "
            "data.label_key the column of labels? For numbers use objective.name=regress; to keep "
            "these classes, name them with objective.labels"
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
