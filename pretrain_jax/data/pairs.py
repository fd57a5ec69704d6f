"""Pairs of texts for next-sentence prediction (Devlin et al. 2019, create_pretraining_data.py).

A is a run of text from a document; B is what follows it there, or, with probability 1/2, text of
another document. Text that was not used because B was drawn elsewhere is put back: the next A
starts right behind this one. Shown with one document of two sentences, raw_length = 7, and "..."
the text of other documents:

    document      a b c d. e f g h i.
    B follows     A = a b c d.   B = e f g          the next A starts at h
    B is drawn    A = a b c d.   B = r s t  (...)   the next A starts at e
"""

from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

import numpy as np

from pretrain_jax.corruption.uniform import whole
from pretrain_jax.data.cache import TokenCache
from pretrain_jax.errors import DataError
from pretrain_jax.ragged import Fields, Parts, Ragged, stretches

WALK = 1 << 16
"""Tokens of a document that are walked through one after the other; all walks go in step."""
BLOCK = 1 << 24


class Pairs:
    """The raw examples of a token cache: two texts and whether the second follows the first.

    Example k has `length[k]` tokens, A and B together. The cut between them is the sentence end
    nearest to a place drawn anywhere, and that place itself where no sentence ends. The label can
    hardly be told from the shape of B: a drawn B begins at a sentence where the true one does, is
    as long, and ends its document where the true one does. (BERT fills a drawn B up to the target,
    so that in a corpus of short documents every pair below it is a true one.)

    What stays at the end of a document and is shorter than two tokens is dropped; a document of
    one token gives no A, but may be a B. The pairs are a function of the cache and these:

    raw_length     most tokens of both together, at least 2
    short          probability that a pair aims at a length drawn from 2 .. raw_length instead
    seed           of the cuts, the labels and the drawn texts
    sentence_ends  bool [V], ids that end a sentence; None: cut anywhere

    Raises DataError where fewer than two documents hold text.
    """

    def __init__(
        self,
        cache: TokenCache,
        *,
        raw_length: int,
        short: float = 0.1,
        seed: int = 0,
        sentence_ends: np.ndarray | None = None,
    ):
        if raw_length < 2 or not 0 <= short <= 1:
            raise ValueError(
                "raw_length must be at least 2 and short a probability; "
                f"received {raw_length} and {short}"
            )
        found = np.count_nonzero(np.diff(cache.offsets))
        if found < 2:
            raise DataError(
                "next-sentence pairs need another document to draw from, so at least two in each "
                f"half of the corpus; this one has {found} with text. Name more files in "
                "data.source, or give one document a line (.jsonl)"
            )
        self.cache = cache
        self.options = {
            "raw_length": raw_length,
            "short": short,
            "seed": seed,
            "sentence_ends": sentence_ends,
        }
        rounds = list(
            walk(cache.offsets, boundaries(cache, sentence_ends), raw_length, short, seed)
        )
        if not rounds:
            raise DataError(
                "next-sentence pairs need a document of at least two tokens; every document of "
                "this half of the corpus has one. Name other files in data.source"
            )
        joined = Round(*(np.concatenate(parts) for parts in zip(*rounds, strict=True)))
        self.pairs = Round(*(part[np.argsort(joined.first)] for part in joined))
        self.length = (self.pairs.first_length + self.pairs.second_length).astype(np.int32)

    def __len__(self) -> int:
        return len(self.length)

    def take(self, numbers: np.ndarray) -> Fields:
        """{"first": int32, a of each, "second": int32, b of each, "is_next": int32, 1 of each};
        a + b = length[k]."""
        pairs, tokens = Round(*(part[numbers] for part in self.pairs)), self.cache.tokens
        return {
            "first": stretches(tokens, pairs.first, pairs.first_length),
            "second": stretches(tokens, pairs.second, pairs.second_length),
            "is_next": Ragged(pairs.is_next.astype(np.int32), Parts(np.ones(len(numbers)))),
        }

    def __reduce__(self):
        """A worker process draws the pairs itself."""
        return partial(Pairs, self.cache, **self.options), ()


class Round(NamedTuple):
    """Pairs [n] drawn at once: places in the cache's tokens, lengths, and the labels."""

    first: np.ndarray
    first_length: np.ndarray
    second: np.ndarray
    second_length: np.ndarray
    is_next: np.ndarray


def boundaries(cache: TokenCache, ends: np.ndarray | None) -> np.ndarray:
    """int64, ascending: places of the cache's tokens where a sentence begins."""
    found = [cache.offsets[:-1]]
    if ends is None:
        return found[0]
    for at in range(0, len(cache.tokens), BLOCK):
        found.append(np.flatnonzero(ends[cache.tokens[at : at + BLOCK]]) + at + 1)
    return np.sort(np.concatenate(found), kind="stable")  # quick where runs are sorted already


def walk(
    offsets: np.ndarray, sentences: np.ndarray, raw_length: int, short: float, seed: int
) -> Iterator[Round]:
    """Round r draws one pair at the current place of every walk that has text left."""
    sizes = np.diff(offsets)
    walks = -(-sizes // WALK)
    document = np.repeat(np.arange(len(sizes)), walks)
    nth = np.arange(len(document)) - np.repeat(np.cumsum(walks) - walks, walks)
    at = offsets[document] + nth * WALK
    stop = np.minimum(at + WALK, offsets[document + 1])
    others = Others(offsets)
    number = 0
    while (going := stop - at >= 2).any():
        document, at, stop = document[going], at[going], stop[going]
        key = np.array([seed % (1 << 64), number], np.uint64)
        draws = np.random.Generator(np.random.Philox(key=key)).random((6, len(at)))
        target = np.where(draws[0] < short, 2 + whole(draws[1], raw_length - 1), raw_length)
        total = np.minimum(target, stop - at)
        cut, at_sentence = snap(at, 1 + whole(draws[2], total - 1), total, sentences)
        is_next = draws[3] < 0.5
        wanted = total - cut
        final = at + total == offsets[document + 1]
        drawn, drawn_length = others.draw(
            document, wanted, final, at_sentence, sentences, draws[4:]
        )
        yield Round(
            at,
            cut,
            np.where(is_next, at + cut, drawn),
            np.where(is_next, wanted, np.minimum(drawn_length, target - cut)),
            is_next,
        )
        at = at + np.where(is_next, total, cut)
        number += 1


def snap(
    at: np.ndarray, cut: np.ndarray, total: np.ndarray, sentences: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The cut moved to the nearest sentence that begins inside the text, and whether one does."""
    after = np.searchsorted(sentences, at + cut)
    near = [sentences[np.maximum(after - 1, 0)], sentences[np.minimum(after, len(sentences) - 1)]]
    far = np.iinfo(np.int64).max
    gaps = [np.where((at < s) & (s < at + total), abs(s - at - cut), far) for s in near]
    nearest = np.where(gaps[0] <= gaps[1], near[0], near[1]) - at
    inside = np.minimum(*gaps) < far
    return np.where(inside, nearest, cut), inside


class Others:
    """Text drawn from documents other than a given one."""

    def __init__(self, offsets: np.ndarray):
        self.offsets = offsets
        sizes = np.diff(offsets)
        self.by_size = np.argsort(sizes, kind="stable")
        self.sizes = sizes[self.by_size]
        self.rank = np.empty_like(self.by_size)
        self.rank[self.by_size] = np.arange(len(sizes))

    def draw(
        self,
        document: np.ndarray,
        wanted: np.ndarray,
        final: np.ndarray,
        at_sentence: np.ndarray,
        sentences: np.ndarray,
        draws: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Where a text of about `wanted` tokens begins in another document, and its length.

        All documents of so many tokens are equally likely; where there is no other one, the
        longest is taken whole. `final`: the text ends its document, and is longer by what is left
        of the sentence it then begins in. `at_sentence`: it begins where a sentence does.
        """
        rank = self.rank[document]
        last = len(self.sizes) - 1
        wanted = np.minimum(wanted, self.sizes[np.where(rank == last, last - 1, last)])
        least = np.searchsorted(self.sizes, wanted)
        # The document itself is one of those in least .. last, and is stepped over.
        chosen = least + whole(draws[0], last - least)
        other = self.by_size[chosen + (chosen >= rank)]
        stop = self.offsets[other + 1]
        latest = stop - wanted - self.offsets[other]
        start = self.offsets[other] + np.where(final, latest, whole(draws[1], latest + 1))
        sentence = sentences[np.searchsorted(sentences, start, side="right") - 1]
        start = np.where(at_sentence, sentence, start)
        return start, np.where(final, stop - start, wanted)
