"""Prefix tuning (Li and Liang 2021): learned keys and values before those of each example, in each
self-attention.

They are parameters themselves, which the paper calls prefix tuning without reparametrization, and
start from a normal distribution with standard deviation 0.02. An encoder-decoder gets them in its
decoder. They take the first positions of an example, and data.seq_len counts them.
"""

from functools import partial
from typing import Annotated

import flax.linen as nn
import jax
import jax.numpy as jnp

from pretrain_jax.adapters import _soft
from pretrain_jax.adapters._base import Adapter
from pretrain_jax.adapters._factories import mix_in
from pretrain_jax.layers.attention import CrossAttention, SelfAttention
from pretrain_jax.layers.axes import with_axes
from pretrain_jax.layers.context import Context
from pretrain_jax.layers.factories import Factory
from pretrain_jax.layers.initializers import Normal
from pretrain_jax.registry import Range

KEYS, VALUES = "prefix_keys", "prefix_values"
INIT = Normal(0.02)


class Prefix(nn.Module):
    """Mixed into self-attention: the places have learned keys and values, after positions."""

    prefix: int = 0

    def place_keys(
        self, k: jax.Array, v: jax.Array, context: Context
    ) -> tuple[jax.Array, jax.Array]:
        tokens = context.tokens
        if tokens is None:
            return k, v
        at, rows = tokens[..., None, None] < 0, _soft.place_of(tokens, self.prefix)
        placed = []
        for name, given in ((KEYS, k), (VALUES, v)):
            init = with_axes(INIT, "positions", "heads", "head_width")
            shape = (self.prefix, *given.shape[2:])
            table = self.param(name, init, shape, jnp.float32).astype(given.dtype)
            placed.append(jnp.where(at, jnp.take(table, rows, axis=0), given))
        return placed[0], placed[1]


def build(*, tokens: Annotated[int, Range(1)] = 20, train: tuple[str, ...] = ()) -> Adapter:
    """Adds 2 x tokens x (key heads x head width) parameters to each self-attention: 368,640 to
    GPT-2 of 124 M at 20.

    tokens: keys and values before each example
    """
    return Adapter(
        change=partial(change, tokens=tokens),
        own=frozenset({KEYS, VALUES}),
        train=train,
        places=tokens,
    )


def change(made: Factory, tokens: int) -> Factory:
    made = _soft.add_places(made, tokens)
    if not issubclass(made.module, SelfAttention) or issubclass(made.module, CrossAttention):
        return made
    return mix_in(Prefix, made, prefix=tokens)
