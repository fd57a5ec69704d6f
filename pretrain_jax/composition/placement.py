"""Where the arrays of a run live: the mesh, and the shardings of parameters and batches."""

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
        return meshes.build(self.target.devices, **self.spec.mesh)

    @cached_property
    def param_shardings(self) -> Any:
        """Where every parameter lives; raises ConfigError where an axis does not divide."""
        return rules.named_shardings(self.model.boxed_params, self.mesh)

    @cached_property
    def params(self) -> Any:
        """Shapes of the parameters, with their shardings: what a checkpoint is restored onto."""
        return with_shardings(self.model.param_shapes, self.param_shardings)

    @cached_property
    def rows(self) -> BatchSharding:
        """Where the fields of a batch live."""
        fields = self.task.fields.items()
        return BatchSharding({name: rules.field_sharding(self.mesh, axis) for name, axis in fields})

    def batch(self, batch_size: int, seq_len: int) -> dict[str, jax.ShapeDtypeStruct]:
        """Shapes of the fields of a batch, with their shardings."""
        return with_shardings(self.task.batch_shapes(batch_size, seq_len), self.rows.shardings)

    def apply(
        self, params: Any, batch: Any, rng: jax.Array, train: bool, method: str = "__call__"
    ) -> Any:
        """`Model.apply` with activations placed on the mesh."""
        with use_axis_rules(rules.MeshRules(self.mesh)):
            return self.model.apply(params, batch, rng, train, method)

    def check(self) -> None:
        """Raises ConfigError unless the batch of every phase divides over microbatches and mesh."""
        for phase in self.spec.phases:
            rules.check_batch(phase.batch_size, phase.accumulate, self.mesh, "train.batch_size")
        for seq_len in sorted(self.spec.seq_lens):
            for axis in rules.LENGTHS:
                slots = self.task.budgets(seq_len).get(axis, 0)
                rules.check_length(slots, self.mesh, f"axis {axis} at data.seq_len={seq_len}")


def with_shardings(shapes: Any, shardings: Any) -> Any:
    """Shapes with the sharding of each leaf."""
    return jax.tree.map(
        lambda s, sharding: jax.ShapeDtypeStruct(s.shape, s.dtype, sharding=sharding),
        shapes,
        shardings,
    )
