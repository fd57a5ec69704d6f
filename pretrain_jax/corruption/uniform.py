"""Random numbers for corruption."""

from collections.abc import Callable

import numpy as np

Uniform = Callable[[np.ndarray], np.ndarray]
"""uniform(sizes int [E]) -> float64 [sum(sizes)] in [0, 1): sizes[e] numbers for text e,
concatenated. The numbers of a row of texts depend only on the row and on the number of the call."""


def from_generator(rng: np.random.Generator) -> Uniform:
    """Draws the numbers of all texts from one generator.

    >>> from_generator(np.random.default_rng(0))(np.array([2, 1])).shape
    (3,)
    """
    return lambda sizes: rng.random(int(sizes.sum()))


def to_int(uniform: np.ndarray, count: np.ndarray | int) -> np.ndarray:
    """Maps numbers in [0, 1) to integers 0 .. count - 1, which are equally likely up to 2^-53.

    >>> to_int(np.array([0.0, 0.5, 0.99]), 10)
    array([0, 5, 9])
    """
    return (uniform * count).astype(np.int64)
