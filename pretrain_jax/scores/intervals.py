"""Bootstrap intervals of a metric over items."""

from collections.abc import Callable, Mapping

import numpy as np
from scipy.stats import binomtest

RESAMPLES = 1_000
LEVEL = 0.95
Columns = Mapping[str, np.ndarray]


def bootstrap(
    metric: Callable[[Columns], float],
    columns: Columns,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
    seed: int = 0,
) -> tuple[float, float]:
    """(low, high): the interval of a metric over n items, by the percentile method (Efron 1979).

    columns: the numbers of the items, [n] each. The items are drawn n at a time with replacement,
    `resamples` times; the interval has the middle `level` of the metric's values, without those
    that are not defined (NaN). NaN, NaN for fewer than two items: one item says nothing of others.

    >>> bootstrap(lambda x: x["right"].mean(), {"right": np.array([1.0] * 80 + [0.0] * 20)})
    (0.72, 0.88)
    """
    count = len(next(iter(columns.values())))
    if count < 2:
        return float("nan"), float("nan")
    rng = np.random.default_rng(seed)
    values = []
    for _ in range(resamples):
        drawn = rng.integers(0, count, count)
        values.append(metric({name: column[drawn] for name, column in columns.items()}))
    tail, known = (1 - level) / 2, np.array(values)[np.isfinite(values)]
    if not len(known):
        return float("nan"), float("nan")
    low, high = np.quantile(known, (tail, 1 - tail))
    return float(low), float(high)


def interval_of_constant(value: float, count: int, level: float = LEVEL) -> tuple[float, float]:
    """(low, high): the interval of a share that all items have (1.0) or none has (0.0).

    Drawn again, such items say the same every time, so that the bootstrap has no width. This is the
    interval of Clopper and Pearson (1934).

    >>> interval_of_constant(1.0, 10)
    (0.691..., 1.0)
    """
    found = binomtest(round(value * count), count).proportion_ci(level)
    return float(found.low), float(found.high)
