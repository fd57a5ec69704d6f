"""Linear maps between named axes."""

import math
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from pretrain_jax.layers.axes import with_axes


class Dense(nn.Module):
    """x [..., *inputs] -> [..., *outputs], contracting all input axes.

    `axes` names the kernel's axes, inputs first. A query projection has ("width", "heads",
    "head_width") with inputs=(768,), outputs=(12, 64); an output projection has ("heads",
    "head_width", "width") with inputs=(12, 64), outputs=(768,).
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
            with_axes(self.kernel_init, *self.axes),
            (*self.inputs, *self.outputs),
            jnp.float32,
        )
        bias = None
        if self.bias:
            names = self.axes[len(self.inputs) :]
            bias = self.param(
                "bias", with_axes(nn.initializers.zeros, *names), self.outputs, jnp.float32
            )
        return project(x, kernel, bias, len(self.inputs), self.dtype)


def project(
    x: jax.Array, kernel: jax.Array, bias: jax.Array | None, inputs: int, dtype: Any
) -> jax.Array:
    """Multiplies x [..., *inputs] by kernel [*inputs, *outputs] as one product of two matrices.

    It flattens the leading axes first: XLA's CPU backend multiplies [B, L, D] by [D, F] far more
    slowly than [B x L, D] by [D, F]; on other platforms the reshapes are free.
    """
    outputs = kernel.shape[inputs:]
    rows, columns = math.prod(kernel.shape[:inputs]), math.prod(outputs)
    flat = x.astype(dtype).reshape(-1, rows) @ kernel.astype(dtype).reshape(rows, columns)
    if bias is not None:
        flat = add_bias(flat, bias.reshape(columns))
    return flat.reshape(*x.shape[: x.ndim - inputs], *outputs)


@jax.custom_vjp
def add_bias(x: jax.Array, bias: jax.Array) -> jax.Array:
    """Returns x [..., *F] + bias [*F] in the dtype of x.

    The gradient of the bias is summed in the bias's own dtype (float32); jax's automatic gradient
    would sum over all positions of the batch in bfloat16.
    """
    return x + bias.astype(x.dtype)


def _add_bias_backward(bias: jax.Array, g: jax.Array) -> tuple[jax.Array, jax.Array]:
    return g, jnp.sum(g, axis=tuple(range(g.ndim - bias.ndim)), dtype=bias.dtype)


add_bias.defvjp(lambda x, bias: (add_bias(x, bias), bias), _add_bias_backward)
