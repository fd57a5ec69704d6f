"""Rows as batches. The order of the data is a pure function of (seed, row number).

Row r of a stream belongs to one member of the mixture; it is that member's n-th row, which is the
row `permute(n % R, R, seed, epoch)` of its plan of R rows, in epoch n // R. Nothing is remembered
between rows, so hosts, worker processes, prefetching and restarts cannot change the order.
"""

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from pretrain_jax.batch import is_text
from pretrain_jax.data.cache import TokenCache
from pretrain_jax.data.carry import Batch, carried
from pretrain_jax.data.order import permute
from pretrain_jax.data.pack import blank, pack
from pretrain_jax.data.plan import Rows, planned_rows
from pretrain_jax.errors import DataError
from pretrain_jax.ragged import Fields, Parts

EVAL_SEED = 0
ENDLESS = 1 << 40


class Examples(Protocol):
    """Raw examples: Chunks, Joined or Texts (arrange.py), or Pairs (pairs.py)."""

    cache: TokenCache
    length: np.ndarray
    """int32 [N], or [N, 2] for examples of two texts."""

    def __len__(self) -> int: ...

    def take(self, numbers: np.ndarray) -> Fields: ...


@dataclass(frozen=True)
class Member:
    """One member of a mixture: a plan over raw examples, and what makes an example of each.

    corrupt   corrupt(raw examples, uniform, vocab) -> their fields; pure
    vocab     the tokenizer, handed to `corrupt`
    rate      rows of this member, relative to the others'
    copies    0: noise is drawn afresh in every epoch; n: epoch e has the noise of epoch e mod n
    """

    examples: Examples
    rows: Rows
    corrupt: Callable[..., Fields]
    vocab: Any
    rate: float = 1.0
    copies: int = 0

    @classmethod
    def planned(
        cls,
        examples: Examples,
        *,
        lengths: Callable[[Any], Mapping[str, Any]],
        budgets: Mapping[str, int],
        corrupt: Callable[..., Fields],
        vocab: Any,
        rate: float = 1.0,
        copies: int = 0,
    ) -> "Member":
        """A member with its plan made, or read from beside the token cache.

        lengths   upper bounds of each axis for raw examples; gets `examples.length`
        budgets   length of each axis in a row

        Raises DataError when there is not one example.
        """
        if not len(examples):
            raise DataError(
                "a member of data.mixture must hold an example; every document of this one is too "
                "short to predict anything"
            )
        bounds = lengths(examples.length)
        axes = sorted(bounds)
        needs = [np.broadcast_to(bounds[axis], len(examples)) for axis in axes]
        parent = examples.cache.folder.parent
        rows = planned_rows(parent, np.stack(needs, 1), np.array([budgets[a] for a in axes]))
        return cls(examples, rows, corrupt, vocab, rate, copies)

    def take(self, numbers: np.ndarray, seed: int, name: int) -> tuple[Fields, np.ndarray]:
        """(the examples of the member's rows `numbers` [R], how many each row has).

        Row n is the row `permute(n % R, R, seed, epoch)` of the plan, in epoch n // R.
        """
        epochs = numbers // len(self.rows)
        places = np.empty_like(numbers)
        for epoch in np.unique(epochs):  # those of a batch are few
            now = epochs == epoch
            shuffled = numbers[now] - epoch * len(self.rows)
            places[now] = permute(shuffled, len(self.rows), seed, int(epoch), name)
        chosen = self.rows.take(places)
        drawn = epochs % self.copies if self.copies else epochs
        noise = Noise(seed, name, drawn, places, chosen.parts)
        fields = self.corrupt(self.examples.take(chosen.values), noise, self.vocab)
        return fields, chosen.parts.sizes


class Noise:
    """The random numbers of the examples of some rows: each row has its own, wherever it is made.

    Philox counts, so that its state is set (1 us) where another generator would have to be made
    (12 us).
    """

    def __init__(
        self, seed: int, name: int, epochs: np.ndarray, places: np.ndarray, examples: Parts
    ):
        self.philox = np.random.Philox(key=np.array([seed % (1 << 64), name], np.uint64))
        self.generator = np.random.Generator(self.philox)
        self.state = self.philox.state
        self.rows = list(zip(places.tolist(), epochs.tolist(), strict=True))
        self.examples = examples
        self.call = 1  # 0 is what pairs.py draws from with the same key

    def __call__(self, sizes: np.ndarray) -> np.ndarray:
        """float64 in [0, 1), `sizes` [E] of them for the examples (corruption.Uniform)."""
        so_far = np.append(0, sizes.cumsum())
        behind = so_far[self.examples.starts + self.examples.sizes].tolist()
        drawn, at = np.empty(behind[-1]), 0
        for row, end in zip(self.rows, behind, strict=True):
            self.state["state"]["counter"][:] = (0, self.call, *row)
            self.philox.state = self.state
            self.generator.random(out=drawn[at:end])
            at = end
        self.call += 1
        return drawn


@dataclass(frozen=True)
class Stream:
    """An endless sequence of rows that can be read at any place.

    fields            what every member's `corrupt` writes
    budgets           length of each axis of a row
    cross_documents   each row is one text: attention and positions run across its examples
    """

    members: Sequence[Member]
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
        """Rows until a member comes to its second epoch."""
        total = sum(member.rate for member in self.members)
        return min(int(len(m.rows) * (total / m.rate)) for m in self.members)

    def member_of(self, row: int) -> tuple[int, int]:
        """(m, n): row `row` of the stream is the n-th row of member m.

        After any number of rows each member has had its share of them to within one row for each
        member before it: member 0 takes the rows where floor(row * share + 1/2) steps up, the
        others share out the rest in the same way.
        """
        for m, share in enumerate(self.shares):
            before, after = ((r * share + (1 << 31)) >> 32 for r in (row, row + 1))
            if after > before:
                return m, before
            row -= before
        raise AssertionError("the last member's share is the whole")

    def batch(self, numbers: Sequence[int], seed: int) -> Batch:
        """The rows with these numbers, packed: arrays [B, ...]. A number below 0 is padding."""
        owners = [self.member_of(number) if number >= 0 else (-1, -1) for number in numbers]
        owner, own = np.array(owners, np.int64).reshape(-1, 2).T
        batch = blank(len(numbers), self.fields, self.budgets)
        for m, member in enumerate(self.members):
            mine = (owner == m).nonzero()[0]
            if len(mine):
                examples, counts = member.take(own[mine], seed, m)
                rows = pack(
                    examples, counts, budgets=self.budgets, cross_documents=self.cross_documents
                )
                for name, values in rows.items():
                    batch[name][mine] = values
        return batch


def batches(
    stream: Stream,
    *,
    seed: int,
    batch_size: int,
    first_row: int = 0,
    here: Iterable[int] | None = None,
    workers: int = 0,
    prefetch: int = 4,
) -> Generator[Batch, None, None]:
    """Endless batches of `batch_size` rows; of each, the rows `here` (by place, ascending), or all.

    Row i of the batch of step s is row first_row + s * batch_size + i of the stream, whoever makes
    it. Rows are made ahead in a thread, or in `workers` processes. The iterator's own state need
    never be saved: to go on after step s, start with first_row + s * batch_size. Close it
    (`contextlib.closing`) to end its processes.
    """
    own = range(batch_size) if here is None else [int(place) for place in here]

    def load(step: int) -> Batch:
        first = first_row + step * batch_size
        return stream.batch([first + place for place in own], seed)

    return carried(load, ENDLESS, workers, prefetch)


def eval_rows(stream: Stream, tokens_wanted: int, special: np.ndarray) -> tuple[int, int]:
    """How many rows of `eval_batches` hold at least so many predicted text tokens, and how many.

    At most one epoch, which may hold fewer. special: bool [V], ids that no score counts.
    """
    found = 0
    for first in range(0, len(stream), 64):
        batch = stream.batch(range(first, min(first + 64, len(stream))), EVAL_SEED)
        totals = found + np.cumsum(is_text(batch, special).sum(1))
        if totals[-1] >= tokens_wanted:
            last = int(np.searchsorted(totals, tokens_wanted))
            return first + last + 1, int(totals[last])
        found = int(totals[-1])
    return len(stream), found


def eval_batches(
    stream: Stream,
    *,
    rows: int,
    batch_size: int,
    here: Iterable[int] | None = None,
    workers: int = 0,
    prefetch: int = 4,
) -> Generator[Batch, None, None]:
    """The first `rows` rows of a fixed order with fixed noise; the last batch is padded.

    The same rows and the same noise at each call, whatever the batch size and `here`.
    """
    own = range(batch_size) if here is None else [int(place) for place in here]

    def load(step: int) -> Batch:
        made = [step * batch_size + place for place in own]
        numbers = [row if row < rows else -1 for row in made]
        return stream.batch(numbers, EVAL_SEED)

    return carried(load, -(-rows // batch_size), workers, prefetch)
