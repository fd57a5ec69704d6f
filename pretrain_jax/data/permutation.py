"""A random-access permutation of 0 .. size - 1 for each key, which needs no array of `size`.

A generalized Feistel network (Black and Rogaway 2002, "Ciphers with arbitrary finite domains") over
pairs (left, right) below a side of about sqrt(size). Values of `size` or more pass through the
network again until they are smaller (cycle walking): two passes on average in the worst case, and
one for large sizes.
"""

import functools
import hashlib
import math

import numpy as np

ROUNDS = 6


def permute(indices: np.ndarray, size: int, *key: int) -> np.ndarray:
    """int64, like `indices`: the image of each index under the permutation `key` of 0 .. size - 1.

    >>> sorted(permute(np.arange(7), 7, 42).tolist())
    [0, 1, 2, 3, 4, 5, 6]
    """
    values = np.array(indices, np.int64)
    if values.size and not 0 <= values.min() <= values.max() < size:
        raise ValueError(f"indices must be in 0 .. {size - 1}; received {values}")
    side = math.isqrt(size - 1) + 1
    keys = round_keys(size, key)
    outside = np.ones(values.shape, np.bool_)
    while outside.any():
        values[outside] = network(values[outside], side, keys)
        outside = values >= size
    return values


@functools.lru_cache(maxsize=64)
def round_keys(size: int, key: tuple[int, ...]) -> tuple[np.uint64, ...]:
    digest = hashlib.blake2b(repr((size, *key)).encode(), digest_size=8 * ROUNDS).digest()
    return tuple(np.frombuffer(digest, "<u8"))


def network(values: np.ndarray, side: int, keys: tuple[np.uint64, ...]) -> np.ndarray:
    left, right = np.divmod(values, side)
    for key in keys:
        left, right = right, (left + mix(right.astype(np.uint64) ^ key, side)) % side
    return left * side + right


def mix(x: np.ndarray, side: int) -> np.ndarray:
    """The finalizer of SplitMix64 (Steele, Lea and Flood 2014), modulo `side`."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    x = x ^ (x >> np.uint64(31))
    return (x % np.uint64(side)).astype(np.int64)
