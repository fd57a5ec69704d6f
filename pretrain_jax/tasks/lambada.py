"""LAMBADA (Paperno et al. 2016): the last word of a passage (Radford et al. 2019).

The text is OpenAI's plain variant, without lower case and separate punctuation. An answer is right
if every token of the word is the likeliest at its place (greedy decoding, without the stop-word
filter of the GPT-2 paper). `perplexity` is that of the last words: exp(mean nats of a word).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pretrain_jax.errors import DataError
from pretrain_jax.tasks._base import Metric, Model, Prompting, Report, Task, share
from pretrain_jax.tasks._records import FIX, Record, read_records
from pretrain_jax.tasks._shots import add_shots


@dataclass(frozen=True)
class Passage:
    """A passage and its last word, with the space before it."""

    context: str
    word: str

    @property
    def solved(self) -> str:
        return self.context + self.word


def parse(record: Record) -> Passage:
    """{"context": ..., "continuation": "signs"} or {"text": ...}, whose last word is the answer."""
    if "text" in record.values:
        context, _, word = record.take({"text": str})["text"].strip().rpartition(" ")
    else:
        values = record.take({"context": str, "continuation": str})
        context, word = values["context"].rstrip(), values["continuation"].strip()
    if not context or not word:
        raise DataError(
            f"a passage needs a context and a last word; {record.place} has {context[:40]!r} and "
            f"{word!r}; {FIX}"
        )
    return Passage(context, f" {word}")


def read(path: Path) -> list[Passage]:
    return [parse(record) for record in read_records(path)]


def ask(
    model: Model, items: Sequence[Passage], pool: Sequence[Passage], prompting: Prompting
) -> list[Report]:
    contexts = add_shots(items, pool, prompting)
    pairs = [(context, item.word) for context, item in zip(contexts, items, strict=True)]
    likelihoods = model.likelihoods(pairs, whole_words=True)
    return [
        {"word": item.word.strip(), "accuracy": as_number(x.is_likeliest), "nats": x.nats}
        for item, x in zip(items, likelihoods, strict=True)
    ]


def as_number(right: bool | None) -> float:
    """1, 0, or NaN if it is not known."""
    return math.nan if right is None else float(right)


TASK = Task(
    read=read,
    ask=ask,
    metrics={
        "accuracy": share("accuracy"),
        "perplexity": Metric(("nats",), lambda nats: np.exp(min(nats.mean(), 700.0))),
    },
    protocol="Right is a last word whose tokens are all the likeliest at their places.",
)
