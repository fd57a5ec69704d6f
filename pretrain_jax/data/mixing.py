"""How often each member of a mixture is drawn (Raffel et al. 2020, section 3.5.2)."""

from collections.abc import Sequence

from pretrain_jax import registry
from pretrain_jax.errors import ConfigError

KINDS = ("given", "proportional")


def rates(
    kind: str,
    given: Sequence[float],
    sizes: Sequence[int],
    *,
    cap: int = 0,
    temperature: float = 1.0,
) -> tuple[float, ...]:
    """Rates of n members that sum to 1.

    kind          "given": `given` as it stands; "proportional": each of them times
                  min(size, cap) ^ (1 / temperature)
    given         float [n], the rates that the config names
    sizes         int [n], examples of each member
    cap           the artificial limit K on a size (T5: 2^19 examples); 0 = none
    temperature   1 = proportional; towards equal rates as it grows (T5: 2, with K = 2^21)

    Sizes 900, 90 and 10 are drawn in these shares, and with a cap of 100 in those:

    >>> [round(rate, 3) for rate in rates("proportional", (1, 1, 1), (900, 90, 10))]
    [0.9, 0.09, 0.01]
    >>> [round(rate, 3) for rate in rates("proportional", (1, 1, 1), (900, 90, 10), cap=100)]
    [0.5, 0.45, 0.05]
    >>> rates("proportional", (1, 1), (900, 100), temperature=2.0)
    (0.75, 0.25)
    >>> rates("given", (3.0, 1.0), (900, 100))
    (0.75, 0.25)

    Raises ConfigError for an unknown kind, and for what is not positive.
    """
    registry.check_name(kind, KINDS, "data.mixing")
    if cap < 0 or temperature <= 0:
        raise ConfigError(
            "data.mixing_cap must be 0 (none) or more and data.mixing_temperature above 0; "
            f"received {cap} and {temperature}"
        )
    weights = [float(rate) for rate in given]
    if kind == "proportional":
        counted = [min(size, cap or size) for size in sizes]
        shares = [(size / max(counted)) ** (1 / temperature) for size in counted]
        weights = [rate * share for rate, share in zip(weights, shares, strict=True)]
    if not weights or min(weights) <= 0:
        raise ConfigError(f"rates of data.mixture must be positive; received {weights}")
    total = sum(weights)
    return tuple(weight / total for weight in weights)
