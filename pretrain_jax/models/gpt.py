"""GPT-2 and GPT-3: the pre-norm decoder with learned positions and a tied output projection.

Sources: GPT-2, Radford et al. 2019, section 2.3, and openai/gpt-2 src/model.py; GPT-3, Brown et
al. 2020, section 2.1. Jurassic-1 and MT-NLG use the same block.

Parameters: V D + T D + L (4 D I + 2 D F + 9 D + F + ...), which for F = 4 D and I = D is
V D + T D + L (12 D^2 + 13 D) + 2 D: 124,439,808 for gpt2_small.
"""

import math

import flax.linen as nn

from pretrain_jax.layers.block import PreNorm
from pretrain_jax.layers.dense import Dense
from pretrain_jax.layers.embeddings import Embedding
from pretrain_jax.layers.factories import factory
from pretrain_jax.layers.feed_forward import gelu
from pretrain_jax.layers.initializers import Normal
from pretrain_jax.layers.norms import LayerNorm
from pretrain_jax.layers.stacks import BuildContext, SingleStack
from pretrain_jax.models import _transformer

ATTENTION = ("causal", "prefix")
FIELDS = ("prefix", "predict_at")
check = _transformer.check_sizes


def build(
    context: BuildContext,
    *,
    vocab_size: int,
    layers: int,
    width: int,
    heads: int,
    feed_forward: int,
    max_length: int,
    dropout: float = 0.0,
    bias: bool = True,
    init_std: float = 0.02,
    position_std: float = 0.01,
) -> nn.Module:
    """`layers` GPT-2 blocks.

    init_std: standard deviation of initial weights: 0.02 for all matrices, as in GPT-2's released
        code; the two projections back to the residual stream are multiplied by 1/sqrt(2 layers),
        the paper's 1/sqrt(N) with N residual layers
    position_std: standard deviation of initial positions: 0.01, as released
    bias: whether linear maps and norms have biases; the published models do, nanoGPT's own runs do
        not
    """
    dtype = context.dtype
    init = Normal(init_std)
    out_init = Normal(init_std / math.sqrt(2 * layers))
    drop = factory(nn.Dropout, rate=dropout)
    norm = factory(LayerNorm, epsilon=1e-5, bias=bias)
    dense = factory(Dense, bias=bias, kernel_init=init, dtype=dtype)
    dense_out = factory(Dense, bias=bias, kernel_init=out_init, dtype=dtype)
    embedding = factory(
        Embedding,
        vocab_size=vocab_size,
        width=width,
        table_init=init,
        max_length=max_length,
        position_init=Normal(position_std),
        dropout=dropout,
        dtype=dtype,
    )
    stack = _transformer.block_stack(
        layers,
        PreNorm(norm, drop),
        attention=_transformer.attention_layer(
            heads, width // heads, dense, dense_out=dense_out, dropout=drop
        ),
        feed_forward=_transformer.feed_forward_layer(
            feed_forward, gelu, dense, dense_out=dense_out
        ),
        final_norm=norm,
    )
    return SingleStack(embedding, (), stack, None, context)
