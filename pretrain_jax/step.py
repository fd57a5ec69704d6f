"""One update, and one evaluation: pure functions of state and batch.

    train_step(state, batch, program, frozen) -> (state, metrics)

The frozen `Program`, a static argument, holds everything that is not an array: the model, the
objective, the optimizer. The random numbers of update n derive from (seed, n) alone, so a run
resumes with the same bits from its saved state and nothing else.
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
from pretrain_jax.optim.trees import join_trees

Batch = dict[str, jax.Array]
Sums = dict[str, tuple[jax.Array, jax.Array]]


class TrainState(struct.PyTreeNode):
    """The content of a checkpoint; donated to every step."""

    step: jax.Array
    """int32 scalar: number of updates so far."""
    params: Any
    """The parameters that train; with an adapter, the others are in `frozen`."""
    opt_state: Any


@dataclass(frozen=True, eq=False)
class Program:
    """The static part of a step: its functions and constants."""

    apply: Callable[..., Any]
    """apply(params, batch, rng, train, method="__call__") -> model output."""
    loss: Callable[..., Sums]
    """The objective's device half: (sum, weight) by term."""
    metrics: Callable[..., Sums]
    """What an evaluation reports in addition to the terms; see objectives.Objective."""
    coefficients: Mapping[str, float]
    """The step minimizes the sum of coefficient x sum / weight over these terms."""
    optimizer: optax.GradientTransformation
    schedule: Callable[[jax.Array], jax.Array]
    clip_norm: float
    accumulate: int
    seed: int
    predict: Callable[..., dict[str, jax.Array]]
    """ExampleTask.predict, for an objective with labels; others predict nothing."""
    dtype: Any
    """The compute dtype: that of the model's matrix products."""


def train_step(
    state: TrainState, batch: Batch, program: Program, frozen: Any = None
) -> tuple[TrainState, dict[str, jax.Array]]:
    """One update on a batch of [B, ...] fields. If a number is not finite, the old state is kept.

    frozen: the parameters that do not train; they have no gradient. None = there are none.

    metrics, float32 scalars: loss (nats per predicted token), the other terms by name, objective
    (the minimized value), grad_norm (before clipping), learning_rate, tokens (without padding),
    memory_tokens (those of the memory, where there is one), finite (1 or 0).
    """
    rng = jax.random.fold_in(seeds.random_key(program.seed), state.step)
    sums, grads = gradients(state.params, batch, rng, program, frozen)
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
        **count_tokens(batch),
        "finite": finite.astype(jnp.float32),
    }
    return state_after, metrics


def count_tokens(batch: Batch) -> dict[str, jax.Array]:
    """Tokens without padding, float32: "tokens" counts the stream and the memory together,
    "memory_tokens", where there is a memory, the memory alone."""
    counts = {"tokens": jnp.sum(batch["segments"] > 0)}
    if "memory_segments" in batch:
        counts["memory_tokens"] = jnp.sum(batch["memory_segments"] > 0)
        counts["tokens"] += counts["memory_tokens"]
    return {name: count.astype(jnp.float32) for name, count in counts.items()}


def mean(total: jax.Array, weight: jax.Array) -> jax.Array:
    """total / weight; 0 where nothing is predicted."""
    return total / jnp.where(weight > 0, weight, 1.0)


def gradients(
    params: Any, batch: Batch, rng: jax.Array, program: Program, frozen: Any = None
) -> tuple[Sums, Any]:
    """Sums by term over the whole batch, and the gradient of the objective for `params`.

    The sums of all `accumulate` microbatches are added before anything is divided, so the result is
    that of the whole batch, however unevenly the padding falls. Each microbatch's gradients have
    the dtypes of `cast_kernels`; they are added in the dtype of the parameters.
    """
    low, fixed = (cast_kernels(tree, program.dtype) for tree in (params, frozen or {}))

    def sums_of(params, part, rng):
        return program.loss(program.apply, join_trees(params, fixed), part, rng, True)

    def objective(params, part, rng, totals):
        sums = sums_of(params, part, rng)
        totals = {term: weight for term, (_, weight) in sums.items()} if totals is None else totals
        value = sum(
            c * mean(sums[term][0], totals[term]) for term, c in program.coefficients.items()
        )
        return value, {term: sums[term] for term in program.coefficients}

    def grad(part, rng, totals):
        grads, sums = jax.grad(objective, has_aux=True)(low, part, rng, totals)
        return sums, jax.tree.map(lambda g, p: g.astype(p.dtype), collect_stacks(grads), params)

    if program.accumulate == 1:
        return grad(batch, rng, None)

    parts = jax.tree.map(lambda x: microbatches(x, program.accumulate), batch)
    numbers = jnp.arange(program.accumulate)
    # Weights depend on the batch alone, so the compiler drops everything else of this first pass.
    weigh = lambda part: {  # noqa: E731
        term: weight for term, (_, weight) in sums_of(low, part, rng).items()
    }
    totals = jax.tree.map(lambda w: jnp.sum(w, axis=0), jax.lax.map(weigh, parts))

    def add(carry, part_and_number):
        part, number = part_and_number
        result = grad(part, jax.random.fold_in(rng, number), totals)
        return jax.tree.map(jnp.add, carry, result), None

    zeros = jax.tree.map(
        lambda x: jnp.zeros(x.shape, x.dtype),
        jax.eval_shape(lambda: grad(jax.tree.map(lambda x: x[0], parts), rng, totals)),
    )
    (sums, grads), _ = jax.lax.scan(add, zeros, (parts, numbers))
    return sums, grads


def cast_kernels(params: Any, dtype: Any) -> Any:
    """`params` with the kernels of all layers in `dtype`, cast once per step.

    Each layer would cast its kernels anyway. Casting them before the loops over microbatches and
    layers makes these loops carry half the bytes. Tables, norms and parameters outside the layers
    keep their dtype, because some are also used in float32.
    """

    def cast(path: Any, x: jax.Array) -> jax.Array:
        return x.astype(dtype) if in_layers(path) and path[-1].key == "kernel" else x

    return jax.tree_util.tree_map_with_path(cast, params)


def collect_stacks(grads: Any) -> Any:
    """`grads`; on GPUs a barrier makes the compiler assemble each stack's gradients before use.

    With unrolled layers it would otherwise assemble them three times, for the parameters and for
    each moment of the optimizer, and could not update all three in one pass. On a CPU the barrier
    costs more than it saves.
    """

    def hold(path: Any, g: jax.Array) -> jax.Array:
        if not in_layers(path):
            return g
        barrier = jax.lax.optimization_barrier
        return jax.lax.platform_dependent(g, cuda=barrier, default=lambda g: g)

    return jax.tree_util.tree_map_with_path(hold, grads)


def in_layers(path: Any) -> bool:
    """Whether a key path of the parameters leads into a stack of layers."""
    return any(getattr(key, "key", None) == "layers" for key in path)


def microbatches(x: jax.Array, count: int) -> jax.Array:
    """[B, ...] -> [count, B / count, ...]; microbatch i takes the rows i, i + count, ...

    Devices hold contiguous blocks of rows. With this stride every device keeps a share of every
    microbatch, and no row moves between devices.
    """
    return jnp.moveaxis(x.reshape(x.shape[0] // count, count, *x.shape[1:]), 1, 0)


def eval_step(
    params: Any, batch: Batch, special: jax.Array, program: Program
) -> dict[str, tuple[jax.Array, jax.Array]]:
    """Sums of one evaluation batch: the objective's terms and its metrics, with fixed random
    numbers. special: bool [V], the ids that no metric counts."""
    rng = seeds.random_key(program.seed)
    return {
        **program.loss(program.apply, params, batch, rng, False),
        **program.metrics(program.apply, params, batch, rng, special),
    }


def predict_step(
    params: Any, batch: Batch, program: Program
) -> tuple[dict[str, tuple[jax.Array, jax.Array]], dict[str, jax.Array]]:
    """(the objective's terms, its predictions [B, E, ...]) of one batch of an objective with
    labels."""
    rng = seeds.random_key(program.seed)
    terms = program.loss(program.apply, params, batch, rng, False)
    return terms, program.predict(program.apply, params, batch)


def pll_step(
    params: Any, batch: Batch, special: jax.Array, program: Program
) -> tuple[jax.Array, jax.Array]:
    """(sum of nats, number) of the text tokens predicted in a batch of `Objective.pll_examples`."""
    rng = seeds.random_key(program.seed)
    return program.metrics(program.apply, params, batch, rng, special)["text"]
