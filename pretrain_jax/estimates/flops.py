"""Floating-point operations of a model, counted from its jaxpr.

Counted are matrix products, 2 m n k each, times the trips of the loops they stand in. Training is
three forward passes' worth: the backward pass multiplies twice as often, and nothing is credited
for recomputation, dropout or the optimizer. Attention counts in full, masked or not (PaLM,
appendix B); the padding of the vocabulary does not count.
"""

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import flax.linen as nn
import jax
from jax.interpreters import partial_eval

from pretrain_jax.composition.build import Design

KERNELS = {"dot_product_attention_fwd_wrapper": 2, "dot_product_attention_bwd_wrapper": 5}
"""Products in cuDNN's attention, which has no jaxpr: of queries [B, L, H, K], keys [B, M, H, K]."""


@lru_cache(maxsize=8)
def per_token(design: Design, seq_len: int) -> float:
    """Training FLOPs for each token of a row of `seq_len`, the memory's among them.

    GPT-2 124M at length 1,024: 6 x 124.4 M - 6 x 786 k (positions) + 12 x 12 x 768 x 1024
    = 855 M.
    """
    # A second row's cost: what is computed once for all rows (a table of distances) is left out.
    more = _forward(design, 2, seq_len) - _forward(design, 1, seq_len)
    return 3 * more / design.task.tokens_per_row(seq_len)


@lru_cache(maxsize=8)
def per_axis(design: Design, seq_len: int) -> dict[str, float]:
    """Training FLOPs for each token of the stream, "L", and of the memory, "M", where there is one.

    The two differ: a decoder's layers have cross attention too, and its tokens are read out. With
    L and M slots in a row, L x "L" + M x "M" are those of the row. T5 base at 512 inputs and 114
    targets: 812 M and 651 M, where `per_token`, the mean over all slots, is 680 M.
    """
    budgets, whole = design.task.budgets(seq_len), per_token(design, seq_len)
    if "M" not in budgets:
        return {"L": whole}
    # FLOPs of a row are m + a L + b L^2; three short streams tell m, what the memory costs alone.
    one, two, three = (
        _forward(design, 2, seq_len, n) - _forward(design, 1, seq_len, n) for n in (1, 2, 3)
    )
    memory = 3 * (3 * one - 3 * two + three)
    stream = whole * design.task.tokens_per_row(seq_len) - memory
    return {"L": stream / budgets["L"], "M": memory / budgets["M"]}


def of_step(design: Design, seq_len: int, metrics: Mapping[str, float]) -> float:
    """Training FLOPs of the real tokens of an update, from its metrics (step.train_step)."""
    each, memory = per_axis(design, seq_len), metrics.get("memory_tokens", 0.0)
    return (metrics["tokens"] - memory) * each["L"] + memory * each.get("M", 0.0)


def of_run(design: Design) -> float:
    """Training FLOPs from the first step to the last, each phase at its own length."""
    return sum(
        (phase.last - phase.first)
        * phase.batch_size
        * design.task.tokens_per_row(phase.seq_len)
        * per_token(design, phase.seq_len)
        for phase in design.spec.phases
    )


def _forward(design: Design, rows: int, seq_len: int, stream: int | None = None) -> float:
    """FLOPs of the forward pass and the loss of a batch of `rows`; stream: slots of L, where they
    are not those of the design."""
    shapes = design.task.batch_shapes(rows, seq_len)
    if stream is not None:
        shapes |= {
            name: jax.ShapeDtypeStruct((rows, stream), shapes[name].dtype)
            for name, axis in design.task.fields.items()
            if axis == "L"
        }

    def forward(params, batch):
        return design.task.objective.loss(
            design.plain_model.apply, params, batch, jax.random.key(0), False
        )

    params = nn.meta.unbox(design.plain_model.boxed_params)
    return count(jax.make_jaxpr(forward)(params, shapes).jaxpr)


def executed(traced: Any) -> float:
    """Operations of the products that a traced function cannot do without, over all devices: the
    weights of microbatches are traced with all of a forward pass, of which the compiler keeps none.
    """
    jaxpr = traced.jaxpr.jaxpr
    needed, _ = partial_eval.dce_jaxpr(jaxpr, [True] * len(jaxpr.outvars))
    return count(needed)


def count(jaxpr: Any) -> float:
    """Operations of the matrix products of a jaxpr, loops multiplied by their trips.

    >>> a, b = jax.numpy.ones((2, 3)), jax.numpy.ones((3, 4))
    >>> count(jax.make_jaxpr(jax.numpy.dot)(a, b).jaxpr)
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
        inner = [count(inner) for inner in _inner(equation.params)]
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
    found = []
    for value in jax.tree.leaves(
        params, is_leaf=lambda x: hasattr(x, "eqns") or hasattr(x, "jaxpr")
    ):
        if hasattr(value, "jaxpr"):
            found.append(value.jaxpr)
        elif hasattr(value, "eqns"):
            found.append(value)
    return found
