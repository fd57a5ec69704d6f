"""Where words lie in texts, and how words that are too long are cut."""

import numpy as np

from pretrain_jax.ragged import Parts, Ragged

LONGEST_WORD = 48
"""Bytes; what is longer is no word but text without spaces, as Thai and Chinese are written. Thirty
letters of German, 24 of Russian or 16 of Hindi fit."""


STRETCH = 6
"""Bytes of the stretches that such text is cut into: a word of English with its space has 5.9."""


def cut_words(
    texts: Ragged, starts: np.ndarray, counts: np.ndarray, token_bytes: np.ndarray
) -> np.ndarray:
    """`starts` [T] with more of them inside of words that are too long to be taken as one.

    Those are words of more tokens than `counts` [E], which never fit, and of more than LONGEST_WORD
    bytes. They are cut into stretches of about STRETCH bytes and at most `counts` tokens. Every
    other word stays as it is. token_bytes: int [vocabulary], bytes of each token.

    One word of 5 tokens of 3 bytes, of which 3 may be noise:

    >>> starts = np.array([True, False, False, False, False])
    >>> cut_words(Ragged(np.arange(5), Parts([5])), starts, np.array([3]), np.full(5, 3))
    array([ True, False,  True,  True,  True])
    """
    begins = beginnings(texts.parts, starts)
    tokens, most = np.diff(begins), np.maximum(counts, 1)
    token_bytes = np.maximum(token_bytes, 1)  # an unknown token has none
    # Most words have too few tokens to be too long: only the others are measured.
    enough = np.minimum(most, LONGEST_WORD // token_bytes.max(initial=1))
    (some,) = (tokens > enough[texts.parts.of[begins[:-1]]]).nonzero()
    if not len(some):
        return starts
    begins, within = begins[some], Parts(tokens[some])
    places, most = within.each(begins) + within.place, most[texts.parts.of[begins]]
    sizes = token_bytes[texts.values[places]]
    behind = within.running(sizes)
    long = (within.sizes > most) | (behind[within.starts + within.sizes - 1] > LONGEST_WORD)
    if not long.any():
        return starts
    stretch = (behind - sizes) // STRETCH
    edges = (np.diff(stretch, prepend=0) != 0) | (within.place % within.each(most) == 0)
    cut = starts.copy()
    cut[places] |= edges & within.each(long)
    return cut


def lengths_of_words(starts: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """int [words]: the sum of `sizes` [T] over each word of one text; starts: bool [T].

    >>> lengths_of_words(np.array([True, False, True]), np.array([1, 2, 4]))
    array([3, 4])
    """
    _, begins = words_of(Parts([len(starts)]), starts)
    return np.add.reduceat(sizes, begins[:-1]) if len(sizes) else sizes


def words_of(texts: Parts, starts: np.ndarray) -> tuple[Parts, np.ndarray]:
    """(words of each text, where each word begins, int [words + 1], with the end of all)."""
    begins = beginnings(texts, starts)
    return texts.counts(begins[:-1]), begins


def beginnings(texts: Parts, starts: np.ndarray) -> np.ndarray:
    """int [words + 1]: where each word begins, with the end of all."""
    edge = np.ones(texts.total + 1, np.bool_)
    edge[:-1] = starts
    edge[texts.leading] = True
    return edge.nonzero()[0]
