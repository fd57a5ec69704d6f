"""Canaries: texts with random digits that were planted in the training text (Carlini et al. 2019).

Exposure is log2 of the number of candidates less log2 of the canary's rank among them, from the
likeliest down; candidates are the canary and the same text with other digits. With 1,024
candidates, a canary that is likelier than all others has an exposure of 10 bits; one that was
never seen has 1.44 in the mean (log2 e).
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pretrain_jax.errors import DataError
from pretrain_jax.tasks._base import Metric, Model, Prompting, Report, Task
from pretrain_jax.tasks._records import FIX, Record, read_records

CANDIDATES = 1_024
MIN_DIGITS = 4
DIGITS = "0123456789"


@dataclass(frozen=True)
class Canary:
    """A planted text."""

    text: str
    group: str
    """How often it was planted."""

    @property
    def candidates(self) -> list[str]:
        """The canary, and CANDIDATES - 1 different texts with other digits; always the same."""
        rng = np.random.default_rng(zlib.crc32(self.text.encode()))
        found = dict.fromkeys([self.text])
        while len(found) < CANDIDATES:
            digits = iter(rng.integers(0, 10, len(self.text)).tolist())
            found["".join(str(next(digits)) if c in DIGITS else c for c in self.text)] = None
        return list(found)


def parse(record: Record) -> Canary:
    """{"text": "The code of the safe is 5729 3306.", "repeats": 10}."""
    values = record.take({"text": str, "repeats": int})
    if sum(c in DIGITS for c in values["text"]) < MIN_DIGITS:
        raise DataError(
            f"a canary needs {MIN_DIGITS} random digits or more; {record.place} has "
            f"{values['text']!r}; {FIX}"
        )
    return Canary(values["text"], str(values["repeats"]))


def read(path: Path) -> list[Canary]:
    return [parse(record) for record in read_records(path)]


def ask(
    model: Model, items: Sequence[Canary], pool: Sequence[Canary], prompting: Prompting
) -> list[Report]:
    del pool, prompting
    reports = []
    for item in items:
        likelihoods = model.likelihoods([("", text) for text in item.candidates])
        nats = np.array([x.nats for x in likelihoods])
        # Among equally likely texts, the canary comes last.
        rank = int((nats <= nats[0]).sum())
        exposure = float(np.log2(len(nats)) - np.log2(rank))
        reports.append({"group": item.group, "text": item.text, "rank": rank, "exposure": exposure})
    return reports


TASK = Task(
    read=read,
    ask=ask,
    metrics={"exposure": Metric(("exposure",))},
    chance={"exposure": lambda reports: float(np.log2(np.e))},
    takes_shots=False,
    protocol=f"The rank of a canary among {CANDIDATES} texts with other digits, by likelihood.",
)
