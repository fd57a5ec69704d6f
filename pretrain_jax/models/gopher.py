"""Gopher and Chinchilla: GPT-2's layout with RMSNorm and Transformer-XL's relative positions.

Sources: Rae et al. 2021, section 3.1 and table 1; Hoffmann et al. 2022, section 4.1, tables 4
and A9. The published sizes require Transformer-XL's D x I projection of the relative positions in
every layer. All rows of Chinchilla's table A9 equal, to the printed million,
V D + L (5 D I + 2 D F + 6 D + 5 I): biases on q, k, v, o and both feed-forward maps and the pair
u, v in every layer, without norm gains. This model adds the gains (2 D per layer and D at the end):
70,063,890,432 parameters for chinchilla_70b and 279,714,217,984 for gopher_280b, with the read-out
tied to the embedding.

Neither paper states an initialisation or a dropout. This model uses N(0, 0.02) with GPT-2's
scaled-down residual projections, and no dropout.
"""

import math

import flax.linen as nn

from pretrain_jax.layers.attention import RelativeAttention
from pretrain_jax.layers.block import PreNorm
from pretrain_jax.layers.dense import Dense
from pretrain_jax.layers.embeddings import Embedding
from pretrain_jax.layers.factories import factory
from pretrain_jax.layers.feed_forward import gelu
from pretrain_jax.layers.initializers import Normal
from pretrain_jax.layers.norms import RMSNorm
from pretrain_jax.layers.positions import Distances
from pretrain_jax.layers.stacks import BuildContext, SingleStack
from pretrain_jax.models import _transformer

ATTENTION = ("causal",)
FIELDS = ("predict_at",)
check = _transformer.check_sizes


def build(
    context: BuildContext,
    *,
    vocab_size: int,
    layers: int,
    width: int,
    heads: int,
    head_width: int,
    feed_forward: int,
    init_std: float = 0.02,
) -> nn.Module:
    """`layers` Gopher blocks. Relative positions allow sequences of any length."""
    dtype = context.dtype
    init = Normal(init_std)
    out_init = Normal(init_std / math.sqrt(2 * layers))
    norm = factory(RMSNorm, epsilon=1e-6)
    dense = factory(Dense, bias=True, kernel_init=init, dtype=dtype)
    dense_out = factory(Dense, bias=True, kernel_init=out_init, dtype=dtype)
    stack = _transformer.block_stack(
        layers,
        PreNorm(norm, _transformer.NO_DROPOUT),
        attention=_transformer.attention_layer(
            heads, head_width, dense, module=RelativeAttention, dense_out=dense_out
        ),
        feed_forward=_transformer.feed_forward_layer(
            feed_forward, gelu, dense, dense_out=dense_out
        ),
        final_norm=norm,
    )
    return SingleStack(
        embedding=factory(
            Embedding, vocab_size=vocab_size, width=width, table_init=init, dtype=dtype
        ),
        positions=(("distances", factory(Distances, width=width)),),
        stack=stack,
        output=None,
        build_context=context,
    )
