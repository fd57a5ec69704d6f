"""Properties of chips: peak FLOP/s for MFU; memory and links for planning.

An entry describes one device as JAX counts it: a full chip from TPU v4 to v6e (v5p's two cores work
as one), half a chip of v2, v3 and TPU7x. Rates come from the vendors' data sheets, in bytes,
floating-point operations and seconds; TPU links from "How to scale your model"
(jax-ml/scaling-book, TPUs).
"""

from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp

GIB = 2**30


@dataclass(frozen=True)
class Chip:
    """One device; None for rates that nothing here uses."""

    flops: float
    """Dense bf16 FLOP/s."""
    memory: int | None = None
    """Bytes of HBM."""
    memory_rate: float | None = None
    """Bytes per second of HBM."""
    link_rate: float | None = None
    """Bytes per second of one inter-chip link, one way."""


CHIPS = {
    # Keys are prefixes of jax's device_kind, in lower case.
    "nvidia a100": Chip(312e12, int(80e9), 2.039e12),
    # Some sheets give 1,979e12 for the H100, which counts 2:4 sparsity.
    "nvidia h100": Chip(989.4e12, int(80e9), 3.35e12),
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
    """The chip with the longest key that `device_kind` starts with; None for an unknown device and
    for a CPU."""
    kind = device_kind.lower()
    matches = [name for name in CHIPS if kind.startswith(name)]
    return CHIPS[max(matches, key=len)] if matches else None


def memory(device_kind: str) -> int | None:
    """Bytes of memory of one device; None for an unknown chip and for a CPU."""
    chip = lookup(device_kind)
    return chip.memory if chip else None


def peak_flops(device_kind: str, dtype: Any) -> float | None:
    """FLOP/s of one device in bfloat16; None for an unknown chip, for a CPU, and for float32."""
    chip = lookup(device_kind)
    return chip.flops if chip and dtype == jnp.bfloat16 else None
