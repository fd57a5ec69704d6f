"""Gopher and Chinchilla: GPT-2's layout with RMSNorm and Transformer-XL's relative positions.

Sources: Rae et al. 2021, section 3.1 and table 1; Hoffmann et al. 2022, section 4.1, tables 4
and A9. The published sizes come out only with Transformer-XL's own D x I projection of the
relative positions in every layer. All rows of Chinchilla's table A9 equal, to the printed
million, V D + L (5 D I + 2 D F + 6 D + 5 I): biases on q, k, v, o and both feed-forward maps and
the pair u, v in every layer, norm gains left out. This model is that plus the gains (2 D a
layer, D at the end): 70,063,890,432 for chinchilla_70b and 279,714,217,984 for gopher_280b, with
the read-out tied to the embedding.

Neither paper states an initialisation or a dropout: N(0, 0.02) with GPT-2's scaled-down residual
projections stands here, and no dropout.
"""

import math

import flax.linen as nn

from pretrain_jax.layers.attention import RelativeAttention
from pretrain_jax.layers.block import PreNorm
from pretrain_jax.layers.dense import Dense
from pretrain_jax.layers.embeddings import Embedding
from pretrain_jax.layers.feed_forward import FeedForward, gelu
from pretrain_jax.layers.initializers import Normal
from pretrain_jax.layers.makers import maker
from pretrain_jax.layers.norms import RMSNorm
from pretrain_jax.layers.positions import Distances
from pretrain_jax.layers.stacks import Execution, SingleStack, Stack

ATTENTION = ("causal",)
FIELDS = ("predict_at",)


def build(
    execution: Execution,
    *,
    vocab_size: int,
    layers: int,
    width: int,
    heads: int,
    head_width: int,
    feed_forward: int,
    init_std: float = 0.02,
) -> nn.Module:
    """A Gopher block, `layers` times. Relative positions set no limit to the sequence length."""
    dtype = execution.dtype
    init = Normal(init_std)
    out_init = Normal(init_std / math.sqrt(2 * layers))
    no_drop = maker(nn.Dropout, rate=0.0)
    norm = maker(RMSNorm, epsilon=1e-6)
    dense = maker(Dense, bias=True, kernel_init=init, dtype=dtype)
    dense_out = maker(Dense, bias=True, kernel_init=out_init, dtype=dtype)
    attention = maker(
        RelativeAttention,
        heads=heads,
        head_width=head_width,
        scale=head_width**-0.5,
        dense=dense,
        dense_out=dense_out,
        dropout=no_drop,
    )
    feed = maker(
        FeedForward, features=feed_forward, activation=gelu, dense=dense, dense_out=dense_out
    )
    stack = maker(
        Stack,
        layers=layers,
        sublayers=(("attention", attention), ("feed_forward", feed)),
        residual=PreNorm(norm, no_drop),
        final_norm=norm,
    )
    return SingleStack(
        embedding=maker(
            Embedding, vocab_size=vocab_size, width=width, table_init=init, dtype=dtype
        ),
        positions=(("distances", maker(Distances, width=width)),),
        stack=stack,
        output=None,
        execution=execution,
    )
