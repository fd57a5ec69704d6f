"""A mesh that does, where the one of the config does not.

Meshes are found by arithmetic: nothing is compiled. `data`, `fsdp`, `tensor`, `sequence` and
`train.accumulate` are tried, those nearest to the config's own first.
"""

import math
from collections.abc import Iterator
from functools import partial
from itertools import islice
from typing import Any

import jax
from ml_collections import ConfigDict

from pretrain_jax.composition.build import Design
from pretrain_jax.composition.model import is_box
from pretrain_jax.composition.spec import spec_of
from pretrain_jax.errors import ConfigError
from pretrain_jax.estimates import sizes
from pretrain_jax.sharding import rules
from pretrain_jax.sharding.rules import RULES

COST = {
    "mesh.data": 1.0,
    "mesh.fsdp": 1.0,
    "mesh.tensor": 1.5,
    "mesh.sequence": 2.0,
    "train.accumulate": 1.0,
}
"""Of a doubling, for a key that the config does not leave at -1."""
MOST_CHECKED, MOST_ESTIMATED = 3, 8
SEQUENCES = (1, 2, 4, 8)
"""Devices that share a row."""


def check(design: Design) -> None:
    """`design.check()`; where a mesh alone is wrong, the error ends with options that are right."""
    try:
        design.check()
    except ConfigError as error:
        try:
            found = next(filter(partial(passes, design), islice(legal(design), MOST_CHECKED)), None)
        except ConfigError:  # more than the mesh is wrong
            raise error from None
        if found is None:
            raise
        raise type(error)(f"{error}. The nearest mesh that divides: {written(found)}") from None


def passes(design: Design, changes: dict[str, Any]) -> bool:
    """Whether the config with these changes passes all checks."""
    try:
        changed(design, changes).check()
    except ConfigError:
        return False
    return True


def written(changes: dict[str, Any]) -> str:
    """Changes as options of a command line: "--config.mesh.data=4 --config.mesh.fsdp=16"."""
    return " ".join(f"--config.{key}={value}" for key, value in changes.items())


def fitting(design: Design, peak: float, usable: float) -> dict[str, Any] | None:
    """The nearest legal changes that need no more than `usable` bytes a device, by the estimate of
    sizes.py, scaled so that the config as it is needs `peak`; None where none is found."""
    scale = peak / sizes.memory_per_device(design)["total"]
    now = shape(design)
    tried = 0
    for changes in legal(design):
        new = now | changes
        if parts(new) < parts(now) or share(new) < share(now):
            continue  # more of something on a device
        if scale * sizes.memory_per_device(changed(design, changes))["total"] <= usable:
            return changes
        tried += 1
        if tried == MOST_ESTIMATED:
            return None
    return None


def parts(at: dict[str, int]) -> int:
    """Into how many parts parameters are split."""
    return at["mesh.fsdp"] * at["mesh.sequence"] * at["mesh.tensor"]


def share(at: dict[str, int]) -> int:
    """Into how many parts the places of a batch are split, over devices and microbatches."""
    return at["mesh.data"] * at["mesh.fsdp"] * at["mesh.sequence"] * at["train.accumulate"]


def shape(design: Design) -> dict[str, int]:
    """The keys that may change, as they are."""
    sizes = {f"mesh.{axis}": design.placement.mesh.shape[axis] for axis in ("data", "fsdp")}
    sizes |= {f"mesh.{axis}": design.placement.mesh.shape[axis] for axis in ("sequence", "tensor")}
    return sizes | {"train.accumulate": design.spec.train.accumulate}


def legal(design: Design) -> Iterator[dict[str, Any]]:
    """Changes under which everything divides, the nearest first, by config key.

    All four axes of the mesh are named, and `train.accumulate` where it changes. Raises ConfigError
    where the model cannot be built on any mesh.
    """
    axes = {
        (axis, size)
        for box in leaves(design.model.boxed_params)
        for axis, size in zip(box.names, box.value.shape, strict=True)
        if axis is not None
    }
    lengths = {
        design.task.budgets(seq_len).get(axis, 0)
        for seq_len in design.spec.seq_lens
        for axis in rules.LENGTHS
    }
    wanted = {key: value for key, value in asked(design).items() if value > 0}
    found = []
    for at in splits(design):
        ways = {axis: math.prod(at[name] for name in RULES[axis]) for axis, _ in axes}
        rows = math.prod(at[name] for name in RULES["batch"])
        fits = all(size % ways[axis] == 0 for axis, size in axes)
        if not fits or any(length % at["sequence"] for length in lengths):
            continue
        for count in microbatches(design, rows):
            mesh = {f"mesh.{axis}": at[axis] for axis in ("data", "fsdp", "sequence", "tensor")}
            new = mesh | {"train.accumulate": count}
            cost = sum(
                weight * abs(math.log2(new[key] / wanted[key]))
                for key, weight in COST.items()
                if key in wanted
            )
            found.append((cost, count, tuple(mesh.values()), new))
    for _, count, _, new in sorted(found, key=lambda one: one[:3]):
        if count == design.spec.train.accumulate:
            del new["train.accumulate"]
        yield new


def leaves(boxed: Any) -> list[Any]:
    """The boxes of a tree of parameters."""
    return jax.tree.leaves(boxed, is_leaf=is_box)


def asked(design: Design) -> dict[str, int]:
    """What the config says, -1 for what is left."""
    mesh = {f"mesh.{axis}": size for axis, size in design.spec.mesh.items()}
    return mesh | {"train.accumulate": design.spec.train.accumulate}


def splits(design: Design) -> Iterator[dict[str, int]]:
    """Every way to split the devices over the axes of a mesh; `dcn` is the number of slices."""
    slices = {getattr(device, "slice_index", None) for device in design.target.devices}
    dcn = len(slices) if design.target.compiled_platform == "tpu" else max(design.spec.mesh.dcn, 1)
    for sequence in {*SEQUENCES, max(design.spec.mesh.sequence, 1)}:
        count, left = divmod(len(design.target.devices), dcn * sequence)
        if left:
            continue
        for tensor in divisors(count):
            for data in divisors(count // tensor):
                fsdp = count // tensor // data
                yield dict(dcn=dcn, data=data, fsdp=fsdp, sequence=sequence, tensor=tensor)


def microbatches(design: Design, rows: int) -> Iterator[int]:
    """Numbers of microbatches, the config's own times or over a power of two, under which the
    batches of all phases divide over `rows` parts."""
    own = design.spec.train.accumulate
    fixed = any("accumulate" in dict(to) for _, to in design.spec.train.phases)
    for count in {own} if fixed else {own * 2**n for n in range(7)} | set(divisors(own)):
        more = count / own
        if all(phase.batch_size % (rows * int(phase.accumulate * more)) == 0
               for phase in design.spec.phases):  # fmt: skip
            yield count


def divisors(count: int) -> list[int]:
    """divisors(6) is [1, 2, 3, 6]."""
    return [n for n in range(1, count + 1) if count % n == 0]


def changed(design: Design, changes: dict[str, Any]) -> Design:
    """The design of its config with some keys changed."""
    config = ConfigDict(design.spec.document)
    return Design(spec_of(with_changes(config, changes)), design.target)


def with_changes(config: Any, changes: dict[str, Any]) -> Any:
    """A copy of a config with some keys changed."""
    copy = config.copy_and_resolve_references()
    copy.update_from_flattened_dict(changes)
    return copy
