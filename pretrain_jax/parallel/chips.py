"""Peak rates of chips, for MFU. Dense bf16 FLOP/s from the vendors' data sheets."""

from typing import Any

import jax.numpy as jnp

PEAK_BF16 = {
    # jax's device_kind, lower case, begins with ...
    "nvidia a100": 312e12,
    "nvidia h100": 989.4e12,  # the 1,979 of some sheets counts 2:4 sparsity
    "nvidia h200": 989.4e12,
    "nvidia gh200": 989.4e12,
    "tpu v2": 46e12,
    "tpu v3": 123e12,
    "tpu v4": 275e12,
    "tpu v5 lite": 197e12,
    "tpu v5e": 197e12,
    "tpu v5p": 459e12,
    "tpu v5": 459e12,
    "tpu v6 lite": 918e12,
    "tpu v6e": 918e12,
}


def peak_flops(device_kind: str, dtype: Any) -> float | None:
    """FLOP/s of one device in bfloat16; None for an unknown chip, for a CPU, and for float32."""
    if dtype != jnp.bfloat16:
        return None
    kind = device_kind.lower()
    known = [name for name in PEAK_BF16 if kind.startswith(name)]
    return PEAK_BF16[max(known, key=len)] if known else None
