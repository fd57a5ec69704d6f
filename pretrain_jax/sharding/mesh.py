"""The device mesh: axes `dcn`, `data`, `fsdp`, `sequence` and `tensor`.

The last four axes use the fast network inside a TPU slice. `dcn`, the data-center network between
slices, carries gradients alone: each slice holds a full copy of the model.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from jax.experimental import mesh_utils
from jax.sharding import AxisType, Mesh

from pretrain_jax.errors import ConfigError, nearest_divisors

AXES = ("dcn", "data", "fsdp", "sequence", "tensor")


def build(
    devices: Sequence[Any],
    *,
    dcn: int = 1,
    data: int = -1,
    fsdp: int = 1,
    sequence: int = 1,
    tensor: int = 1,
) -> Mesh:
    """A mesh over all `devices`. At most one axis may be -1: it takes the remaining devices.

    dcn        number of TPU slices, with data parallelism between them
    data       data parallelism: splits the batch
    fsdp       splits the batch and the parameters
    sequence   splits the positions of each row, and the parameters
    tensor     splits heads, feed-forward layers and the vocabulary

    Eight devices with fsdp=2, tensor=2 and data=-1 form a mesh of 1 x 2 x 2 x 1 x 2. On TPUs,
    neighbors on the mesh are neighbors in the network. Raises ConfigError when the sizes do not
    multiply to the number of devices, or when there are several slices and `dcn` is not their
    number.
    """
    sizes = resolve_sizes(
        len(devices), dcn=dcn, data=data, fsdp=fsdp, sequence=sequence, tensor=tensor
    )
    # GPUs have a slice_index too, which numbers their hosts.
    on_tpu = devices[0].platform == "tpu"
    slices = len({getattr(d, "slice_index", None) for d in devices}) if on_tpu else 1
    if slices not in (1, sizes["dcn"]):
        raise ConfigError(
            f"mesh.dcn must be the number of TPU slices, {slices}; received mesh.dcn={sizes['dcn']}"
        )
    grid = device_grid(devices, tuple(sizes[axis] for axis in AXES), slices)
    return Mesh(grid, AXES, axis_types=(AxisType.Auto,) * len(AXES))


def device_grid(devices: Sequence[Any], shape: tuple[int, ...], slices: int) -> np.ndarray:
    """The devices as an array of this shape; on TPUs it follows the physical network."""
    if devices[0].platform != "tpu":
        return np.asarray(devices).reshape(shape)
    if slices == 1:
        return mesh_utils.create_device_mesh(shape, devices, allow_split_physical_axes=True)
    within, across = (1, *shape[1:]), (shape[0], *(1 for _ in shape[1:]))
    return mesh_utils.create_hybrid_device_mesh(
        within, across, devices, allow_split_physical_axes=True
    )


def resolve_sizes(devices: int, **sizes: int) -> dict[str, int]:
    """The mesh sizes with -1 replaced: resolve_sizes(8, data=-1, fsdp=2, tensor=2) has data=2."""
    free = [axis for axis, size in sizes.items() if size == -1]
    written = " x ".join(f"mesh.{axis}={size}" for axis, size in sizes.items())
    if len(free) > 1:
        raise ConfigError(f"only one mesh axis may be -1; received {written}")
    fixed = math.prod(size for size in sizes.values() if size != -1)
    if devices % fixed or (not free and fixed != devices):
        fits = "divide" if free else "multiply to"
        raise ConfigError(
            f"the mesh axes must {fits} the number of devices, {devices}; received {written}. "
            f"{suggestion(devices, sizes, bool(free))}Set one axis to -1, or simulate devices on a "
            f"CPU with XLA_FLAGS=--xla_force_host_platform_device_count={fixed}"
        )
    return {**sizes, **dict.fromkeys(free, devices // fixed)}


def suggestion(devices: int, sizes: dict[str, int], free: bool) -> str:
    """The nearest valid sizes, one axis at a time; free: whether another axis is -1.

    >>> suggestion(8, {"data": -1, "fsdp": 3, "tensor": 1}, True)
    'The nearest valid sizes are mesh.fsdp=2 or 4. '
    """
    valid = []
    for axis, size in sizes.items():
        others = math.prod(n for other, n in sizes.items() if other != axis and n > 0)
        if size < 2 or devices % others:
            continue
        most = devices // others
        near = nearest_divisors(most, size, 2) if free else [most]
        valid.append(f"mesh.{axis}={' or '.join(map(str, near))}")
    return f"The nearest valid sizes are {', '.join(valid)}. " if valid else ""
