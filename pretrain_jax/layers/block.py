"""The Transformer block: a list of sub-layers, each inside the same residual wrapper.

PreNorm    x ----------------------+--->      PostNorm   x ------------+--- norm --->
            \\- norm - sublayer - dropout        \\- sublayer - dropout -/
"""

from dataclasses import dataclass

import flax.linen as nn
import jax

from pretrain_jax.layers.attention import CrossAttention
from pretrain_jax.layers.axes import constrain
from pretrain_jax.layers.context import Context
from pretrain_jax.layers.factories import Factory


@dataclass(frozen=True)
class PreNorm:
    """x + dropout(sublayer(norm(x))): GPT-2, LLaMA, T5."""

    norm: Factory
    dropout: Factory

    def __call__(self, x: jax.Array, name: str, sublayer: Factory, context: Context) -> jax.Array:
        y = sublayer(name=name)(self.norm(name=f"{name}_norm")(x), context)
        return x + self.dropout(name=f"{name}_dropout", deterministic=not context.train)(y)


@dataclass(frozen=True)
class PostNorm:
    """norm(x + dropout(sublayer(x))): the 2017 Transformer, GPT-1, BERT."""

    norm: Factory
    dropout: Factory

    def __call__(self, x: jax.Array, name: str, sublayer: Factory, context: Context) -> jax.Array:
        y = sublayer(name=name)(x, context)
        y = self.dropout(name=f"{name}_dropout", deterministic=not context.train)(y)
        return self.norm(name=f"{name}_norm")(x + y)


class Block(nn.Module):
    """x [B, L, D] -> [B, L, D] through named sub-layers, in order.

    A decoder has (("attention", ...), ("feed_forward", ...)); a decoder with a memory also has
    ("cross_attention", ...) between them. Cross attention is skipped when the context has no memory
    mask, so an encoder can share the block. The wrapper creates the modules in this block's
    scope: parameter paths begin with attention/, attention_norm/, feed_forward/, ...
    """

    sublayers: tuple[tuple[str, Factory], ...]
    residual: PreNorm | PostNorm

    @nn.compact
    def __call__(self, x: jax.Array, context: Context) -> tuple[jax.Array, None]:
        for name, sublayer in self.sublayers:
            if context.memory_mask is None and issubclass(sublayer.module, CrossAttention):
                continue
            x = self.residual(x, name, sublayer, context)
            x = constrain(x, "batch", "length", "hidden")
        return x, None  # (carry, output), as nn.scan expects
