"""One update, and one evaluation: pure functions of state and batch.

    train_step(state, batch, program) -> (state, metrics)

Everything that is not an array (the model, the objective, the optimizer) is one frozen `Program`,
a static argument. The random numbers of update n derive from (seed, n) alone, so nothing but the
state needs to be saved to go on with the same bits.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct

from pretrain_jax import seeds
from pretrain_jax.optim.clipping import clip_by_norm

Batch = dict[str, jax.Array]
Sums = dict[str, tuple[jax.Array, jax.Array]]


class TrainState(struct.PyTreeNode):
    """What a checkpoint holds; donated to every step."""

    step: jax.Array
    """int32 scalar: updates done."""
    params: Any
    opt_state: Any


@dataclass(frozen=True, eq=False)
class Program:
    """What a step does, as opposed to what it does it to."""

    apply: Callable[..., Any]
    """apply(params, batch, rng, train, method="__call__") -> model output."""
    loss: Callable[..., Sums]
    """The objective's device half: sums and weights by term."""
    metrics: Callable[..., Sums]
    """What an evaluation reports beside the terms; see objectives.Objective."""
    coefficients: Mapping[str, float]
    """The objective minimised is the sum of coefficient x sum / weight over these terms."""
    optimizer: optax.GradientTransformation
    schedule: Callable[[jax.Array], jax.Array]
    clip_norm: float
    accumulate: int
    seed: int
    dtype: Any
    """Of the model's products."""


def train_step(
    state: TrainState, batch: Batch, program: Program
) -> tuple[TrainState, dict[str, jax.Array]]:
    """One update on a batch of [B, ...] fields. The old state is kept when a number is not finite.

    metrics, float32 scalars: loss (nats a predicted token), the other terms by name, objective
    (what was minimised), grad_norm (before clipping), learning_rate, tokens (real ones, not
    padding), memory_tokens (those of the memory, where there is one), finite (1 or 0).
    """
    rng = jax.random.fold_in(seeds.key(program.seed), state.step)
    sums, grads = gradients(state.params, batch, rng, program)
    means = {term: mean(*pair) for term, pair in sums.items()}
    objective = sum(c * means[term] for term, c in program.coefficients.items())
    norm = optax.tree.norm(grads)
    clipped = clip_by_norm(grads, norm, program.clip_norm)
    updates, opt_state = program.optimizer.update(clipped, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    rate = program.schedule(state.step)
    finite = jnp.isfinite(objective) & jnp.isfinite(norm) & jnp.isfinite(rate)
    new = TrainState(step=state.step + 1, params=params, opt_state=opt_state)
    state_after = jax.tree.map(lambda a, b: jnp.where(finite, a, b), new, state)
    metrics = {
        **means,
        "objective": objective,
        "grad_norm": norm,
        "learning_rate": rate,
        **real_tokens(batch),
        "finite": finite.astype(jnp.float32),
    }
    return state_after, metrics


def real_tokens(batch: Batch) -> dict[str, jax.Array]:
    """float32: "tokens" of the stream and the memory, without padding, and where there is a memory
    also "memory_tokens", its own."""
    found = {"tokens": jnp.sum(batch["segments"] > 0)}
    if "memory_segments" in batch:
        found["memory_tokens"] = jnp.sum(batch["memory_segments"] > 0)
        found["tokens"] += found["memory_tokens"]
    return {name: count.astype(jnp.float32) for name, count in found.items()}


def mean(total: jax.Array, weight: jax.Array) -> jax.Array:
    """total / weight; 0 where nothing was predicted at all."""
    return total / jnp.where(weight > 0, weight, 1.0)


def gradients(params: Any, batch: Batch, rng: jax.Array, program: Program) -> tuple[Sums, Any]:
    """Sums by term over the whole batch, and the gradient of the objective.

    With `accumulate` microbatches their sums are added before anything is divided, so that the
    result is that of the whole batch however unevenly the padding falls. Gradients come in the
    dtype of `copies` and are added in that of the parameters.
    """
    low = copies(params, program.dtype)

    def objective(params, part, rng, totals):
        sums = program.loss(program.apply, params, part, rng, True)
        totals = {term: weight for term, (_, weight) in sums.items()} if totals is None else totals
        value = sum(
            c * mean(sums[term][0], totals[term]) for term, c in program.coefficients.items()
        )
        return value, {term: sums[term] for term in program.coefficients}

    def grad(part, rng, totals):
        grads, sums = jax.grad(objective, has_aux=True)(low, part, rng, totals)
        return sums, jax.tree.map(lambda g, p: g.astype(p.dtype), once(grads), params)

    if program.accumulate == 1:
        return grad(batch, rng, None)

    parts = jax.tree.map(lambda x: microbatches(x, program.accumulate), batch)
    numbers = jnp.arange(program.accumulate)
    # Weights depend on the batch alone; of this first pass the compiler keeps nothing else.
    weigh = lambda part: {  # noqa: E731
        term: weight
        for term, (_, weight) in program.loss(program.apply, low, part, rng, True).items()
    }
    totals = jax.tree.map(lambda w: jnp.sum(w, axis=0), jax.lax.map(weigh, parts))

    def add(carry, part_and_number):
        part, number = part_and_number
        found = grad(part, jax.random.fold_in(rng, number), totals)
        return jax.tree.map(jnp.add, carry, found), None

    zeros = jax.tree.map(
        lambda x: jnp.zeros(x.shape, x.dtype),
        jax.eval_shape(lambda: grad(jax.tree.map(lambda x: x[0], parts), rng, totals)),
    )
    (sums, grads), _ = jax.lax.scan(add, zeros, (parts, numbers))
    return sums, grads


def copies(params: Any, dtype: Any) -> Any:
    """`params` with the kernels of all layers in `dtype`, cast once for a step.

    A layer casts its kernels in any case; here it is done before the loops over microbatches and
    layers, which then carry half the bytes. Tables, norms and what stands outside of the layers
    stay as they are: some are used in float32 as well.
    """

    def cast(path: Any, x: jax.Array) -> jax.Array:
        return x.astype(dtype) if of_layers(path) and path[-1].key == "kernel" else x

    return jax.tree_util.tree_map_with_path(cast, params)


def once(grads: Any) -> Any:
    """`grads`, of which on GPUs those of a stack are put together before they are used.

    Where layers are unrolled, the compiler would do it three times over, for the parameters and
    for each moment of the optimizer, which could not be updated in one pass. On a CPU it costs
    more than it saves.
    """

    def hold(path: Any, g: jax.Array) -> jax.Array:
        if not of_layers(path):
            return g
        barrier = jax.lax.optimization_barrier
        return jax.lax.platform_dependent(g, cuda=barrier, default=lambda g: g)

    return jax.tree_util.tree_map_with_path(hold, grads)


def of_layers(path: Any) -> bool:
    """Whether a key path of the parameters leads into a stack of layers."""
    return any(getattr(key, "key", None) == "layers" for key in path)


def microbatches(x: jax.Array, count: int) -> jax.Array:
    """[B, ...] -> [count, B / count, ...]; microbatch i takes the rows i, i + count, ...

    Strided, because rows lie in contiguous blocks on the devices: every device then keeps a share
    of every microbatch and no row travels.
    """
    return jnp.moveaxis(x.reshape(x.shape[0] // count, count, *x.shape[1:]), 1, 0)


def eval_step(
    params: Any, batch: Batch, special: jax.Array, program: Program
) -> dict[str, tuple[jax.Array, jax.Array]]:
    """Sums of one evaluation batch: the objective's terms and its metrics, with fixed random
    numbers. special: bool [V], ids that no score counts."""
    rng = seeds.key(program.seed)
    return {
        **program.loss(program.apply, params, batch, rng, False),
        **program.metrics(program.apply, params, batch, rng, special),
    }


def probe_step(
    params: Any, batch: Batch, special: jax.Array, program: Program
) -> tuple[jax.Array, jax.Array]:
    """Nats and number of the text tokens that a batch of probes predicts."""
    rng = seeds.key(program.seed)
    return program.metrics(program.apply, params, batch, rng, special)["text"]
