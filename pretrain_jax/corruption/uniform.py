"""Where corruption takes its random numbers from."""

from collections.abc import Callable

import numpy as np

Uniform = Callable[[np.ndarray], np.ndarray]
"""uniform(sizes int [E]) -> float64 in [0, 1), as many for each text as `sizes` says, all together.
What a row of texts gets depends on the row and the number of the call alone."""


def plain(rng: np.random.Generator) -> Uniform:
    """One generator for all texts.

    >>> plain(np.random.default_rng(0))(np.array([2, 1])).shape
    (3,)
    """
    return lambda sizes: rng.random(int(sizes.sum()))


def whole(uniform: np.ndarray, count: np.ndarray | int) -> np.ndarray:
    """Numbers in [0, 1) as whole numbers 0 .. count - 1, each as likely as another to 2^-53.

    >>> whole(np.array([0.0, 0.5, 0.99]), 10)
    array([0, 5, 9])
    """
    return (uniform * count).astype(np.int64)
