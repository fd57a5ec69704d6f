"""Word boundaries in texts, and splitting of words that are too long."""

import numpy as np

from pretrain_jax.ragged import Ragged, RowSplits

LONGEST_WORD = 48
"""Bytes; a longer word is text without spaces, such as Thai or Chinese. Words of up to 30
letters of German, 24 of Russian or 16 of Hindi fit."""

STRETCH = 6
"""Bytes per piece of such text. An English word with its space has 5.9 on average."""


def split_long_words(
    texts: Ragged, starts: np.ndarray, counts: np.ndarray, token_bytes: np.ndarray
) -> np.ndarray:
    """`starts` [T] with additional word starts inside words that are too long.

    A word is too long if it has more tokens than `counts` [E], so that it can never be noise, or
    more than LONGEST_WORD bytes. It is split into pieces of about STRETCH bytes and at most
    `counts` tokens. All other words are unchanged. token_bytes: int [V], bytes of each token.

    A word of 5 tokens of 3 bytes each, where 3 tokens may be noise:

    >>> starts = np.array([True, False, False, False, False])
    >>> split_long_words(Ragged(np.arange(5), RowSplits([5])), starts, np.array([3]), np.full(5, 3))
    array([ True, False,  True,  True,  True])
    """
    begins = word_boundaries(texts.splits, starts)
    tokens, most = np.diff(begins), np.maximum(counts, 1)
    token_bytes = np.maximum(token_bytes, 1)  # an unknown token has 0 bytes
    # Most words have too few tokens to be too long; only the others are measured.
    short = np.minimum(most, LONGEST_WORD // token_bytes.max(initial=1))
    (some,) = (tokens > short[texts.splits.row_ids[begins[:-1]]]).nonzero()
    if not len(some):
        return starts
    begins, within = begins[some], RowSplits(tokens[some])
    places, most = within.broadcast(begins) + within.offsets, most[texts.splits.row_ids[begins]]
    sizes = token_bytes[texts.values[places]]
    ends = within.cumsum(sizes)
    long = (within.sizes > most) | (ends[within.starts + within.sizes - 1] > LONGEST_WORD)
    if not long.any():
        return starts
    stretch = (ends - sizes) // STRETCH
    splits = (np.diff(stretch, prepend=0) != 0) | (within.offsets % within.broadcast(most) == 0)
    more_starts = starts.copy()
    more_starts[places] |= splits & within.broadcast(long)
    return more_starts


def word_lengths(starts: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """int [words]: the sum of `sizes` [T] over each word of one text. starts: bool [T].

    >>> word_lengths(np.array([True, False, True]), np.array([1, 2, 4]))
    array([3, 4])
    """
    _, begins = word_splits(RowSplits([len(starts)]), starts)
    return np.add.reduceat(sizes, begins[:-1]) if len(sizes) else sizes


def word_splits(texts: RowSplits, starts: np.ndarray) -> tuple[RowSplits, np.ndarray]:
    """(splits of the words into texts, `word_boundaries`)."""
    begins = word_boundaries(texts, starts)
    return texts.take(begins[:-1]), begins


def word_boundaries(texts: RowSplits, starts: np.ndarray) -> np.ndarray:
    """int [words + 1]: the index of the first token of each word, then T."""
    edge = np.ones(texts.total + 1, np.bool_)
    edge[:-1] = starts
    edge[texts.nonempty_starts] = True
    return edge.nonzero()[0]
