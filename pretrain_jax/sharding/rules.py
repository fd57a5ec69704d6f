"""The rule table: over which mesh axes each logical axis is split.

Models name their axes (layers/axes.py) and know no mesh. Adding a mesh axis edits this table and
no model. Nothing is dropped in silence: an axis without a rule, one mesh axis used twice in an
array and a size that does not divide are errors before anything is compiled.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from pretrain_jax.errors import ConfigError

RULES: dict[str, tuple[str, ...]] = {
    # parameters
    "layers": (),
    # A group of devices that shares a row shares the parameters, too.
    "width": ("fsdp", "sequence"),
    "heads": ("tensor",),
    "head_width": (),
    "feed_forward": ("tensor",),
    "vocabulary": ("tensor",),
    "positions": (),
    "types": (),
    "buckets": (),
    "classes": (),
    # activations
    "batch": ("dcn", "data", "fsdp"),
    "length": ("sequence",),
    "keys": (),
    "hidden": (),
}

LENGTHS = ("L", "M")
"""Axes of fields (batch.py) that are places in a text."""


def partition_spec(
    axes: tuple[str | None, ...], rules: Mapping[str, tuple[str, ...]] = RULES
) -> PartitionSpec:
    """("width", "heads") -> PartitionSpec(("fsdp", "sequence"), "tensor")."""
    used: dict[str, str] = {}
    entries: list[Any] = []
    for axis in axes:
        if axis is not None and axis not in rules:
            raise ConfigError(
                f"every logical axis needs a rule in sharding/rules.py; {axis!r} of {axes} has none"
            )
        mesh_axes = list(rules[axis]) if axis is not None else []
        for mesh_axis in mesh_axes:
            if mesh_axis in used:
                raise ConfigError(
                    f"an array can be split over a mesh axis once; {axes} uses {mesh_axis!r} for "
                    f"both {used[mesh_axis]!r} and {axis!r}: change a rule in sharding/rules.py"
                )
            used[mesh_axis] = str(axis)
        entries.append(
            None if not mesh_axes else mesh_axes[0] if len(mesh_axes) == 1 else tuple(mesh_axes)
        )
    return PartitionSpec(*entries)


def named_shardings(boxed: Any, mesh: Mesh) -> Any:
    """NamedShardings for a tree of flax Partitioned boxes (of arrays or of their shapes).

    Raises ConfigError for the first axis that does not divide, naming every parameter that has it
    and the sizes of the mesh axis that do.
    """
    is_box = lambda x: isinstance(x, nn.Partitioned)  # noqa: E731
    leaves = jax.tree_util.tree_leaves_with_path(boxed, is_leaf=is_box)
    for path, box in leaves:
        _check_divides(jax.tree_util.keystr(path, simple=True, separator="/"), box, mesh)
    return jax.tree.map(
        lambda box: NamedSharding(mesh, partition_spec(tuple(box.names))), boxed, is_leaf=is_box
    )


def _check_divides(name: str, box: nn.Partitioned, mesh: Mesh) -> None:
    for axis, size in zip(box.names, box.value.shape, strict=True):
        mesh_axes = list(RULES[axis]) if axis in RULES else []
        split = 1
        for mesh_axis in mesh_axes:
            split *= mesh.shape[mesh_axis]
        if size % split == 0:
            continue
        used = [a for a in mesh_axes if mesh.shape[a] > 1]
        raise ConfigError(
            f"the {axis} axis of {name} has {size} entries and must divide over "
            f"{' x '.join(f'mesh.{a}' for a in used)}; received "
            f"{' x '.join(f'mesh.{a}={mesh.shape[a]}' for a in used)}. The nearest sizes that "
            f"divide are {', '.join(map(str, nearest_divisors(size, split)))}"
        )


def nearest_divisors(size: int, ways: int, count: int = 3) -> list[int]:
    """nearest_divisors(12, 5) is [3, 4, 6]."""
    small = [n for n in range(1, math.isqrt(size) + 1) if size % n == 0]
    legal = sorted({*small, *(size // n for n in small)})
    return sorted(sorted(legal, key=lambda n: abs(n - ways))[:count])


def replicated(mesh: Mesh) -> NamedSharding:
    """The whole array on every device."""
    return NamedSharding(mesh, PartitionSpec())


def field_sharding(mesh: Mesh, axis: str) -> NamedSharding:
    """Of a field [B, axis] of a batch; axis: "L" and "M" are lengths, others are never split."""
    return NamedSharding(
        mesh, partition_spec(("batch", "length") if axis in LENGTHS else ("batch",))
    )


def check_length(slots: int, mesh: Mesh, what: str) -> None:
    """Raises ConfigError unless a row's slots divide over the axis that splits rows."""
    ways = Placement(mesh).ways("length")
    if slots % ways:
        near = ", ".join(map(str, nearest_divisors(slots, ways)))
        raise ConfigError(
            f"{what} has {slots} slots, which must divide over mesh.sequence; received "
            f"mesh.sequence={ways}. The nearest sizes that divide are {near}; or choose a "
            "data.seq_len that gives other slots"
        )


def batch_ways(mesh: Mesh) -> int:
    """Into how many parts a batch is split."""
    return Placement(mesh).ways("batch")


def check_batch(batch_size: int, accumulate: int, mesh: Mesh, key: str) -> None:
    """Raises ConfigError unless a batch divides into microbatches and those over the mesh."""
    ways = batch_ways(mesh)
    unit = ways * accumulate
    if batch_size % unit == 0:
        return
    below, above = batch_size // unit * unit, (batch_size // unit + 1) * unit
    near = f"{below} or {above}" if below else f"{above}"
    split = " x ".join(f"mesh.{axis}" for axis in RULES["batch"])
    raise ConfigError(
        f"{key} must be a multiple of {split} x train.accumulate = {ways} x {accumulate}; "
        f"received {batch_size}. The nearest legal batch is {near}"
    )


@dataclass(frozen=True)
class Placement:
    """The rule table on a mesh, for layers.axes.placing."""

    mesh: Mesh

    def constrain(self, x: jax.Array, axes: tuple[str, ...]) -> jax.Array:
        """`x`, split as the table says."""
        return jax.lax.with_sharding_constraint(x, NamedSharding(self.mesh, partition_spec(axes)))

    def mapped(
        self, function: Callable[..., Any], inputs: Sequence[tuple[str | None, ...]], output: Any
    ) -> Callable[..., Any]:
        """`function` over each device's own part of arrays that are split as the table says."""
        return jax.shard_map(
            function,
            mesh=self.mesh,
            in_specs=tuple(partition_spec(axes) for axes in inputs),
            out_specs=partition_spec(output),
            check_vma=False,  # which no kernel can be checked for
        )

    def ways(self, axis: str) -> int:
        """Into how many parts an axis is split: batch on 2 data x 4 fsdp is 8."""
        return math.prod(self.mesh.shape[mesh_axis] for mesh_axis in RULES[axis])
