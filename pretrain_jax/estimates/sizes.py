"""The size of a run from shapes alone: parameters, and memory per device. Allocates nothing."""

import math
from functools import partial
from typing import Any

import jax

from pretrain_jax.composition.build import Design
from pretrain_jax.devices import chips
from pretrain_jax.layers.axes import is_box
from pretrain_jax.objectives.distill import TEACHER
from pretrain_jax.optim.trees import join_trees, named_leaves
from pretrain_jax.process import host_memory
from pretrain_jax.sharding import rules


def count_parameters(design: Design) -> dict[str, int]:
    """Numbers of values by '/'-joined parameter name; stacked layers are one parameter.

    Rows that pad the vocabulary do not count: "embedding/tokens" of gpt2_small has 50257 x 768 =
    38,597,376, although 50304 rows are stored.
    """
    leaves = named_leaves(design.plain_model.boxed_params, is_box)
    return {name: math.prod(box.value.shape) for name, box in leaves}


def total_parameters(design: Design) -> int:
    """The number of parameters of the model."""
    return sum(count_parameters(design).values())


def trained_parameters(design: Design) -> int:
    """The number of parameters that train: with an adapter, a small part of all."""
    trained = design.model.trained
    return sum(count for name, count in count_parameters(design).items() if name in trained)


def parameters_by_part(design: Design) -> dict[str, int]:
    """`count_parameters`, and the sums that the architecture's paper reports; these overlap.

    ELECTRA's "discriminator" includes the embeddings that it shares with the "generator".
    """
    counts = count_parameters(design)
    sums = {
        part: sum(n for name, n in counts.items() if name.startswith(tuple(f"{p}/" for p in names)))
        for part, names in design.model.architecture.parts.items()
    }
    return {**counts, **sums}


def memory_per_device(design: Design) -> dict[str, int]:
    """Estimated bytes on one device during an update.

    parameters, optimizer: as stored, sharded; with an adapter, also the parameters that do not
    train. gradients: float32 like the parameters that train; twice with
    train.accumulate (the sum, and those of a microbatch). activations: what the forward pass of one
    microbatch saves for the backward pass, from its jaxpr. Two of them do not depend on the batch:
    the gradient of the output projection, computed together with the loss, and attention's kernels
    reshaped to matrices.

    The compiler may save less because it fuses operations, and needs temporaries of its own.
    mesh.sequence counts as if it split all activations, mesh.tensor, which splits some, as if none.
    """
    state = design.update.abstract_state
    trained = bytes_per_device(state.params)
    memory = {
        "parameters": trained + bytes_per_device(design.update.abstract_frozen),
        "optimizer": bytes_per_device(state.opt_state),
        "gradients": trained * (2 if any(p.accumulate > 1 for p in design.spec.phases) else 1),
        "activations": _saved_bytes(design),
    }
    return {**memory, "total": sum(memory.values())}


def check_memory(design: Design) -> None:
    """Raises OutOfMemory if parameters, optimizer and gradients alone do not fit into the devices
    of this process. CPU devices share the memory of the machine."""
    state = design.update.abstract_state
    trained, frozen = (bytes_per_device(t) for t in (state.params, design.update.abstract_frozen))
    one = trained + frozen + bytes_per_device(state.opt_state) + trained
    memory = chips.memory(design.target.kind)
    local_devices = sum(d.process_index == jax.process_index() for d in design.target.devices)
    host_memory.check_memory(
        one * local_devices if memory is None else one,
        "parameters, optimizer and gradients",
        "Choose a smaller model (model.layers, model.width), or more devices with "
        "mesh.fsdp=-1 and mesh.data=1; --mode=preflight needs no memory",
        available=memory,
    )


def bytes_per_device(tree: Any) -> int:
    """Bytes on one device of a tree of shapes with shardings."""
    return sum(
        math.prod(leaf.sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize
        for leaf in jax.tree.leaves(tree)
    )


def _saved_bytes(design: Design) -> int:
    """Bytes that one device saves for the backward pass of its share of the largest microbatch."""
    largest = design.task.largest_phase
    ways = rules.batch_ways(design.placement.mesh) * largest.accumulate
    shapes = design.task.batch_shapes(largest.batch_size // ways, largest.seq_len)
    program, model, loss = design.update.program, design.model, design.task.objective.loss
    params, frozen = model.split(model.param_shapes)
    if design.teacher is not None:
        loss = partial(loss, design.teacher.model.apply)
        frozen = {**frozen, TEACHER: design.teacher.model.param_shapes}

    def saved(params: Any, frozen: Any, batch: Any) -> Any:
        def objective(params: Any) -> Any:
            both = join_trees(params, frozen)
            sums = loss(model.apply, both, batch, jax.random.key(0), True)
            return sum(sums[term][0] for term in program.coefficients)

        return jax.vjp(objective, params)[1]

    jaxpr = jax.make_jaxpr(saved)(params, frozen, shapes).jaxpr
    inputs = {id(v) for v in jaxpr.invars}  # parameters and batch are in memory anyway
    residuals = {id(v): v.aval for v in jaxpr.outvars if id(v) not in inputs}
    total = sum(aval.size * aval.dtype.itemsize for aval in residuals.values())
    return total // rules.MeshRules(design.placement.mesh).num_shards("length")
