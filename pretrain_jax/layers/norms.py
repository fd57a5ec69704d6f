"""Norms over the last axis, computed in float32 and returned in the input's dtype."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp

from pretrain_jax.layers.axes import with_axes


class LayerNorm(nn.Module):
    """(x - mean) / sqrt(variance + epsilon) * scale + bias (Ba, Kiros and Hinton 2016).

    The variance is the mean of squared deviations: E[x^2] - E[x]^2 would lose precision.
    """

    epsilon: float
    bias: bool = True

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        scale = self.param("scale", with_axes(nn.initializers.ones, "width"), x.shape[-1:])
        bias = None
        if self.bias:
            bias = self.param("bias", with_axes(nn.initializers.zeros, "width"), x.shape[-1:])
        return layer_norm(x, scale, bias, self.epsilon)


class RMSNorm(nn.Module):
    """x / sqrt(mean(x^2) + epsilon) * scale (Zhang and Sennrich 2019)."""

    epsilon: float

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        scale = self.param("scale", with_axes(nn.initializers.ones, "width"), x.shape[-1:])
        # Without this, a loop over layers would save x in float32 for the backward pass.
        return jax.checkpoint(partial(rms_norm, epsilon=self.epsilon))(x, scale)


def rms_norm(x: jax.Array, scale: jax.Array, epsilon: float) -> jax.Array:
    """x [..., D], scale float32 [D] -> [..., D]; see `RMSNorm`."""
    x32 = x.astype(jnp.float32)
    mean_square = jnp.mean(jnp.square(x32), axis=-1, keepdims=True)
    return (x32 * jax.lax.rsqrt(mean_square + epsilon) * scale).astype(x.dtype)


@partial(jax.custom_vjp, nondiff_argnums=(3,))
def layer_norm(x: jax.Array, scale: jax.Array, bias: jax.Array | None, epsilon: float) -> jax.Array:
    """x [..., D], scale and bias float32 [D] -> [..., D]; see `LayerNorm`.

    The gradient is written by hand: the sums over positions, for scale and bias, read x again.
    """
    return _layer_norm(x, scale, bias, epsilon)[0]


def _layer_norm(x, scale, bias, epsilon):
    x32 = x.astype(jnp.float32)
    mean = jnp.mean(x32, axis=-1, keepdims=True)
    centred = x32 - mean
    inverse = jax.lax.rsqrt(jnp.mean(jnp.square(centred), axis=-1, keepdims=True) + epsilon)
    y = centred * inverse * scale
    y = y if bias is None else y + bias
    return y.astype(x.dtype), (x, mean, inverse, scale, bias)


def _layer_norm_backward(epsilon, saved, g):
    x, mean, inverse, scale, bias = saved
    normal = (x.astype(jnp.float32) - mean) * inverse
    d_normal = g.astype(jnp.float32) * scale
    along = jnp.mean(d_normal * normal, axis=-1, keepdims=True)
    d_x = inverse * (d_normal - jnp.mean(d_normal, axis=-1, keepdims=True) - normal * along)
    # Without this, a GPU keeps `normal` of every position, in float32, for the sums.
    x_again, g_again = jax.lax.optimization_barrier((x, g))
    normal = (x_again.astype(jnp.float32) - mean) * inverse
    g32, leading = g_again.astype(jnp.float32), tuple(range(x.ndim - 1))
    d_bias = None if bias is None else jnp.sum(g32, axis=leading)
    return d_x.astype(x.dtype), jnp.sum(g32 * normal, axis=leading), d_bias


layer_norm.defvjp(_layer_norm, _layer_norm_backward)
