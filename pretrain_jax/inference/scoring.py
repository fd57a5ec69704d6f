"""Log-likelihoods of texts under a model.

`likelihood.py` says which rows a model reads to score a text; this file runs them.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np

from pretrain_jax import losses
from pretrain_jax.inference.decoding import SMALLEST, Decoder, bucket, divide, to_rows
from pretrain_jax.inference.generation import Generator
from pretrain_jax.rounding import round_up


class Row(NamedTuple):
    """A row that a model reads, and the tokens that it predicts there."""

    fields: Mapping[str, np.ndarray]
    """Of the contract, without a batch axis: tokens [n], and memory_tokens or prefix."""
    predict_at: np.ndarray
    """int32 [p]: the positions that predict."""
    targets: np.ndarray
    """int32 [p]: the tokens that are predicted there."""


@dataclass(frozen=True)
class Score:
    """How well a model predicts one text."""

    nats: float
    """Sum of -log p over the scored tokens."""
    tokens: int
    """Number of scored tokens: all but unknown and special ones, and without an id that begins
    documents also the first, which nothing precedes."""
    bytes: int
    """UTF-8 bytes of these tokens."""
    log_probabilities: np.ndarray
    """float32 [n]: of every token of the text; NaN where it is not scored."""
    is_likeliest: bool
    """Whether every predicted token is the likeliest at its place: greedy decoding makes this text,
    if each token is predicted from those before it. Of equally likely tokens the first counts."""

    @property
    def bits_per_byte(self) -> float:
        """nats / ln 2 / bytes; NaN if nothing is scored."""
        return self.nats / math.log(2) / self.bytes if self.bytes else math.nan

    @property
    def perplexity(self) -> float:
        """exp(nats / tokens); NaN if nothing is scored."""
        return math.exp(self.nats / self.tokens) if self.tokens else math.nan


def score_rows(
    generator: Generator, texts: Sequence[np.ndarray], rows: Sequence[Sequence[Row]],
    batch_size: int, method: str = "__call__",
) -> list[Score]:  # fmt: skip
    """The score of each text, int32 [n], from its rows, which predict its tokens in their order.

    The rows of a text may leave out its first token, which nothing precedes. method: of the model.
    """
    flat = [row for some in rows for row in some]
    results = iter(predict(generator, flat, batch_size, method))
    scores = []
    for text, some in zip(texts, rows, strict=True):
        parts = [next(results) for _ in some]
        log_p = np.concatenate([np.zeros(0, np.float32), *(part[0] for part in parts)])
        hits = all(part[1].all() for part in parts)
        missing = len(text) - len(log_p)
        log_p = np.pad(log_p, (missing, 0))
        scores.append(make_score(generator, text, log_p, missing, hits))
    return scores


def make_score(
    generator: Generator, text: np.ndarray, log_p: np.ndarray, missing: int, hits: bool
) -> Score:
    """The score of a text from the log-probability of each token but the first `missing` ones."""
    tokenizer = generator.tokenizer
    scored = ~tokenizer.unscored[text]
    scored[:missing] = False
    lead = tokenizer.lead_bytes if scored[:1].all() else 0
    return Score(
        nats=-float(log_p[scored].sum(dtype=np.float64)),
        tokens=int(scored.sum()),
        bytes=max(int(tokenizer.token_bytes[text][scored].sum()) - lead, 0),
        log_probabilities=np.where(scored, log_p, np.nan).astype(np.float32),
        is_likeliest=hits,
    )


def predict(
    generator: Generator, rows: Sequence[Row], batch_size: int, method: str = "__call__"
) -> list[tuple[np.ndarray, np.ndarray]]:
    """For each row, the log-probability of each target, float32 [p], and whether it is the
    likeliest token, bool [p]. Rows of similar lengths run together."""
    order = sorted(range(len(rows)), key=lambda i: shape_of(rows[i]))
    size, parts = divide(len(rows), batch_size, generator.ways)
    made: dict[int, tuple[np.ndarray, np.ndarray]] = {}
    for part in parts:
        chosen = order[part]
        batch = to_batch([rows[i] for i in chosen], size, generator.context)
        static = {"decoder": generator.decoder, "method": method}
        log_p, hits = generator.to_host(_predict(generator.params, batch, **static))
        for place, i in enumerate(chosen):
            count = len(rows[i].targets)
            made[i] = log_p[place, :count], hits[place, :count]
    return [made[i] for i in range(len(rows))]


def shape_of(row: Row) -> tuple[int, ...]:
    """The padded lengths of a row: of its memory, its tokens and its predictions."""
    memory = len(row.fields.get("memory_tokens", ()))
    lengths = (pad_length(memory), pad_length(len(row.fields["tokens"])), len(row.targets))
    return *lengths[:2], pad_count(lengths[2])


def to_batch(rows: Sequence[Row], size: int, limit: int) -> dict[str, np.ndarray]:
    """The fields [size, ...] of a batch with one row each, and `targets` [size, P].

    Rows without one repeat the last. limit: the model's positions; 0 = no limit.
    """
    batch = to_rows([row.fields for row in rows], size, limit, pad_length)
    width = max(pad_count(len(row.targets)) for row in rows)
    for name in ("predict_at", "targets"):
        values = np.zeros((size, width), np.int32)
        for place, row in enumerate(rows):
            values[place, : len(row.targets)] = getattr(row, name)
        batch[name] = values
    return batch


def pad_length(length: int, limit: int = 0) -> int:
    """The padded length of rows: 8, 16, 24, 32, and then the buckets of decoding.

    >>> pad_length(11), pad_length(100), pad_length(100, limit=120)
    (16, 128, 120)
    """
    size = round_up(max(length, 1), 8) if length <= SMALLEST else bucket(length)
    return min(size, limit) if limit else size


def pad_count(count: int) -> int:
    """The padded number of predictions of a row: a power of 2.

    >>> pad_count(1), pad_count(5)
    (1, 8)
    """
    return 1 << max(count - 1, 0).bit_length()


@partial(jax.jit, static_argnames=("decoder", "method"))
def _predict(
    params: Any, batch: Any, *, decoder: Decoder, method: str
) -> tuple[jax.Array, jax.Array]:
    targets = batch["targets"]
    read = {name: x for name, x in batch.items() if name != "targets"}
    output, _ = decoder.apply_cached(params, read, {}, (), method=method)
    nll, hits = losses.nll_and_hits(output, targets)
    return -nll, hits
