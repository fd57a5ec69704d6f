"""Linear maps between named axes."""

import math
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from pretrain_jax.layers.axes import named


class Dense(nn.Module):
    """x [..., *inputs] -> [..., *outputs], contracting all input axes.

    `axes` names the kernel's axes, inputs first: query projections are ("width", "heads",
    "head_width") with inputs=(768,), outputs=(12, 64); their way back is ("heads", "head_width",
    "width") with inputs=(12, 64), outputs=(768,).
    """

    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    axes: tuple[str, ...]
    kernel_init: Callable[..., Any]
    bias: bool
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        kernel = self.param(
            "kernel",
            named(self.kernel_init, *self.axes),
            (*self.inputs, *self.outputs),
            jnp.float32,
        )
        bias = None
        if self.bias:
            names = self.axes[len(self.inputs) :]
            bias = self.param(
                "bias", named(nn.initializers.zeros, *names), self.outputs, jnp.float32
            )
        return project(x, kernel, bias, len(self.inputs), self.dtype)


def project(
    x: jax.Array, kernel: jax.Array, bias: jax.Array | None, inputs: int, dtype: Any
) -> jax.Array:
    """x [..., *inputs] times kernel [*inputs, *outputs], as one product of two matrices.

    The leading axes are flattened first: XLA's CPU backend multiplies [B, L, D] by [D, F] far
    more slowly than [B x L, D] by [D, F]; elsewhere the reshapes are free.
    """
    outputs = kernel.shape[inputs:]
    rows, columns = math.prod(kernel.shape[:inputs]), math.prod(outputs)
    flat = x.astype(dtype).reshape(-1, rows) @ kernel.astype(dtype).reshape(rows, columns)
    if bias is not None:
        flat = add_bias(flat, bias.reshape(columns))
    return flat.reshape(*x.shape[: x.ndim - inputs], *outputs)


@jax.custom_vjp
def add_bias(x: jax.Array, bias: jax.Array) -> jax.Array:
    """x [..., *F] + bias [*F], in the dtype of x; the gradient of the bias is a sum in its own.

    Derived by jax it would be a sum in bfloat16 over all places of the batch.
    """
    return x + bias.astype(x.dtype)


def _add_bias_backward(bias: jax.Array, g: jax.Array) -> tuple[jax.Array, jax.Array]:
    return g, jnp.sum(g, axis=tuple(range(g.ndim - bias.ndim)), dtype=bias.dtype)


add_bias.defvjp(lambda x, bias: (add_bias(x, bias), bias), _add_bias_backward)
