"""The rule table: the mesh axes over which each logical axis is split.

Models name their logical axes (layers/axes.py) and do not know the mesh, so a new mesh axis changes
this table and no model. An axis without a rule, a mesh axis used twice in one array and a size that
does not divide are errors before anything is compiled; nothing is dropped silently.
"""

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from pretrain_jax.errors import ConfigError, nearest_divisors
from pretrain_jax.layers.axes import is_box

log = logging.getLogger(__name__)
RULES: dict[str, tuple[str, ...]] = {
    # parameters
    "layers": (),
    # The devices that share a row also share the parameters.
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
"""Axes of fields (batch.py) that run along a text."""


def partition_spec(axes: tuple[str | None, ...]) -> PartitionSpec:
    """("width", "heads") -> PartitionSpec(("fsdp", "sequence"), "tensor")."""
    used: dict[str, str] = {}
    entries: list[Any] = []
    for axis in axes:
        if axis is not None and axis not in RULES:
            raise ConfigError(
                f"every logical axis needs a rule in sharding/rules.py; received {axes}, and "
                f"{axis!r} has no rule"
            )
        mesh_axes = list(RULES[axis]) if axis is not None else []
        for mesh_axis in mesh_axes:
            if mesh_axis in used:
                raise ConfigError(
                    f"an array can use each mesh axis once; {axes} uses {mesh_axis!r} for both "
                    f"{used[mesh_axis]!r} and {axis!r}. Change a rule in sharding/rules.py"
                )
            used[mesh_axis] = str(axis)
        entries.append(
            None if not mesh_axes else mesh_axes[0] if len(mesh_axes) == 1 else tuple(mesh_axes)
        )
    return PartitionSpec(*entries)


def named_shardings(boxed: Any, mesh: Mesh) -> Any:
    """NamedShardings for a tree of flax Partitioned boxes (of arrays or of their shapes).

    Raises ConfigError for the first axis that does not divide, with the name of its parameter and
    the nearest sizes of the mesh axis that do.
    """
    leaves = jax.tree_util.tree_leaves_with_path(boxed, is_leaf=is_box)
    names = [jax.tree_util.keystr(path, simple=True, separator="/") for path, _ in leaves]
    for name, (_, box) in zip(names, leaves, strict=True):
        _check_divides(name, box, mesh)
    unnamed = [n for n, (_, box) in zip(names, leaves, strict=True) if {*box.names} == {None}]
    if unnamed and mesh.size > 1:
        log.warning(
            "%d parameters, such as %s, have no axis names (layers.axes.with_axes) and are "
            "replicated on all %d devices",
            len(unnamed),
            unnamed[0],
            mesh.size,
        )
    return jax.tree.map(
        lambda box: NamedSharding(mesh, partition_spec(tuple(box.names))), boxed, is_leaf=is_box
    )


def _check_divides(name: str, box: nn.Partitioned, mesh: Mesh) -> None:
    for axis, size in zip(box.names, box.value.shape, strict=True):
        mesh_axes = list(RULES[axis]) if axis in RULES else []
        split = math.prod(mesh.shape[mesh_axis] for mesh_axis in mesh_axes)
        if size % split == 0:
            continue
        used = [a for a in mesh_axes if mesh.shape[a] > 1]
        raise ConfigError(
            f"the {axis} axis of {name} has {size} entries and must divide over "
            f"{' x '.join(f'mesh.{a}' for a in used)}; received "
            f"{' x '.join(f'mesh.{a}={mesh.shape[a]}' for a in used)}. The nearest sizes that "
            f"divide are {', '.join(map(str, nearest_divisors(size, split)))}"
        )


def replicated(mesh: Mesh) -> NamedSharding:
    """A full copy of the array on every device."""
    return NamedSharding(mesh, PartitionSpec())


def field_sharding(mesh: Mesh, axis: str) -> NamedSharding:
    """The sharding of a field [B, axis]; of the axes only the lengths, "L" and "M", are split."""
    return NamedSharding(
        mesh, partition_spec(("batch", "length") if axis in LENGTHS else ("batch",))
    )


def check_length(slots: int, mesh: Mesh, what: str) -> None:
    """Raises ConfigError unless the `slots` of a row divide over mesh.sequence.

    what: the axis, for the message.
    """
    ways = MeshRules(mesh).num_shards("length")
    if slots % ways:
        near = ", ".join(map(str, nearest_divisors(slots, ways)))
        raise ConfigError(
            f"{what} has {slots} slots, which must divide over mesh.sequence; received "
            f"mesh.sequence={ways}. The nearest sizes that divide are {near}; another data.seq_len "
            "gives other slots"
        )


def batch_ways(mesh: Mesh) -> int:
    """The number of parts into which a batch is split."""
    return MeshRules(mesh).num_shards("batch")


def check_batch(batch_size: int, accumulate: int, mesh: Mesh, key: str) -> None:
    """Raises ConfigError unless the batch divides into microbatches, and these over the mesh.

    key: the config key of the batch size, for the message.
    """
    ways = batch_ways(mesh)
    unit = ways * accumulate
    if batch_size % unit == 0:
        return
    below, above = batch_size // unit * unit, (batch_size // unit + 1) * unit
    near = f"{below} or {above}" if below else f"{above}"
    split = " x ".join(f"mesh.{axis}" for axis in RULES["batch"])
    raise ConfigError(
        f"{key} must be a multiple of {split} x train.accumulate = {ways} x {accumulate}; "
        f"received {batch_size}. The nearest valid value is {near}"
    )


@dataclass(frozen=True)
class MeshRules:
    """The rule table applied to a mesh, for layers.axes.use_axis_rules."""

    mesh: Mesh
    unsplit: tuple[str, ...] = ()
    """Logical axes that are not split here, whatever their rule."""

    def spec(self, axes: tuple[str | None, ...]) -> PartitionSpec:
        """`partition_spec` of the axes."""
        return partition_spec(tuple(None if axis in self.unsplit else axis for axis in axes))

    def constrain(self, x: jax.Array, axes: tuple[str, ...]) -> jax.Array:
        """`x`, split by the rules of its axes."""
        return jax.lax.with_sharding_constraint(x, NamedSharding(self.mesh, self.spec(axes)))

    def map_shards(
        self, function: Callable[..., Any], inputs: Sequence[tuple[str | None, ...]], output: Any
    ) -> Callable[..., Any]:
        """`function` applied to each device's own part of arrays that the rules split."""
        return jax.shard_map(
            function,
            mesh=self.mesh,
            in_specs=tuple(self.spec(axes) for axes in inputs),
            out_specs=self.spec(output),
            check_vma=False,  # kernels do not support the check
        )

    def num_shards(self, axis: str) -> int:
        """The number of parts into which an axis is split: 8 for batch on 2 data x 4 fsdp."""
        mesh_axes = () if axis in self.unsplit else RULES[axis]
        return math.prod(self.mesh.shape[mesh_axis] for mesh_axis in mesh_axes)
