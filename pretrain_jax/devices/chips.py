"""What chips can do: peak rates for MFU, memory and links for runs that are only planned.

One entry is one device as JAX sees it: a whole chip from TPU v4 to v6e (v5p's two cores work as
one), half a chip of v2, v3 and TPU7x. Rates are the vendors' data sheets', in bytes, floating-point
operations and seconds; TPU links as in "How to scale your model" (jax-ml/scaling-book, TPUs).
"""

from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp

GIB = 2**30


@dataclass(frozen=True)
class Chip:
    """A device; rates that nobody here needs are None."""

    flops: float
    """Dense bf16 FLOP/s."""
    memory: int | None = None
    """Bytes of HBM."""
    memory_rate: float | None = None
    """Bytes a second of HBM."""
    link_rate: float | None = None
    """Bytes a second of one inter-chip link, one way."""


CHIPS = {
    # jax's device_kind, lower case, begins with ...
    "nvidia a100": Chip(312e12, int(80e9), 2.039e12),
    "nvidia h100": Chip(
        989.4e12, int(80e9), 3.35e12
    ),  # the 1,979 of some sheets counts 2:4 sparsity
    "nvidia h200": Chip(989.4e12, int(141e9), 4.8e12),
    "nvidia gh200": Chip(989.4e12),
    "tpu v2": Chip(23e12, 8 * GIB, 350e9, 62.5e9),
    "tpu v3": Chip(61.5e12, 16 * GIB, 450e9, 100e9),
    "tpu v4": Chip(275e12, 32 * GIB, 1.2e12, 45e9),
    "tpu v5 lite": Chip(197e12, 16 * GIB, 0.81e12, 45e9),
    "tpu v5e": Chip(197e12, 16 * GIB, 0.81e12, 45e9),
    "tpu v5p": Chip(459e12, 95 * GIB, 2.8e12, 90e9),
    "tpu v5": Chip(459e12, 95 * GIB, 2.8e12, 90e9),
    "tpu v6 lite": Chip(918e12, 32 * GIB, 1.6e12, 90e9),
    "tpu v6e": Chip(918e12, 32 * GIB, 1.6e12, 90e9),
    "tpu7x": Chip(1153.5e12, 96 * GIB, 3.69e12, 90e9),
}


def lookup(device_kind: str) -> Chip | None:
    """The entry of a device; None for an unknown one and for a CPU."""
    kind = device_kind.lower()
    known = [name for name in CHIPS if kind.startswith(name)]
    return CHIPS[max(known, key=len)] if known else None


def peak_flops(device_kind: str, dtype: Any) -> float | None:
    """FLOP/s of one device in bfloat16; None for an unknown chip, for a CPU, and for float32."""
    known = lookup(device_kind)
    return known.flops if known and dtype == jnp.bfloat16 else None
