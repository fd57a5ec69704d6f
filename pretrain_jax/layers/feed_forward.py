"""Feed-forward sub-layers.

Elementwise operations between two matrix products save only their inputs and are recomputed in the
backward pass (`jax.checkpoint`): recomputing is cheaper than reading saved results from memory.
"""

import math
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

from pretrain_jax.layers.axes import constrain
from pretrain_jax.layers.context import Context
from pretrain_jax.layers.factories import Factory, factory


class FeedForward(nn.Module):
    """x [B, L, D] -> activation(x up) down, with up [D, F] and down [F, D]."""

    features: int
    activation: Callable[[jax.Array], jax.Array]
    dense: Factory
    dense_out: Factory
    dropout: Factory = factory(nn.Dropout, rate=0.0)
    """Applied to the features between the two maps (T5)."""

    @nn.compact
    def __call__(self, x: jax.Array, context: Context) -> jax.Array:
        h, axes = self.hidden(x), ("feed_forward", "width")
        h = self.dropout(name="dropout", deterministic=not context.train)(h)
        return self.dense_out(inputs=h.shape[-1:], outputs=x.shape[-1:], axes=axes, name="down")(h)

    def hidden(self, x: jax.Array) -> jax.Array:
        """[B, L, D] -> [B, L, F]."""
        return jax.checkpoint(self.activation)(self.widen(x, "up"))

    def widen(self, x: jax.Array, name: str) -> jax.Array:
        outputs, axes = (self.features,), ("width", "feed_forward")
        y = self.dense(inputs=x.shape[-1:], outputs=outputs, axes=axes, name=name)(x)
        return constrain(y, "batch", "length", "feed_forward")


class GatedFeedForward(FeedForward):
    """x [B, L, D] -> (activation(x gate) * (x up)) down (Shazeer 2020): SwiGLU, GEGLU."""

    def hidden(self, x: jax.Array) -> jax.Array:
        gate, up = self.widen(x, "gate"), self.widen(x, "up")
        return jax.checkpoint(lambda gate, up: self.activation(gate) * up)(gate, up)


def exact_gelu(x: jax.Array) -> jax.Array:
    """GELU with the error function, x Phi(x): BERT at release, RoBERTa, SpanBERT, ELECTRA.

    exact_gelu(1) = 0.841345.
    """
    return jax.nn.gelu(x.astype(jnp.float32), approximate=False).astype(x.dtype)


SLOPE = 2 * math.sqrt(2 / math.pi)
CUBIC = 0.044715 * SLOPE


@jax.custom_vjp
def gelu(x: jax.Array) -> jax.Array:
    """The tanh approximation of GELU of GPT-1 and GPT-2 (Hendrycks and Gimpel 2016), in float32.

    x (1 + tanh(u)) / 2 with u = sqrt(2 / pi) (x + 0.044715 x^3), computed as x sigmoid(2 u), which
    takes one exponential and has no cancellation for negative x. gelu(1) = 0.841192.
    """
    x32 = x.astype(jnp.float32)
    return (x32 * _gate(x32)).astype(x.dtype)


def _gate(x: jax.Array) -> jax.Array:
    return 1 / (1 + jnp.exp(-x * (SLOPE + CUBIC * (x * x))))


def _gelu_backward(x: jax.Array, g: jax.Array) -> tuple[jax.Array]:
    x32 = x.astype(jnp.float32)
    s = _gate(x32)
    slope = s + x32 * (s * (1 - s)) * (SLOPE + 3 * CUBIC * (x32 * x32))
    return ((g * slope).astype(x.dtype),)


gelu.defvjp(lambda x: (gelu(x), x), _gelu_backward)
