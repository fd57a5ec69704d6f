"""Which parameters of a run with `init_from` come from the source run.

Every parameter comes from the source. Only these may be fresh: those of the objective's heads
(unless the objective borrows a trained head), those of an adapter, and the rows of tokens that the
source does not have.
What the source has and this run does not want is left behind. Anything else is refused. All fresh
parameters and all that are left behind are logged.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from flax.traverse_util import unflatten_dict

from pretrain_jax.composition import init_from
from pretrain_jax.composition.adaptation import is_own
from pretrain_jax.composition.build import Design
from pretrain_jax.errors import ConfigError, InputMissing, WorkdirMismatch, list_names
from pretrain_jax.layers.stacks import LAYERS
from pretrain_jax.optim.trees import named_leaves
from pretrain_jax.sharding import rules
from pretrain_jax.workdir.checkpoint import Checkpoints

PREFIX = "params/"
MAX_LISTED = 6


@dataclass(frozen=True)
class Origins:
    """Where each parameter of a run comes from."""

    taken: Mapping[str, str]
    """Path of a parameter -> its path in the source run."""
    fresh: tuple[str, ...]
    left: tuple[str, ...]
    """Paths of the source run that this run does not want."""


@dataclass(frozen=True)
class Source:
    """The checkpoint of another run that a run starts from."""

    workdir: str
    step: int
    shapes: Mapping[str, jax.ShapeDtypeStruct]
    """Shapes of its arrays, by path."""
    origins: Origins

    def describe(self) -> str:
        """Which parameters come from it, which are borrowed or fresh, and what is left behind."""
        taken = self.origins.taken
        message = f"{len(taken)} arrays come from step {self.step} of {self.workdir}"
        borrowed = [f"{new} from {old}" for new, old in taken.items() if new != old]
        for what, names in (
            ("borrowed", tuple(borrowed)),
            ("fresh", self.origins.fresh),
            ("left behind", self.origins.left),
        ):
            if names:
                message += f"; {what}: {list_names(names, MAX_LISTED)}"
        return message


def read_source(design: Design) -> Source:
    """The source of a design with `init_from`. No arrays are read.

    Raises WorkdirMismatch if there is no such checkpoint, or its arrays do not fit.
    """
    path, step = init_from.split_source(design.spec.init_from)
    source = os.fspath(path)
    with Checkpoints(path / "checkpoints", read_only=True) as checkpoints:
        step = checkpoints.latest() if step is None else step
        if not path.exists():
            raise InputMissing(
                f"init_from must be the workdir of a run; there is no {source}. If it has moved, "
                "name its new place in the training command: --config.init_from=RUN"
            )
        if step is None:
            raise WorkdirMismatch(
                f"init_from must be a workdir with a checkpoint; {source} has none. Name another "
                "one"
            )
        shapes = checkpoints.metadata(step)
    origins = find_origins(design, shapes, init_from.vocabulary_axes(design), source)
    return Source(source, step, shapes, origins)


def find_origins(
    design: Design,
    stored: Mapping[str, jax.ShapeDtypeStruct],
    vocabulary: Mapping[str, int],
    source: str,
) -> Origins:
    """The origins of the parameters of a design.

    stored: shapes of the source run, by path (Checkpoints.metadata). vocabulary: the parameters
    with one row per token, with the axis of the rows, whose size may differ.

    Raises WorkdirMismatch if a parameter that may not be fresh is missing or has another shape, and
    if no parameter of the body comes from the source.
    """
    wanted = {name: leaf.shape for name, leaf in named_leaves(design.model.param_shapes)}
    layers = design.spec.init_layers
    present = {
        path.removeprefix(PREFIX): shape_of_layers(path, leaf.shape, layers)
        for path, leaf in stored.items()
        if path.startswith(PREFIX)
    }
    objective = design.task.objective
    heads = {name for name, _ in objective.heads}
    taken: dict[str, str] = {}
    wrong: list[str] = []
    for name, shape in wanted.items():
        old = name if name in present else borrowed_path(name, objective.borrows)
        if old in present and same_shape(shape, present[old], vocabulary.get(name)):
            taken[name] = old
        elif name.partition("/")[0] not in heads and not is_own(name, design.model.adapter):
            there = f"is {present[name]} there" if name in present else "is not there"
            wrong.append(f"{name} {shape} {there}")
    if wrong or not any(name.partition("/")[0] not in heads for name in taken):
        raise WorkdirMismatch(
            "every parameter but those of the objective's heads must come from init_from with the "
            f"same shape; of those of {source}, "
            + (list_names(wrong, MAX_LISTED) if wrong else "none is a parameter of this model")
            + ". Name a run of the same model, and set model.* to its values"
        )
    left = sorted(present.keys() - set(taken.values()))
    return Origins(taken, tuple(name for name in wanted if name not in taken), tuple(left))


def shape_of_layers(name: str, shape: tuple[int, ...], layers: Sequence[int]) -> tuple[int, ...]:
    """The shape of the chosen layers of an array, if it is one of stacked layers; () = all of them.

    Raises ConfigError for a layer that is not there.

    >>> shape_of_layers("stack/layers/norm/scale", (12, 768), (0, 2, 4, 7, 9, 11))
    (6, 768)
    """
    if not layers or not is_stacked(name):
        return shape
    if not all(0 <= layer < shape[0] for layer in layers):
        raise ConfigError(
            f"init_layers must be layers of the run of init_from, 0 .. {shape[0] - 1}; received "
            f"{tuple(layers)}"
        )
    return (len(layers), *shape[1:])


def is_stacked(name: str) -> bool:
    """Whether a parameter is that of all layers of a stack."""
    return LAYERS in name.split("/")


def borrowed_path(name: str, borrows: Mapping[str, str]) -> str:
    """The path in the source run that a parameter may be borrowed from; "" without one.

    >>> borrowed_path("classify/pooler/bias", {"classify/pooler": "next_sentence/pooler"})
    'next_sentence/pooler/bias'
    """
    for new, old in borrows.items():
        if name.startswith(f"{new}/"):
            return old + name.removeprefix(new)
    return ""


def same_shape(new: tuple[int, ...], old: tuple[int, ...], free: int | None) -> bool:
    """Whether two shapes are equal, but for the axis `free`."""
    pairs = enumerate(zip(new, old, strict=False))
    return len(new) == len(old) and all(a == b or axis == free for axis, (a, b) in pairs)


def abstract_params(
    design: Design, origins: Origins, stored: Mapping[str, jax.ShapeDtypeStruct]
) -> Any:
    """{"params": the arrays to restore}, with the shardings of this run's parameters; an array of
    another shape is replicated."""
    ours = dict(named_leaves(design.placement.params))
    replicated: Any = rules.replicated(design.placement.mesh)
    arrays = {}
    for name, old in origins.taken.items():
        leaf, there = ours[name], stored[PREFIX + old]
        sharding = leaf.sharding if leaf.shape == there.shape else replicated
        arrays[tuple(old.split("/"))] = jax.ShapeDtypeStruct(
            there.shape, leaf.dtype, sharding=sharding
        )
    return {"params": unflatten_dict(arrays)}


def assemble(origins: Origins, restored: Any, fresh: Any, layers: Sequence[int] = ()) -> Any:
    """The parameters of this run: restored arrays, and the fresh ones of `fresh`.

    layers: the layers to take of stacked ones; () = all.
    """
    arrays = dict(named_leaves(restored))

    def take(name: str, leaf: jax.Array) -> jax.Array:
        if name not in origins.taken:
            return leaf
        array = arrays[origins.taken[name]]
        if not layers or not is_stacked(name):
            return array
        return jax.device_put(array[np.asarray(layers)], leaf.sharding)

    leaves = [take(name, leaf) for name, leaf in named_leaves(fresh)]
    return jax.tree.unflatten(jax.tree.structure(fresh), leaves)
