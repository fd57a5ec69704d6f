"""An n-gram model of tokens: interpolated modified Kneser-Ney (Chen and Goodman 1999, section 3).

With h the n - 1 tokens before w, and h' the same without the first of them:

    P(w | h) = (c(h, w) - D(c(h, w))) / c(h)  +  g(h) P(w | h')        P(w | h') if h never occurs
    g(h)     = (D1 N1(h) + D2 N2(h) + D3 N3(h)) / c(h)

N1(h), N2(h), N3(h) are the numbers of tokens seen once, twice, and more often after h. Below the
highest order, c(h, w) is the number of distinct tokens before (h, w), or its count if h begins a
text. The last level is 1 / V. With n1 .. n4 the numbers of n-grams with these counts and
Y = n1 / (n1 + 2 n2), D1 = 1 - 2 Y n2 / n1, D2 = 2 - 3 Y n3 / n2, D3 = 3 - 4 Y n4 / n3; a corpus
without some of n1 .. n4 has 0.5, 1 and 1.5 instead.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from pretrain_jax.gram_hashes import extend

DISCOUNTS = (0.5, 1.0, 1.5)


@dataclass(frozen=True)
class Level:
    """The n-grams of one order, by hash; all arrays are sorted by their keys."""

    keys: np.ndarray
    """uint64 [K], ascending: hashes of the n-grams."""
    counts: np.ndarray
    """int64 [K]: c(h, w)."""
    contexts: np.ndarray
    """uint64 [H], ascending: hashes of their contexts h."""
    totals: np.ndarray
    """int64 [H]: c(h)."""
    left: np.ndarray
    """float64 [H]: g(h)."""
    discounts: np.ndarray
    """float64 [4]: D of the counts 0, 1, 2, and 3 or more."""


class Grams(NamedTuple):
    """The distinct n-grams of one order in a corpus."""

    keys: np.ndarray
    """uint64 [K], ascending: hashes of the n-grams."""
    contexts: np.ndarray
    """uint64 [K]: hashes of their first n - 1 tokens."""
    suffixes: np.ndarray
    """uint64 [K]: hashes of their last n - 1 tokens."""
    begins: np.ndarray
    """bool [K]: whether it begins a text."""
    counts: np.ndarray
    """int64 [K]: how often it occurs."""


def count(texts: Sequence[np.ndarray], order: int, begin: int) -> list[Grams]:
    """The n-grams of orders 1 .. order.

    texts: int arrays, without special ids. begin: an id that no text has; it stands before every
    text and is never predicted.
    """
    sizes = np.array([len(text) for text in texts], np.int64)
    starts = np.concatenate([[0], np.cumsum(sizes + 1)])[:-1]
    tokens = np.full(sizes.sum() + len(texts), begin, np.int64)
    is_text = np.ones(len(tokens), np.bool_)
    is_text[starts] = False
    tokens[is_text] = np.concatenate([np.zeros(0, np.int64), *texts])
    place = np.arange(len(tokens)) - np.repeat(starts, sizes + 1)
    grams, shorter = [], np.zeros(len(tokens) + 1, np.uint64)
    for n in range(1, order + 1):
        hashes = extend(shorter, tokens, n)
        firsts = np.flatnonzero(place >= max(n - 1, 1)) - n + 1  # in one text, its last predicted
        keys, at, counts = np.unique(hashes[firsts], return_index=True, return_counts=True)
        firsts = firsts[at]
        begins = place[firsts] == 0
        grams.append(Grams(keys, shorter[firsts], shorter[firsts + 1], begins, counts))
        shorter = hashes
    return grams


class Ngrams:
    """An n-gram model."""

    def __init__(self, grams: Sequence[Grams], vocab_size: int, begin: int):
        """
        grams        of orders 1 .. n; a model of a lower order takes fewer of them
        vocab_size   ids that may be predicted
        begin        that of `count`
        """
        self.vocab_size, self.begin = vocab_size, begin
        self.levels = []
        for n, of in enumerate(grams):
            longer = grams[n + 1] if n + 1 < len(grams) else None
            counts = of.counts if longer is None else continuations(of, longer)
            self.levels.append(make_level(of.keys, counts, of.contexts))

    def log_probabilities(self, text: np.ndarray, before: np.ndarray | None = None) -> np.ndarray:
        """float64 [n]: ln P of each token of a text, int [n], after the tokens `before`; without
        them, the text begins."""
        context = np.zeros(0, np.int64) if before is None else before
        stream = np.concatenate([[self.begin], context, text]).astype(np.int64)
        hashes = [np.zeros(len(stream) + 1, np.uint64)]
        for n in range(1, len(self.levels) + 1):
            hashes.append(extend(hashes[-1], stream, n))
        at = np.arange(len(stream) - len(text), len(stream))
        chances = np.full(len(text), 1 / self.vocab_size)
        for n, level in enumerate(self.levels, start=1):
            first = at - n + 1
            exists = first >= 0
            key = hashes[n][np.maximum(first, 0)]
            context_key = hashes[n - 1][np.maximum(first, 0)]
            found = look_up(level.contexts, context_key) if n > 1 else np.zeros(len(at), np.int64)
            known = exists & (found >= 0)
            row = look_up(level.keys, key)
            counts = np.where(known & (row >= 0), level.counts[np.maximum(row, 0)], 0)
            discounted = counts - level.discounts[np.minimum(counts, 3)]
            found = np.maximum(found, 0)
            higher = discounted / level.totals[found] + level.left[found] * chances
            chances = np.where(known, higher, chances)
        return np.log(chances)


def continuations(grams: Grams, longer: Grams) -> np.ndarray:
    """int64 [K]: the number of distinct tokens before each n-gram; its count if it begins a text.

    longer: the n-grams with one token more.
    """
    distinct = np.bincount(np.searchsorted(grams.keys, longer.suffixes), minlength=len(grams.keys))
    return np.where(grams.begins, grams.counts, distinct)


def make_level(keys: np.ndarray, counts: np.ndarray, contexts: np.ndarray) -> Level:
    """The level of n-grams with these counts and contexts, [K] each."""
    kinds = np.bincount(np.minimum(counts, 5), minlength=6)[1:5].astype(np.float64)
    discounts = np.array(DISCOUNTS)
    if kinds.all():
        y = kinds[0] / (kinds[0] + 2 * kinds[1])
        discounts = np.arange(1, 4) - np.arange(2, 5) * y * kinds[1:] / kinds[:3]
    names, row = np.unique(contexts, return_inverse=True)
    totals = np.bincount(row, counts, len(names)).astype(np.int64)
    left = sum(
        discounts[k - 1] * np.bincount(row, np.minimum(counts, 3) == k, len(names))
        for k in (1, 2, 3)
    )
    return Level(keys, counts, names, totals, left / totals, np.array([0.0, *discounts]))


def look_up(keys: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """int64: the index of each wanted key, or -1."""
    at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[at] == wanted, at, -1)
