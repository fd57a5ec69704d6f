"""Sampling rates of the members of a mixture (Raffel et al. 2020, section 3.5.2)."""

import math
from collections.abc import Sequence

from pretrain_jax import registry
from pretrain_jax.errors import ConfigError

KINDS = ("given", "proportional")
LEAST = 2.0**-32
"""The smallest share of rows; shares are multiples of 2^-32 (pipeline.Stream)."""


def rates(
    kind: str,
    given: Sequence[float],
    sizes: Sequence[int],
    *,
    cap: int = 0,
    temperature: float = 1.0,
) -> tuple[float, ...]:
    """Rates of n members that sum to 1.

    kind          "given": the rates `given`; "proportional": `given` times
                  min(size, cap) ^ (1 / temperature)
    given         float [n], the rates in the config
    sizes         int [n], the number of examples of each member
    cap           the artificial limit K on a size (T5: 2^19 examples); 0 = no limit
    temperature   1 = proportional; higher values approach equal rates (T5: 2, with K = 2^21)

    Rates for sizes 900, 90 and 10, first without and then with a cap of 100:

    >>> [round(rate, 3) for rate in rates("proportional", (1, 1, 1), (900, 90, 10))]
    [0.9, 0.09, 0.01]
    >>> [round(rate, 3) for rate in rates("proportional", (1, 1, 1), (900, 90, 10), cap=100)]
    [0.5, 0.45, 0.05]
    >>> rates("proportional", (1, 1), (900, 100), temperature=2.0)
    (0.75, 0.25)
    >>> rates("given", (3.0, 1.0), (900, 100))
    (0.75, 0.25)

    Raises ConfigError for an unknown kind, a rate that is not positive, and a share of the rows
    below 2^-32.
    """
    registry.check_name(kind, KINDS, "data.mixing")
    if cap < 0 or temperature <= 0:
        raise ConfigError(
            "data.mixing_cap must be at least 0 (0: no cap) and data.mixing_temperature above 0; "
            f"received {cap} and {temperature}"
        )
    weights = [float(rate) for rate in given]
    if kind == "proportional":
        counted = [min(size, cap or size) for size in sizes]
        parts = [(size / max(counted)) ** (1 / temperature) for size in counted]
        weights = [rate * part for rate, part in zip(weights, parts, strict=True)]
    total = sum(weights)
    if not weights or min(weights) <= 0 or not math.isfinite(total):
        raise ConfigError(f"rates of data.mixture must be positive and finite; received {weights}")
    shares = tuple(weight / total for weight in weights)
    if min(shares) < LEAST:
        least = shares.index(min(shares))
        raise ConfigError(
            f"each member of data.mixture needs at least 2^-32 of the rows; "
            f"member {least + 1} of {len(shares)}, with rate {given[least]}, has "
            f"{shares[least]:.3g}. Raise its rate to {total * LEAST:.3g} or more, or leave it out"
        )
    return shares
