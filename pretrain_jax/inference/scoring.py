"""Log-likelihoods of texts under a model.

`likelihood.py` says which rows a model reads to score a text; this file runs them.
"""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np

from pretrain_jax import losses
from pretrain_jax.batch import FIELDS
from pretrain_jax.data.pack import field_axes, pack
from pretrain_jax.data.row_plan import plan_rows
from pretrain_jax.inference.decoding import SMALLEST, Decoder, bucket, divide
from pretrain_jax.inference.generation import Generator
from pretrain_jax.ragged import Fields, Ragged, RowSplits
from pretrain_jax.rounding import round_up

ROW = 128
"""Tokens of a packed row, if no text is longer."""
LOGITS = 1 << 25
"""Logits in memory at once: 128 MiB. On CPUs, more are 10 % slower (docs/evaluation.md)."""
SPARE = 8
"""An axis gets 1 / SPARE more than its share, because rows differ."""


class Row(NamedTuple):
    """A row that a model reads, and the tokens that it predicts there."""

    fields: Mapping[str, np.ndarray]
    """Of the contract, without a batch axis: tokens [n], and memory_tokens or prefix."""
    predict_at: np.ndarray
    """int32 [p]: the positions that predict."""
    targets: np.ndarray
    """int32 [p]: the tokens that are predicted there."""

    def cut(self, count: int) -> "Row":
        """The row without its first `count` targets."""
        return self._replace(predict_at=self.predict_at[count:], targets=self.targets[count:])


class Result(NamedTuple):
    """What a model says of the targets of a row."""

    log_p: np.ndarray
    """float32 [p]: their log-probabilities."""
    hits: np.ndarray
    """bool [p]: whether each is the likeliest token."""


NOTHING = Result(np.zeros(0, np.float32), np.zeros(0, np.bool_))


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
    generator: Generator,
    texts: Sequence[np.ndarray],
    rows: Sequence[Sequence[Row]],
    predict: Callable[[Generator, Sequence[Row]], list[Result]],
) -> list[Score]:
    """The score of each text, int32 [n], from its rows, which predict its tokens in their order.

    The rows of a text may leave out its first token, which nothing precedes. predict: runs the
    rows of all texts together.
    """
    results = iter(predict(generator, [row for some in rows for row in some]))
    scores = []
    for text, some in zip(texts, rows, strict=True):
        parts = [NOTHING, *(next(results) for _ in some)]
        log_p, hits = map(np.concatenate, zip(*parts, strict=True))
        missing = len(text) - len(log_p)
        log_p = np.pad(log_p, (missing, 0))
        scores.append(make_score(generator, text, log_p, missing, bool(hits.all())))
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
) -> list[Result]:
    """What a model says of the targets of each row.

    Short rows are packed into long ones, as in training; those of similar lengths run together.
    batch_size: packed rows that run together.
    """
    made: dict[int, Result] = {}
    for numbers in group_by_length(rows):
        examples = to_fields([rows[i] for i in numbers])
        lengths = lengths_of(examples)
        budgets = choose_budgets(lengths, generator.context)
        plan = plan_rows(np.stack(list(lengths.values()), axis=1), np.array(list(budgets.values())))
        size, parts = divide(len(plan), batch_size, generator.ways)
        for part in parts:
            chosen = plan.take(np.arange(len(plan))[part])
            counts = np.pad(chosen.splits.sizes, (0, size - len(chosen.splits)))
            picked = {name: x.select(chosen.values) for name, x in examples.items()}
            batch = pack(picked, counts, budgets=budgets)
            static = {"decoder": generator.decoder, "method": method}
            results = generator.to_host(_predict(generator.params, batch, **static))
            targets = picked["targets"].splits
            used = np.bincount(RowSplits(counts).row_ids, targets.sizes, size)
            filled = np.arange(budgets["P"]) < used[:, None]
            log_p, hits = (Ragged(x[filled], targets).split() for x in results)
            for i, *pair in zip(chosen.values, log_p, hits, strict=True):
                made[numbers[i]] = Result(*pair)
    return [made.get(i, NOTHING) for i in range(len(rows))]


def predict_once(generator: Generator, rows: Sequence[Row], batch_size: int) -> list[Result]:
    """`predict` of a causal model, without predicting the same token from the same ones twice.

    Of the texts "a b c" and "a b d", only "d" of the second is predicted. The positions that a row
    predicts are a range.
    """
    streams = [np.append(row.fields["tokens"], row.targets[-1:]) for row in rows]
    order = sorted(range(len(rows)), key=lambda i: streams[i].tolist())
    known = {
        i: count_known(rows[last], rows[i], streams[last], streams[i])
        for last, i in itertools.pairwise(order)
    }
    parts = [row.cut(known.get(i, 0)) for i, row in enumerate(rows)]
    made = dict(enumerate(predict(generator, parts, batch_size)))
    for last, i in itertools.pairwise(order):
        if known[i]:
            start = rows[i].predict_at[0] - rows[last].predict_at[0]
            before = (values[start : start + known[i]] for values in made[last])
            made[i] = Result(*map(np.append, before, made[i]))
    return [made[i] for i in range(len(rows))]


def count_known(last: Row, row: Row, last_stream: np.ndarray, stream: np.ndarray) -> int:
    """How many of the first targets of a row another row predicts from the same tokens.

    last_stream, stream: the tokens of both rows with the last target.
    """
    if not len(row.targets) or not len(last.targets) or last.predict_at[0] > row.predict_at[0]:
        return 0
    count = min(len(stream), len(last_stream))
    differs = np.flatnonzero(stream[:count] != last_stream[:count])
    same = int(differs[0]) if len(differs) else count
    return int(np.clip(same - 1 - row.predict_at[0], 0, len(row.targets)))


def group_by_length(rows: Sequence[Row]) -> list[list[int]]:
    """The numbers of rows whose packed rows have the same length, for each such length.

    Rows without targets are left out.
    """
    groups: dict[int, list[int]] = {}
    for number, row in enumerate(rows):
        if not len(row.targets):
            continue
        longest = max(len(x) for x in row.fields.values())
        groups.setdefault(max(1 << (longest - 1).bit_length(), ROW), []).append(number)
    return list(groups.values())


def to_fields(rows: Sequence[Row]) -> dict[str, Ragged]:
    """The fields of rows as examples for the packer."""
    fields = {
        name: Ragged.concatenate([row.fields[name] for row in rows], FIELDS[name].dtype)
        for name in rows[0].fields
    }
    fields["predict_at"] = Ragged.concatenate([row.predict_at for row in rows])
    return {**fields, "targets": Ragged.concatenate([row.targets for row in rows])}


def lengths_of(examples: Fields) -> dict[str, np.ndarray]:
    """int [N]: the length of each example on each axis, "L", "P" and perhaps "M"."""
    return {axis: examples[name].splits.sizes for name, axis in field_axes(tuple(examples)).items()}


def choose_budgets(lengths: Mapping[str, np.ndarray], limit: int) -> dict[str, int]:
    """The length of each axis of a packed row: about ROW, or the longest example, on the longest
    axis; the others in proportion to what the examples have.

    limit: the model's positions, which bound a row; 0 = no limit.
    """
    sums = {axis: int(sizes.sum()) for axis, sizes in lengths.items()}
    main = max(sums, key=lambda axis: sums[axis])
    row = max(min(sums[main], ROW), int(lengths[main].max()))
    budgets = {}
    for axis, sizes in lengths.items():
        share = math.ceil(row * sums[axis] / max(sums[main], 1))
        wanted = max(share + (axis != main) * share // SPARE, int(sizes.max()), 1)
        budgets[axis] = pad_length(wanted)
        if limit and axis == "L":
            budgets[axis] = min(budgets[axis], max(limit, int(sizes.max())))
    return budgets


def pad_length(length: int) -> int:
    """The length of an axis: 8, 16, 24, 32, and then the buckets of decoding: 48, 64, 96, 128, ...

    >>> pad_length(11), pad_length(100)
    (16, 128)
    """
    return round_up(length, 8) if length <= SMALLEST else bucket(length)


@partial(jax.jit, static_argnames=("decoder", "method"))
def _predict(
    params: Any, batch: Any, *, decoder: Decoder, method: str
) -> tuple[jax.Array, jax.Array]:
    targets = batch["targets"]
    read = {name: x for name, x in batch.items() if name != "targets"}
    output, _ = decoder.apply_cached(params, read, {}, (), method=method)
    nll, hits = losses.nll_and_hits(output, targets, LOGITS)
    return -nll, hits
