"""Batches of rows. The order of the data is a pure function of (seed, row number).

Row r of a stream belongs to one member of the mixture. It is the n-th row of that member, which is
row `permute(n % R, R, seed, epoch)` of its plan of R rows, in epoch n // R. There is no state
between rows, so hosts, worker processes, prefetching and restarts cannot change the order.
"""

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from pretrain_jax.batch import is_text
from pretrain_jax.data.cache import TokenCache
from pretrain_jax.data.pack import empty_batch, pack
from pretrain_jax.data.permutation import permute
from pretrain_jax.data.prefetch import Batch, prefetch_batches
from pretrain_jax.data.row_plan import RowPlan, cached_plan
from pretrain_jax.errors import DataError
from pretrain_jax.ragged import Fields, Ragged, RowSplits
from pretrain_jax.rounding import ceil_div

EVAL_SEED = 0
ENDLESS = 1 << 40


class Examples(Protocol):
    """Raw examples: `DocumentChunks`, `CorpusChunks`, `TextPairs` or `SentencePairs`."""

    cache: TokenCache
    length: np.ndarray
    """int32 [N], or [N, 2] for examples of two texts: tokens of each raw example."""

    def __len__(self) -> int: ...

    def take(self, numbers: np.ndarray) -> Fields: ...


class ExamplesWithReference(Examples, Protocol):
    """Raw examples that a model of reference scores: `Preferences`."""

    def with_reference(self, reference: np.ndarray) -> "ExamplesWithReference": ...


@dataclass(frozen=True)
class MemberRows:
    """The rows of one member of a mixture: raw examples, their plan, and their corruption.

    corrupt   corrupt(raw examples, uniform, vocab) -> fields of the examples; pure
    vocab     the tokenizer, an argument of `corrupt`
    rate      rate of rows from this member, relative to the other members
    copies    0: noise is new in every epoch; n: epoch e has the noise of epoch e mod n
    sequences number of sequences of an example; the fields have as many rows for each
    """

    examples: Examples
    rows: RowPlan
    corrupt: Callable[..., Fields]
    vocab: Any
    rate: float = 1.0
    copies: int = 0
    sequences: int = 1

    @classmethod
    def plan(
        cls,
        examples: Examples,
        *,
        lengths: Callable[[Any], Mapping[str, Any]],
        budgets: Mapping[str, int],
        corrupt: Callable[..., Fields],
        vocab: Any,
        rate: float = 1.0,
        copies: int = 0,
        sequences: int = 1,
    ) -> "MemberRows":
        """Plans the rows, or reads the plan from the folder of the token cache.

        lengths   lengths(examples.length) -> upper bounds of each axis
        budgets   length of each axis of a row

        Raises DataError if there is no example.
        """
        if not len(examples):
            raise DataError(
                "a member of data.mixture needs at least one example; every document of this "
                "member is too short to predict anything. Name other files in data.source"
            )
        bounds = lengths(examples.length)
        axes = sorted(bounds)
        sizes = [np.broadcast_to(bounds[axis], len(examples)) for axis in axes]
        parent = examples.cache.folder.parent
        rows = cached_plan(parent, np.stack(sizes, 1), np.array([budgets[a] for a in axes]))
        return cls(examples, rows, corrupt, vocab, rate, copies, sequences)

    def take(self, numbers: np.ndarray, seed: int, name: int) -> tuple[Fields, np.ndarray]:
        """(fields of the examples in rows `numbers` [R] of this member, sequences per row).

        Row n is row `permute(n % R, R, seed, epoch)` of the plan, in epoch n // R.
        """
        places, epochs = self.places(numbers, seed, name)
        chosen = self.rows.take(places)
        drawn = epochs % self.copies if self.copies else epochs
        noise = RowNoise(seed, name, drawn, places, chosen.splits)
        fields = self.corrupt(self.examples.take(chosen.values), noise, self.vocab)
        return fields, chosen.splits.sizes * self.sequences

    def places(self, numbers: np.ndarray, seed: int, name: int) -> tuple[np.ndarray, np.ndarray]:
        """(indices into the plan, epochs) of rows `numbers` [R] of this member."""
        epochs = numbers // len(self.rows)
        places = np.empty_like(numbers)
        for epoch in np.unique(epochs):  # a batch has few epochs
            selected = epochs == epoch
            shuffled = numbers[selected] - epoch * len(self.rows)
            places[selected] = permute(shuffled, len(self.rows), seed, int(epoch), name)
        return places, epochs


class RowNoise:
    """Random numbers for the examples of some rows; those of a row do not depend on other rows.

    Philox is counter-based: setting its state takes 1 us, creating another generator 12 us.
    """

    def __init__(
        self, seed: int, name: int, epochs: np.ndarray, places: np.ndarray, examples: RowSplits
    ):
        self.philox = np.random.Philox(key=np.array([seed % (1 << 64), name], np.uint64))
        self.generator = np.random.Generator(self.philox)
        self.state = self.philox.state
        self.rows = list(zip(places.tolist(), epochs.tolist(), strict=True))
        self.examples = examples
        self.call = 1  # sentence_pairs.py draws from 0 with the same key

    def __call__(self, sizes: np.ndarray) -> np.ndarray:
        """float64 [sum(sizes)] in [0, 1), sizes[e] numbers for example e (corruption.Uniform)."""
        ends = np.append(0, sizes.cumsum())
        row_ends = ends[self.examples.starts + self.examples.sizes].tolist()
        drawn, at = np.empty(row_ends[-1]), 0
        for row, end in zip(self.rows, row_ends, strict=True):
            self.state["state"]["counter"][:] = (0, self.call, *row)
            self.philox.state = self.state
            self.generator.random(out=drawn[at:end])
            at = end
        self.call += 1
        return drawn


@dataclass(frozen=True)
class Stream:
    """An endless sequence of rows with random access.

    fields            names of the fields that `corrupt` of every member returns
    budgets           length of each axis of a row
    cross_documents   each row is one text: attention and positions span its examples
    """

    members: Sequence[MemberRows]
    fields: Sequence[str]
    budgets: Mapping[str, int]
    cross_documents: bool = False
    shares: list[int] = field(init=False)

    def __post_init__(self):
        rates = [member.rate for member in self.members]
        if not rates or min(rates) <= 0:
            raise ValueError(f"a stream needs members with positive rates; received {rates}")
        shares = [int(r / sum(rates[i:]) * (1 << 32)) for i, r in enumerate(rates)]
        object.__setattr__(self, "shares", shares)

    def __len__(self) -> int:
        """The number of rows until a member starts its second epoch."""
        total = sum(member.rate for member in self.members)
        return min(int(len(m.rows) * (total / m.rate)) for m in self.members)

    def member_of(self, row: int) -> tuple[int, int]:
        """(m, n): row `row` of the stream is the n-th row of member m.

        After any number of rows, each member has its share of them, up to one row per member before
        it. Member 0 has the rows where floor(row * share + 1/2) increases; the other members divide
        the remaining rows in the same way.
        """
        for m, share in enumerate(self.shares):
            before, after = ((r * share + (1 << 31)) >> 32 for r in (row, row + 1))
            if after > before:
                return m, before
            row -= before
        raise AssertionError("the last member takes all remaining rows")

    def examples_of(self, numbers: Sequence[int], seed: int) -> Ragged:
        """The raw examples in these rows of a stream with one member, by number, in order."""
        (member,) = self.members
        places, _ = member.places(np.asarray(numbers, np.int64), seed, 0)
        return member.rows.take(places)

    def batch(self, numbers: Sequence[int], seed: int) -> Batch:
        """A batch of the rows with these numbers: arrays [B, ...].

        A negative number is a padding row.
        """
        owners = [self.member_of(number) if number >= 0 else (-1, -1) for number in numbers]
        owner, member_row = np.array(owners, np.int64).reshape(-1, 2).T
        batch = empty_batch(len(numbers), self.fields, self.budgets)
        for m, member in enumerate(self.members):
            selected = (owner == m).nonzero()[0]
            if len(selected):
                examples, counts = member.take(member_row[selected], seed, m)
                rows = pack(
                    examples, counts, budgets=self.budgets, cross_documents=self.cross_documents
                )
                for name, values in rows.items():
                    batch[name][selected] = values
        return batch


def train_batches(
    stream: Stream,
    *,
    seed: int,
    batch_size: int,
    first_row: int = 0,
    here: Iterable[int] | None = None,
    workers: int = 0,
    prefetch: int = 4,
) -> Generator[Batch, None, None]:
    """Endless batches of `batch_size` rows, or only the rows `here` of each (ascending indices).

    Row i of the batch of step s is row first_row + s * batch_size + i of the stream on every host.
    Rows are prefetched in a thread, or in `workers` processes. The iterator has no state to save:
    to resume after step s, start at first_row + s * batch_size. Close it (`contextlib.closing`) to
    end its processes.
    """
    local = range(batch_size) if here is None else [int(index) for index in here]

    def load(step: int) -> Batch:
        first = first_row + step * batch_size
        return stream.batch([first + index for index in local], seed)

    return prefetch_batches(load, ENDLESS, workers, prefetch)


def count_eval_rows(stream: Stream, tokens_wanted: int, special: np.ndarray) -> tuple[int, int]:
    """(rows of `eval_batches` with at least `tokens_wanted` predicted text tokens, their tokens).

    At most one epoch, which may have fewer tokens. special: bool [V], ids that are not scored.
    """
    counted = 0
    for first in range(0, len(stream), 64):
        batch = stream.batch(range(first, min(first + 64, len(stream))), EVAL_SEED)
        totals = counted + np.cumsum(is_text(batch, special).sum(1))
        if totals[-1] >= tokens_wanted:
            last = int(np.searchsorted(totals, tokens_wanted))
            return first + last + 1, int(totals[last])
        counted = int(totals[-1])
    return len(stream), counted


def eval_batches(
    stream: Stream,
    *,
    rows: int,
    batch_size: int,
    here: Iterable[int] | None = None,
) -> Generator[Batch, None, None]:
    """The first `rows` rows in a fixed order with fixed noise; the last batch is padded.

    Rows and noise are the same in every call and do not depend on `batch_size` and `here`.
    """
    local = range(batch_size) if here is None else [int(index) for index in here]

    def load(step: int) -> Batch:
        batch_rows = [step * batch_size + index for index in local]
        numbers = [row if row < rows else -1 for row in batch_rows]
        return stream.batch(numbers, EVAL_SEED)

    return prefetch_batches(load, ceil_div(rows, batch_size), workers=0, prefetch=4)
