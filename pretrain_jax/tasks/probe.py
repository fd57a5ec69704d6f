"""Linear probing: what a logistic regression makes of frozen vectors of texts.

The folder has train.tsv and dev.tsv (text, label), or train.jsonl and dev.jsonl with "text" and
"label". A classifier is fitted on the vectors of each layer (scikit-learn, standardised, L2 with
C = 1) and scored on the texts of dev.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pretrain_jax.errors import DataError, InputMissing, short_repr
from pretrain_jax.tasks._base import Model, Prompting, Report, Task, share
from pretrain_jax.tasks._layers import LAYERS, pick_layers
from pretrain_jax.tasks._records import FIX, read_lines, read_records

TRAIN, DEV = "train", "dev"


@dataclass(frozen=True)
class Labelled:
    """A text with its label."""

    text: str
    label: str
    train: Sequence["Labelled"] = ()
    """Of a text of dev: all texts of train."""


def read(path: Path) -> list[Labelled]:
    """The texts of dev. Raises DataError without two labels in train."""
    train, dev = (read_file(path, name) for name in (TRAIN, DEV))
    if len({item.label for item in train}) < 2:
        raise DataError(f"probing needs two labels or more; the train file of {path} has fewer")
    return [Labelled(item.text, item.label, train) for item in dev]


def read_file(folder: Path, name: str) -> list[Labelled]:
    """The texts of FOLDER/NAME.tsv or FOLDER/NAME.jsonl."""
    table, records = folder / f"{name}.tsv", folder / f"{name}.jsonl"
    if records.exists():
        rows = [record.take({"text": str}) | {"place": record.place}
                for record in read_records(records)]  # fmt: skip
        for row in rows:
            if not isinstance(row.get("label"), str | int):
                raise DataError(
                    f'"label" in {row["place"]} must be a text or a number; received '
                    f"{short_repr(row.get('label'))}; {FIX}"
                )
        return [Labelled(row["text"], str(row["label"])) for row in rows]
    if not table.exists():
        raise InputMissing(f"probing needs {table} or {records}; neither exists; {FIX}")
    found = []
    for number, line in enumerate(read_lines(table), start=1):
        if not line:  # after the last line
            continue
        text, tab, label = line.rpartition("\t")
        if not tab or not text.strip():
            raise DataError(f"{table} line {number} must be text, tab, label; it is {line[:60]!r}")
        found.append(Labelled(text, label.strip()))
    return found


def ask(
    model: Model, items: Sequence[Labelled], pool: Sequence[Labelled], prompting: Prompting
) -> list[Report]:
    del pool, prompting
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    train = items[0].train
    labels = [item.label for item in train]
    answers = {}
    for name, layer in pick_layers(model.layers).items():
        fitted = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
        fitted.fit(model.embed([item.text for item in train], layer), labels)
        answers[name] = fitted.predict(model.embed([item.text for item in items], layer))
    common = Counter(labels).most_common(1)[0][0]
    return [
        {
            "label": item.label,
            "prediction": str(answers["last"][i]),
            "is_commonest": float(item.label == common),
            **{
                f"accuracy{suffix}": float(answers[name][i] == item.label)
                for name, suffix in LAYERS.items()
            },
        }
        for i, item in enumerate(items)
    ]


def commonest(reports: Sequence[Report]) -> float:
    """The accuracy of always answering the commonest label of train."""
    return float(np.mean([report["is_commonest"] for report in reports]))


METRICS = {f"accuracy{suffix}": share(f"accuracy{suffix}") for suffix in LAYERS.values()}
TASK = Task(
    read=read,
    ask=ask,
    metrics=METRICS,
    chance=dict.fromkeys(METRICS, commonest),
    needs="embed",
    takes_shots=False,
    protocol="A logistic regression on the mean of the vectors of a text's tokens.",
)
