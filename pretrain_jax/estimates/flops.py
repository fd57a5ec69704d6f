"""Floating-point operations of a model, counted from its jaxpr.

The count has matrix products only, 2 m n k each, times the trips of the loops around them. Training
counts as three forward passes (the backward pass has twice the products), and with an adapter as
two (matrices that do not train have no gradient); a teacher has one forward pass. Recomputation,
dropout and the optimizer count nothing. Masked attention scores count too (PaLM, appendix B); rows
that pad the vocabulary do not.
"""

import math
from collections.abc import Mapping
from functools import lru_cache, partial
from typing import Any

import flax.linen as nn
import jax
from jax.interpreters import partial_eval

from pretrain_jax import losses
from pretrain_jax.composition.build import Design
from pretrain_jax.objectives.distill import TEACHER

KERNELS = {"dot_product_attention_fwd_wrapper": 2, "dot_product_attention_bwd_wrapper": 5}
"""Matrix products of cuDNN's attention kernels, which have no jaxpr. Their inputs are queries
[B, L, H, K] and keys [B, M, G, K]."""


@lru_cache(maxsize=8)
def per_token(design: Design, seq_len: int) -> float:
    """Training FLOPs per token of a row of `seq_len`, where tokens of the memory count too.

    GPT-2 124M at length 1,024: 6 x 124.4 M - 6 x 786 k (positions) + 12 x 12 x 768 x 1024
    = 855 M.
    """
    # The cost of a second row: computations shared by all rows (a table of distances) cancel.
    row = _update(design, 2, seq_len) - _update(design, 1, seq_len)
    return row / design.task.tokens_per_row(seq_len)


@lru_cache(maxsize=8)
def per_axis(design: Design, seq_len: int) -> dict[str, float]:
    """Training FLOPs per token of the stream, "L", and of the memory, "M", where there is one.

    The two differ: decoder layers have cross attention, and their tokens get logits. A row with
    L and M slots costs L x "L" + M x "M". T5 base at 512 inputs and 114 targets: 812 M and 651 M;
    `per_token`, the mean over all slots, is 680 M.
    """
    budgets, mean = design.task.budgets(seq_len), per_token(design, seq_len)
    if "M" not in budgets:
        return {"L": mean}
    # FLOPs of a row are m + a L + b L^2. Three short streams determine m, the cost of the memory.
    one, two, three = (
        _update(design, 2, seq_len, n) - _update(design, 1, seq_len, n) for n in (1, 2, 3)
    )
    memory = 3 * one - 3 * two + three
    stream = mean * design.task.tokens_per_row(seq_len) - memory
    return {"L": stream / budgets["L"], "M": memory / budgets["M"]}


def passes(design: Design) -> int:
    """The forward passes that cost as much as an update."""
    return 3 if design.model.adapter.trains_all else 2


def per_step(design: Design, seq_len: int, metrics: Mapping[str, float]) -> float:
    """Training FLOPs of the real (not padding) tokens of an update, from its metrics
    (step.train_step)."""
    costs, memory = per_axis(design, seq_len), metrics.get("memory_tokens", 0.0)
    return (metrics["tokens"] - memory) * costs["L"] + memory * costs.get("M", 0.0)


def per_run(design: Design) -> float:
    """Training FLOPs from the first step to the last, each phase at its own sequence length."""
    return sum(
        phase.rows * design.task.tokens_per_row(phase.seq_len) * per_token(design, phase.seq_len)
        for phase in design.spec.phases
    )


def _update(design: Design, rows: int, seq_len: int, stream: int | None = None) -> float:
    """FLOPs of an update on a batch of `rows`. A teacher has a forward pass alone.

    stream: slots of axis L, if not the design's.
    """
    shapes = _batch_shapes(design, rows, seq_len, stream)
    objective, params = design.task.objective, _plain_params(design)
    loss, taught = objective.loss, 0.0
    if design.teacher is not None:
        teach, theirs = design.teacher.plain_model.apply, _plain_params(design.teacher)
        loss = partial(loss, teach)

        def read(params, batch):
            return losses.output_logits(teach(params, batch, jax.random.key(0), False))

        taught = count_jaxpr(jax.make_jaxpr(read)(theirs, shapes).jaxpr)
        params = {**params, TEACHER: theirs}

    def forward(params, batch):
        return loss(design.plain_model.apply, params, batch, jax.random.key(0), False)

    both = count_jaxpr(jax.make_jaxpr(forward)(params, shapes).jaxpr)
    return passes(design) * (both - taught) + taught


def _plain_params(design: Design) -> Any:
    """Shapes of the parameters, without padding of the vocabulary."""
    return nn.meta.unbox(design.plain_model.boxed_params)


def _batch_shapes(design: Design, rows: int, seq_len: int, stream: int | None) -> dict[str, Any]:
    """Shapes of a batch. stream: slots of axis L, if not the design's."""
    shapes = design.task.batch_shapes(rows, seq_len)
    if stream is not None:
        shapes |= {
            name: jax.ShapeDtypeStruct((rows, stream), shapes[name].dtype)
            for name, axis in design.task.fields.items()
            if axis == "L"
        }
    return shapes


def count_executed(traced: Any) -> float:
    """FLOPs of the products in a traced function, over all devices, after dead code is removed.

    (Summing the weights of microbatches traces a forward pass that the compiler removes.)
    """
    jaxpr = traced.jaxpr.jaxpr
    needed, _ = partial_eval.dce_jaxpr(jaxpr, [True] * len(jaxpr.outvars))
    return count_jaxpr(needed)


def count_jaxpr(jaxpr: Any) -> float:
    """FLOPs of the matrix products of a jaxpr; those in loops times their trips.

    >>> a, b = jax.numpy.ones((2, 3)), jax.numpy.ones((3, 4))
    >>> count_jaxpr(jax.make_jaxpr(jax.numpy.dot)(a, b).jaxpr)
    48.0
    """
    total = 0.0
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            ((contracted, _), _) = equation.params["dimension_numbers"]
            left = equation.invars[0].aval.shape
            inner = math.prod(left[axis] for axis in contracted)
            total += 2.0 * math.prod(equation.outvars[0].aval.shape) * inner
        if equation.primitive.name in KERNELS:
            queries, keys = (var.aval.shape for var in equation.invars[:2])
            total += 2.0 * KERNELS[equation.primitive.name] * math.prod(queries) * keys[1]
        inner = [count_jaxpr(inner) for inner in _inner(equation.params)]
        if equation.primitive.name == "cond":
            total += max(inner)
        else:
            total += _trips(equation) * sum(inner)
    return total


def _trips(equation: Any) -> int:
    """How often the jaxprs inside an equation run, over all devices."""
    params = equation.params
    match equation.primitive.name:
        case "scan":
            return params["length"]
        case "shard_map":
            return params["mesh"].size
        case "pallas_call":
            return math.prod(params["grid_mapping"].grid)
    return 1


def _inner(params: Any) -> list[Any]:
    """The jaxprs among an equation's parameters."""
    jaxprs = []
    for value in jax.tree.leaves(
        params, is_leaf=lambda x: hasattr(x, "eqns") or hasattr(x, "jaxpr")
    ):
        if hasattr(value, "jaxpr"):
            jaxprs.append(value.jaxpr)
        elif hasattr(value, "eqns"):
            jaxprs.append(value)
    return jaxprs
