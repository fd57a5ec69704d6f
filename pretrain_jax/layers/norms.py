"""Normalisation over the last axis, computed in float32 and returned in the input's dtype."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from pretrain_jax.layers.axes import named


class LayerNorm(nn.Module):
    """(x - mean) / sqrt(variance + epsilon) * scale + bias (Ba, Kiros and Hinton 2016).

    The variance is the mean of squared deviations, not E[x^2] - E[x]^2, which loses digits.
    """

    epsilon: float
    bias: bool = True

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        scale = self.param("scale", named(nn.initializers.ones, "width"), x.shape[-1:])
        x32 = x.astype(jnp.float32)
        centred = x32 - jnp.mean(x32, axis=-1, keepdims=True)
        variance = jnp.mean(jnp.square(centred), axis=-1, keepdims=True)
        y = centred * jax.lax.rsqrt(variance + self.epsilon) * scale
        if self.bias:
            y = y + self.param("bias", named(nn.initializers.zeros, "width"), x.shape[-1:])
        return y.astype(x.dtype)


class RMSNorm(nn.Module):
    """x / sqrt(mean(x^2) + epsilon) * scale (Zhang and Sennrich 2019)."""

    epsilon: float

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        scale = self.param("scale", named(nn.initializers.ones, "width"), x.shape[-1:])
        x32 = x.astype(jnp.float32)
        mean_square = jnp.mean(jnp.square(x32), axis=-1, keepdims=True)
        return (x32 * jax.lax.rsqrt(mean_square + self.epsilon) * scale).astype(x.dtype)
