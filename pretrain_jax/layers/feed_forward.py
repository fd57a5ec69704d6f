"""Feed-forward sub-layers."""

from collections.abc import Callable

import flax.linen as nn
import jax

from pretrain_jax.layers.axes import constrain
from pretrain_jax.layers.context import Context
from pretrain_jax.layers.makers import Maker


class FeedForward(nn.Module):
    """x [B, L, D] -> activation(x up [D, F]) down [F, D]."""

    features: int
    activation: Callable[[jax.Array], jax.Array]
    dense: Maker
    dense_out: Maker

    @nn.compact
    def __call__(self, x: jax.Array, context: Context) -> jax.Array:
        h, axes = self.hidden(x), ("feed_forward", "width")
        return self.dense_out(inputs=h.shape[-1:], outputs=x.shape[-1:], axes=axes, name="down")(h)

    def hidden(self, x: jax.Array) -> jax.Array:
        """[B, L, D] -> [B, L, F]."""
        return self.activation(self.widen(x, "up"))

    def widen(self, x: jax.Array, name: str) -> jax.Array:
        outputs, axes = (self.features,), ("width", "feed_forward")
        y = self.dense(inputs=x.shape[-1:], outputs=outputs, axes=axes, name=name)(x)
        return constrain(y, "batch", "length", "feed_forward")


class GatedFeedForward(FeedForward):
    """x [B, L, D] -> (activation(x gate) * (x up)) down (Shazeer 2020): SwiGLU, GEGLU."""

    def hidden(self, x: jax.Array) -> jax.Array:
        return self.activation(self.widen(x, "gate")) * self.widen(x, "up")


def gelu(x: jax.Array) -> jax.Array:
    """GELU in the tanh form of GPT-1 and GPT-2 (Hendrycks and Gimpel 2016)."""
    return jax.nn.gelu(x, approximate=True)
