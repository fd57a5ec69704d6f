"""Proposes a mesh that divides, or that fits into memory, if the config's mesh does not.

Nothing is compiled: the search computes which values of `mesh.data`, `mesh.fsdp`, `mesh.tensor`,
`mesh.sequence` and `train.accumulate` divide, and starts with those nearest to the config's.
"""

import math
from collections.abc import Iterator
from functools import partial
from itertools import islice
from typing import Any

import jax
from ml_collections import ConfigDict

from pretrain_jax.composition.build import Design
from pretrain_jax.composition.spec import build_spec
from pretrain_jax.errors import ConfigError
from pretrain_jax.estimates import sizes
from pretrain_jax.layers.axes import is_box
from pretrain_jax.sharding import rules
from pretrain_jax.sharding.rules import RULES

COST = {
    "mesh.data": 1.0,
    "mesh.fsdp": 1.0,
    "mesh.tensor": 1.5,
    "mesh.sequence": 2.0,
    "train.accumulate": 1.0,
}
"""Distance of a doubling or halving from the config's value; a key at -1 has none."""
MAX_CHECKED, MAX_ESTIMATED = 3, 8
"""Meshes that are checked, and whose memory is estimated, before the search gives up."""
SEQUENCE_SIZES = (1, 2, 4, 8)
"""Values of `mesh.sequence` to try, in addition to the config's."""


def check_design(design: Design) -> None:
    """`design.check()`; if the mesh alone is wrong, the error ends with options that are valid."""
    try:
        design.check()
    except ConfigError as error:
        candidates = islice(legal_changes(design), MAX_CHECKED)
        try:
            changes = next(filter(partial(passes_checks, design), candidates), None)
        except ConfigError:  # more than the mesh is wrong
            raise error from None
        if changes is None:
            raise
        options = format_options(changes)
        raise type(error)(f"{error}. The nearest mesh that divides: {options}") from None


def passes_checks(design: Design, changes: dict[str, Any]) -> bool:
    """Whether the config with these changes passes all checks."""
    try:
        apply_changes(design, changes).check()
    except ConfigError:
        return False
    return True


def format_options(changes: dict[str, Any]) -> str:
    """Changes as command line options: "--config.mesh.data=4 --config.mesh.fsdp=16"."""
    return " ".join(f"--config.{key}={value}" for key, value in changes.items())


def propose_fit(design: Design, peak: float, usable: float) -> dict[str, Any] | None:
    """The nearest legal changes that need at most `usable` bytes per device; None if none is found.

    peak: bytes that the unchanged config needs; the estimates of sizes.py are scaled to match it.
    """
    scale = peak / sizes.memory_per_device(design)["total"]
    current = current_values(design)
    estimated = 0
    for changes in legal_changes(design):
        new = current | changes
        fewer_parameter_shards = parameter_shards(new) < parameter_shards(current)
        if fewer_parameter_shards or batch_shards(new) < batch_shards(current):
            continue  # a device would hold more
        if scale * sizes.memory_per_device(apply_changes(design, changes))["total"] <= usable:
            return changes
        estimated += 1
        if estimated == MAX_ESTIMATED:
            return None
    return None


def parameter_shards(values: dict[str, int]) -> int:
    """Number of shards of the parameters."""
    return values["mesh.fsdp"] * values["mesh.sequence"] * values["mesh.tensor"]


def batch_shards(values: dict[str, int]) -> int:
    """Number of parts of the tokens of a batch, over devices and microbatches."""
    devices = values["mesh.data"] * values["mesh.fsdp"] * values["mesh.sequence"]
    return devices * values["train.accumulate"]


def current_values(design: Design) -> dict[str, int]:
    """The values of the keys that may change."""
    mesh = design.placement.mesh.shape
    values = {f"mesh.{axis}": mesh[axis] for axis in ("data", "fsdp", "sequence", "tensor")}
    return values | {"train.accumulate": design.spec.train.accumulate}


def legal_changes(design: Design) -> Iterator[dict[str, Any]]:
    """Changes by config key under which every size divides, the nearest first.

    They set all four axes of the mesh, and `train.accumulate` if it changes. Raises ConfigError if
    the model cannot be built on any mesh.
    """
    axes = {
        (axis, size)
        for box in boxed_leaves(design.model.boxed_params)
        for axis, size in zip(box.names, box.value.shape, strict=True)
        if axis is not None
    }
    lengths = {
        design.task.budgets(seq_len).get(axis, 0)
        for seq_len in design.spec.seq_lens
        for axis in rules.LENGTHS
    }
    requested = {key: n for key, n in requested_values(design).items() if n > 0}
    candidates = []
    for split in mesh_splits(design):
        shards = {axis: math.prod(split[name] for name in RULES[axis]) for axis, _ in axes}
        rows = math.prod(split[name] for name in RULES["batch"])
        divides = all(size % shards[axis] == 0 for axis, size in axes)
        if not divides or any(length % split["sequence"] for length in lengths):
            continue
        for count in accumulate_counts(design, rows):
            mesh = {f"mesh.{axis}": split[axis] for axis in ("data", "fsdp", "sequence", "tensor")}
            new = mesh | {"train.accumulate": count}
            cost = sum(
                weight * abs(math.log2(new[key] / requested[key]))
                for key, weight in COST.items()
                if key in requested
            )
            candidates.append((cost, count, tuple(mesh.values()), new))
    for _, count, _, new in sorted(candidates, key=lambda candidate: candidate[:3]):
        if count == design.spec.train.accumulate:
            del new["train.accumulate"]
        yield new


def boxed_leaves(boxed: Any) -> list[Any]:
    """The boxes (with the names of axes) of a tree of parameters."""
    return jax.tree.leaves(boxed, is_leaf=is_box)


def requested_values(design: Design) -> dict[str, int]:
    """The config's values; -1 stands for the remaining devices."""
    mesh = {f"mesh.{axis}": size for axis, size in design.spec.mesh.items()}
    return mesh | {"train.accumulate": design.spec.train.accumulate}


def mesh_splits(design: Design) -> Iterator[dict[str, int]]:
    """Every way to factor the devices into the axes of a mesh; `dcn` is the number of slices."""
    slices = {getattr(device, "slice_index", None) for device in design.target.devices}
    dcn = len(slices) if design.target.compiled_platform == "tpu" else max(design.spec.mesh.dcn, 1)
    for sequence in {*SEQUENCE_SIZES, max(design.spec.mesh.sequence, 1)}:
        count, left = divmod(len(design.target.devices), dcn * sequence)
        if left:
            continue
        for tensor in divisors(count):
            for data in divisors(count // tensor):
                fsdp = count // tensor // data
                yield dict(dcn=dcn, data=data, fsdp=fsdp, sequence=sequence, tensor=tensor)


def accumulate_counts(design: Design, rows: int) -> Iterator[int]:
    """Values of `train.accumulate`: the config's times powers of two, and its divisors.

    rows: parts that every microbatch of every phase must divide into.
    """
    current = design.spec.train.accumulate
    fixed = any("accumulate" in dict(changes) for _, changes in design.spec.train.phases)
    powers = {current * 2**n for n in range(7)}
    for count in {current} if fixed else powers | set(divisors(current)):
        factor = count / current
        if all(
            phase.batch_size % (rows * int(phase.accumulate * factor)) == 0
            for phase in design.spec.phases
        ):
            yield count


def divisors(count: int) -> list[int]:
    """divisors(6) is [1, 2, 3, 6]."""
    return [n for n in range(1, count + 1) if count % n == 0]


def apply_changes(design: Design, changes: dict[str, Any]) -> Design:
    """The design of the same config with some keys changed."""
    config = ConfigDict(design.spec.config_dict)
    return Design(build_spec(update_config(config, changes)), design.target)


def update_config(config: Any, changes: dict[str, Any]) -> Any:
    """A copy of a config with some keys changed."""
    copy = config.copy_and_resolve_references()
    copy.update_from_flattened_dict(changes)
    return copy
