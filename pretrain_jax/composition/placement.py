"""The placement of the arrays of a run: the mesh, and shardings of parameters and batches."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
from jax.sharding import Mesh

from pretrain_jax.composition.model import Model
from pretrain_jax.composition.spec import Spec
from pretrain_jax.composition.task import Task
from pretrain_jax.devices.target import Target
from pretrain_jax.layers.axes import use_axis_rules
from pretrain_jax.sharding import mesh as meshes
from pretrain_jax.sharding import rules
from pretrain_jax.sharding.batches import BatchSharding
from pretrain_jax.xla import program_cache


@dataclass(frozen=True, eq=False)
class Placement:
    """The mesh of a run, and the model and its batches on it."""

    spec: Spec
    task: Task
    target: Target
    model: Model

    @cached_property
    def mesh(self) -> Mesh:
        """The devices by axis."""
        program_cache.turn_off_for_a_cpu_mesh(self.target.devices)
        return meshes.build(self.target.devices, **self.spec.mesh)

    @cached_property
    def param_shardings(self) -> Any:
        """The sharding of every parameter. Raises ConfigError if an axis does not divide."""
        return rules.named_shardings(self.model.boxed_params, self.mesh)

    @cached_property
    def params(self) -> Any:
        """Shapes of the parameters with their shardings, to restore a checkpoint onto."""
        return with_shardings(self.model.param_shapes, self.param_shardings)

    @cached_property
    def rows(self) -> BatchSharding:
        """The shardings of the fields of a batch."""
        fields = self.task.fields.items()
        return BatchSharding({name: rules.field_sharding(self.mesh, axis) for name, axis in fields})

    def batch(self, batch_size: int, seq_len: int) -> dict[str, jax.ShapeDtypeStruct]:
        """Shapes of the fields of a batch, with their shardings."""
        return with_shardings(self.task.batch_shapes(batch_size, seq_len), self.rows.shardings)

    def apply(
        self, params: Any, batch: Any, rng: jax.Array, train: bool, method: str = "__call__"
    ) -> Any:
        """`Model.apply` with sharding constraints on activations."""
        with use_axis_rules(rules.MeshRules(self.mesh)):
            return self.model.apply(params, batch, rng, train, method)

    def apply_cached(
        self, params: Any, batch: Any, cache: Mapping[str, Any], write: Sequence[str], **how: Any
    ) -> tuple[Any, dict[str, Any]]:
        """`Model.apply_cached` with sharding constraints; how: `method` and `capture`.

        Every row stays on one device: mesh.sequence need not divide the rows of generation.
        """
        with use_axis_rules(rules.MeshRules(self.mesh, unsplit=("length",))):
            return self.model.apply_cached(params, batch, cache, write, **how)

    def check(self) -> None:
        """Raises ConfigError unless batches and rows of every phase divide over the mesh."""
        for phase in self.spec.phases:
            rules.check_batch(phase.batch_size, phase.accumulate, self.mesh, "train.batch_size")
        for seq_len in sorted(self.spec.seq_lens):
            for axis in rules.LENGTHS:
                slots = self.task.budgets(seq_len).get(axis, 0)
                rules.check_length(slots, self.mesh, f"axis {axis} at data.seq_len={seq_len}")


def with_shardings(shapes: Any, shardings: Any) -> Any:
    """Shapes, each with its sharding."""
    return jax.tree.map(
        lambda s, sharding: jax.ShapeDtypeStruct(s.shape, s.dtype, sharding=sharding),
        shapes,
        shardings,
    )
