"""Perplexity and bits per byte of any text: .txt files are one text each, .jsonl a text a line."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pretrain_jax.errors import DataError
from pretrain_jax.tasks._base import Metric, Model, Prompting, Report, Task
from pretrain_jax.tasks._records import FIX, find_files, read_records, read_text


def read(path: Path) -> list[str]:
    """The texts of a file or a folder of .txt files; of .jsonl files, the "text" of each line."""
    texts: list[str] = []
    if path.suffix == ".jsonl" or (path.is_dir() and not any(path.glob("*.txt"))):
        texts = [record.take({"text": str})["text"] for record in read_records(path)]
    else:
        texts = [read_text(file) for file in find_files(path, ".txt")]
    if not any(map(str.strip, texts)):
        raise DataError(f"perplexity needs a text; those of {path} are empty; {FIX}")
    return texts


def ask(
    model: Model, items: Sequence[str], pool: Sequence[str], prompting: Prompting
) -> list[Report]:
    del pool, prompting
    return [
        {
            "nats": x.nats,
            "tokens": x.tokens,
            "bytes": len(text.encode("utf-8", "replace")),
            "words": len(text.split()),
        }
        for text, x in zip(items, model.text_likelihoods(items), strict=True)
    ]


def ratio(of: np.ndarray, to: np.ndarray) -> float:
    """NaN if nothing is scored."""
    return float(of.sum() / to.sum()) if to.sum() else math.nan


def perplexity(nats: np.ndarray, of: np.ndarray) -> float:
    """exp(nats for each token or word)."""
    return float(np.exp(np.minimum(ratio(nats, of), 700.0)))


def bits(nats: np.ndarray, of: np.ndarray, tokens: np.ndarray) -> float:
    """Bits for each byte; NaN if no token is scored."""
    return ratio(nats, of) / math.log(2) if tokens.sum() else math.nan


METRICS: dict[str, Any] = {
    "bits_per_byte": Metric(("nats", "bytes", "tokens"), bits),
    "perplexity": Metric(("nats", "tokens"), perplexity),
    "word_perplexity": Metric(("nats", "words"), perplexity),
}
TASK = Task(
    read=read,
    ask=ask,
    metrics=METRICS,
    needs="text_likelihoods",
    takes_shots=False,
    protocol=(
        "Windows of all positions of the model; a window begins half a window after the one before "
        "it, and scores the tokens that this one did not."
    ),
)
