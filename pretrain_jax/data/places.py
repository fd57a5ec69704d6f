"""Which tokens have the characters of a place in a text."""

import numpy as np

from pretrain_jax.data.corpus import BLOCK_CHARACTERS
from pretrain_jax.ragged import RowSplits


def find_tokens(
    tokens: np.ndarray, texts: RowSplits, places: np.ndarray, text: np.ndarray
) -> np.ndarray:
    """int64 [K, 2]: the first and the last token that has a character of each of K places.

    tokens   uint32 [T, 2], the characters of each token in its text (TokenCache.places)
    texts    the splits of the tokens into texts
    places   int [K, 2], the first character of each place and the one after its last
    text     int [K], the text of each place

    Without such a token, the first is greater than the last. Tokens of white space have no
    character. "Zoë runs", as the tokens Zo ë runs, has the words Zoë and runs:

    >>> tokens = np.array([[0, 2], [2, 3], [4, 8]])
    >>> find_tokens(tokens, RowSplits([3]), np.array([[0, 3], [4, 8]]), np.array([0, 0])).tolist()
    [[0, 1], [2, 2]]
    """
    spelled = np.flatnonzero(tokens[:, 1] > tokens[:, 0])
    if not len(spelled):
        return np.tile([1, 0], (len(places), 1))
    base = 2 * BLOCK_CHARACTERS * np.arange(len(texts))  # so that places ascend over all texts
    begins, ends = (tokens[spelled] + base[texts.row_ids[spelled], None]).T
    wanted_begins, wanted_ends = (places + base[text, None]).T
    first = ends.searchsorted(wanted_begins, side="right")
    last = begins.searchsorted(wanted_ends, side="left") - 1
    found = np.stack([spelled[np.minimum(first, len(spelled) - 1)], spelled[last]], 1)
    found[(first > last) | (wanted_begins >= wanted_ends)] = (1, 0)
    return found
