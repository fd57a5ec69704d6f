"""Bottleneck adapters (Houlsby et al. 2019): y becomes y + gelu(y down) up, for the output y of
each attention and each feed-forward sub-layer, before the residual sum.

down [D, width] starts as there, from a normal distribution with standard deviation 0.01; up
[width, D] starts as zeros, so that the adapted model starts as the base. There, up starts as down
does, and the norms of the base train too; for that, set adapter.train=("norm/",).
"""

import functools
from typing import Annotated, Any

import flax.linen as nn
import jax

from pretrain_jax.adapters._base import Adapter
from pretrain_jax.adapters._factories import mix_in
from pretrain_jax.layers.attention import SelfAttention
from pretrain_jax.layers.dense import Dense
from pretrain_jax.layers.factories import Factory
from pretrain_jax.layers.feed_forward import FeedForward, gelu
from pretrain_jax.layers.initializers import Normal
from pretrain_jax.registry import Range

DOWN, UP = "bottleneck_down", "bottleneck_up"
INIT = Normal(0.01)


class Bottleneck(nn.Module):
    """Mixed into a sub-layer's class: its output [B, L, D] goes through the bottleneck."""

    bottleneck: int = 0

    @nn.compact
    def __call__(self, x: jax.Array, context: Any) -> jax.Array:
        y = super().__call__(x, context)
        width, narrow = y.shape[-1:], (self.bottleneck,)
        down = Dense(width, narrow, ("width", "hidden"), INIT, True, y.dtype, name=DOWN)
        zeros = nn.initializers.zeros
        up = Dense(narrow, width, ("hidden", "width"), zeros, True, y.dtype, name=UP)
        return y + up(gelu(down(y)))


def build(*, width: Annotated[int, Range(1)] = 64, train: tuple[str, ...] = ()) -> Adapter:
    """Adds 2 D width + D + width parameters to each sub-layer: 2.4 M to BERT-base at width 64.

    width: features between the two maps
    """
    return Adapter(
        change=functools.partial(change, width=width), own=frozenset({DOWN, UP}), train=train
    )


def change(made: Factory, width: int) -> Factory:
    if not issubclass(made.module, (SelfAttention, FeedForward)):
        return made
    return mix_in(Bottleneck, made, bottleneck=width)
