"""One block for all architectures: a list of sub-layers, each inside the same residual wrapper.

PreNorm    x ----------------------+--->      PostNorm   x ------------+--- norm --->
            \\- norm - sublayer - dropout        \\- sublayer - dropout -/
"""

from dataclasses import dataclass

import flax.linen as nn
import jax

from pretrain_jax.layers.attention import CrossAttention
from pretrain_jax.layers.axes import constrain
from pretrain_jax.layers.context import Context
from pretrain_jax.layers.makers import Maker


@dataclass(frozen=True)
class PreNorm:
    """x + dropout(sublayer(norm(x))): GPT-2, LLaMA, T5."""

    norm: Maker
    dropout: Maker

    def __call__(self, x: jax.Array, name: str, sublayer: Maker, context: Context) -> jax.Array:
        y = sublayer(name=name)(self.norm(name=f"{name}_norm")(x), context)
        return x + self.dropout(name=f"{name}_dropout", deterministic=not context.train)(y)


@dataclass(frozen=True)
class PostNorm:
    """norm(x + dropout(sublayer(x))): the 2017 Transformer, GPT-1, BERT."""

    norm: Maker
    dropout: Maker

    def __call__(self, x: jax.Array, name: str, sublayer: Maker, context: Context) -> jax.Array:
        y = sublayer(name=name)(x, context)
        y = self.dropout(name=f"{name}_dropout", deterministic=not context.train)(y)
        return self.norm(name=f"{name}_norm")(x + y)


class Block(nn.Module):
    """x [B, L, D] -> [B, L, D] through named sub-layers, in order.

    A decoder's are (("attention", ...), ("feed_forward", ...)); one that reads a memory has
    ("cross_attention", ...) between them, which is passed over where the context has no memory, so
    that the same block can be the encoder's. The wrapper creates the modules in this block's
    scope: parameters stand at attention/, attention_norm/, feed_forward/, ...
    """

    sublayers: tuple[tuple[str, Maker], ...]
    residual: PreNorm | PostNorm

    @nn.compact
    def __call__(self, x: jax.Array, context: Context) -> tuple[jax.Array, None]:
        for name, sublayer in self.sublayers:
            if context.memory is None and issubclass(sublayer.module, CrossAttention):
                continue
            x = self.residual(x, name, sublayer, context)
            x = constrain(x, "batch", "length", "hidden")
        return x, None  # the shape of a step of a scan: carry, no output
