"""The device mesh: axes `data`, `fsdp` and `tensor`."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from jax.sharding import AxisType, Mesh

from pretrain_jax.errors import ConfigError

AXES = ("data", "fsdp", "tensor")


def build(devices: Sequence[Any], *, data: int = -1, fsdp: int = 1, tensor: int = 1) -> Mesh:
    """A mesh over all `devices`; -1, at one axis at most, takes what the others leave.

    Eight devices with fsdp=2, tensor=2 and data=-1 are a mesh of 2 x 2 x 2. Raises ConfigError
    when the sizes do not multiply to the number of devices.
    """
    sizes = resolve(len(devices), data=data, fsdp=fsdp, tensor=tensor)
    grid = np.asarray(devices).reshape(tuple(sizes[axis] for axis in AXES))
    return Mesh(grid, AXES, axis_types=(AxisType.Auto,) * len(AXES))


def resolve(devices: int, **sizes: int) -> dict[str, int]:
    """Mesh sizes without -1. resolve(8, data=-1, fsdp=2, tensor=2) gives data=2."""
    free = [axis for axis, size in sizes.items() if size == -1]
    written = " x ".join(f"mesh.{axis}={size}" for axis, size in sizes.items())
    if len(free) > 1:
        raise ConfigError(f"only one mesh axis may be -1; received {written}")
    if any(size < 1 and size != -1 for size in sizes.values()):
        raise ConfigError(f"mesh axes are at least 1, or -1 for what is left; received {written}")
    fixed = math.prod(size for size in sizes.values() if size != -1)
    if devices % fixed or (not free and fixed != devices):
        fits = "divide" if free else "multiply to"
        raise ConfigError(
            f"the mesh axes must {fits} the number of devices, {devices}; received {written}. "
            f"Leave one axis at -1, or simulate devices on a CPU with "
            f"XLA_FLAGS=--xla_force_host_platform_device_count={max(fixed, 1)}"
        )
    return {**sizes, **dict.fromkeys(free, devices // fixed)}
