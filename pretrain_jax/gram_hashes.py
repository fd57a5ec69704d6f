"""Hashes of n ids in a row, at every place of a sequence at once.

The hash of the ids a, b, ... is a polynomial in MULTIPLIER modulo 2^64. Equal grams have equal
hashes; two different ones have the same hash with a chance of about 2^-64.
"""

import numpy as np

MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
"""2^64 divided by the golden ratio; odd, so that multiplying by it loses no information."""


def extend(shorter: np.ndarray, ids: np.ndarray, n: int) -> np.ndarray:
    """uint64 [T + 1]: the hash of the n ids from each place, 0 where there are fewer.

    shorter: the same of n - 1 ids, zeros for n = 1. ids: int [T], 0 or more.
    """
    hashes = np.zeros(len(ids) + 1, np.uint64)
    last = ids[n - 1 :].astype(np.uint64) + np.uint64(1)
    hashes[: len(last)] = (shorter[: len(last)] + last) * MULTIPLIER
    return hashes


def hash_grams(ids: np.ndarray, n: int) -> np.ndarray:
    """uint64 [T - n + 1]: the hash of the n ids from each place that has as many.

    >>> hashes = hash_grams(np.array([5, 6, 5, 6]), 2)
    >>> [len(hashes), bool(hashes[0] == hashes[2]), bool(hashes[0] == hashes[1])]
    [3, True, False]
    """
    hashes = np.zeros(len(ids) + 1, np.uint64)
    for length in range(1, n + 1):
        hashes = extend(hashes, ids, length)
    return hashes[: max(len(ids) - n + 1, 0)]
