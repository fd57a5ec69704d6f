"""How large a run is, from shapes alone: parameters, and memory a device. Allocates nothing."""

import math
from typing import Any

import jax

from pretrain_jax.composition.build import Design
from pretrain_jax.composition.model import is_box
from pretrain_jax.devices import chips
from pretrain_jax.optim.trees import named_leaves
from pretrain_jax.process import host_memory
from pretrain_jax.sharding import rules


def parameters(design: Design) -> dict[str, int]:
    """Trained numbers by '/'-joined parameter name; stacked layers are one parameter.

    Rows that pad the vocabulary for the hardware do not count: "embedding/tokens" of gpt2_small is
    50257 x 768 = 38,597,376, though 50304 rows are stored.
    """
    leaves = named_leaves(design.plain_model.boxed_params, is_box)
    return {name: math.prod(box.value.shape) for name, box in leaves}


def parts(design: Design) -> dict[str, int]:
    """`parameters`, and the parts that an architecture's paper counts; these overlap.

    ELECTRA's "discriminator" has the embeddings that it shares with the "generator".
    """
    found = parameters(design)
    sums = {
        part: sum(n for name, n in found.items() if name.startswith(tuple(f"{p}/" for p in within)))
        for part, within in design.model.architecture.parts.items()
    }
    return {**found, **sums}


def memory_per_device(design: Design) -> dict[str, int]:
    """Bytes on one device while an update is computed.

    parameters, optimizer: as they are stored, sharded. gradients: float32 like the parameters;
    with train.accumulate twice, the sum and a microbatch's own. activations: what the forward pass
    of one microbatch saves for the backward pass, read off its jaxpr. Two of them are the same for
    any batch: the gradient of the read-out, which is formed with the loss, and attention's kernels
    as matrices. The compiler may save less by fusing, and needs room of its own while it computes;
    mesh.sequence counts as if it split all of it, mesh.tensor, which splits part of it, not at all.
    """
    state = design.update.abstract_state
    params = bytes_held(state.params)
    found = {
        "parameters": params,
        "optimizer": bytes_held(state.opt_state),
        "gradients": params * (2 if any(p.accumulate > 1 for p in design.spec.phases) else 1),
        "activations": _saved_bytes(design),
    }
    return {**found, "total": sum(found.values())}


def check_room(design: Design) -> None:
    """Raises OutOfMemory where parameters, optimizer and gradients alone do not fit into the
    devices of this process: on CPUs all of them share the memory of the machine."""
    state = design.update.abstract_state
    params = bytes_held(state.params)
    one = params + bytes_held(state.opt_state) + params
    chip = chips.lookup(design.target.kind)
    memory = chip.memory if chip else None
    own = sum(d.process_index == jax.process_index() for d in design.target.devices)
    host_memory.check_memory(
        one * own if memory is None else one,
        "parameters, optimizer and gradients",
        "Choose a smaller model (model.layers, model.width), or more devices with "
        "mesh.fsdp=-1 and mesh.data=1; --mode=preflight needs no memory",
        available=memory,
    )


def bytes_held(tree: Any) -> int:
    """Bytes that one device holds of arrays whose shapes carry shardings."""
    return sum(
        math.prod(leaf.sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize
        for leaf in jax.tree.leaves(tree)
    )


def _saved_bytes(design: Design) -> int:
    """Bytes of the residuals of one device's share of the largest microbatch."""
    largest = design.task.largest_phase
    ways = rules.batch_ways(design.placement.mesh) * largest.accumulate
    shapes = design.task.batch_shapes(largest.batch_size // ways, largest.seq_len)
    program = design.update.program

    def saved(params: Any, batch: Any) -> Any:
        def objective(params: Any) -> Any:
            sums = program.loss(design.model.apply, params, batch, jax.random.key(0), True)
            return sum(sums[term][0] for term in program.coefficients)

        return jax.vjp(objective, params)[1]

    jaxpr = jax.make_jaxpr(saved)(design.model.param_shapes, shapes).jaxpr
    held = {id(v) for v in jaxpr.invars}  # parameters and the batch are there anyway
    residuals = {id(v): v.aval for v in jaxpr.outvars if id(v) not in held}
    total = sum(aval.size * aval.dtype.itemsize for aval in residuals.values())
    return total // rules.MeshRules(design.placement.mesh).num_shards("length")
