"""GPT-2 and GPT-3: the pre-norm decoder with learned positions and a tied read-out.

Sources: GPT-2, Radford et al. 2019, section 2.3, and openai/gpt-2 src/model.py; GPT-3, Brown et
al. 2020, section 2.1. Jurassic-1 and MT-NLG have the same block.

Parameters: V D + T D + L (4 D I + 2 D F + 9 D + F + ...), which for F = 4 D and I = D is
V D + T D + L (12 D^2 + 13 D) + 2 D: 124,439,808 for gpt2_small.
"""

import math

import flax.linen as nn

from pretrain_jax.layers.attention import SelfAttention
from pretrain_jax.layers.block import PreNorm
from pretrain_jax.layers.dense import Dense
from pretrain_jax.layers.embeddings import Embedding
from pretrain_jax.layers.feed_forward import FeedForward, gelu
from pretrain_jax.layers.initializers import Normal
from pretrain_jax.layers.makers import maker
from pretrain_jax.layers.norms import LayerNorm
from pretrain_jax.layers.stacks import Execution, SingleStack, Stack

ATTENTION = ("causal", "prefix")
FIELDS = ("prefix", "predict_at")


def build(
    execution: Execution,
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
    """A GPT-2 block, `layers` times.

    init_std: N(0, 0.02) for all matrices (GPT-2's released code); the two projections back into
    the residual stream are scaled down by 1/sqrt(2 layers), the paper's 1/sqrt(N) with N residual
    layers. position_std: N(0, 0.01), as released. bias=False leaves the biases of linear maps and
    norms out, as nanoGPT's own runs do; the published models have them.
    """
    dtype = execution.dtype
    head_width = width // heads
    init = Normal(init_std)
    out_init = Normal(init_std / math.sqrt(2 * layers))
    drop = maker(nn.Dropout, rate=dropout)
    norm = maker(LayerNorm, epsilon=1e-5, bias=bias)
    dense = maker(Dense, bias=bias, kernel_init=init, dtype=dtype)
    dense_out = maker(Dense, bias=bias, kernel_init=out_init, dtype=dtype)
    attention = maker(
        SelfAttention,
        heads=heads,
        head_width=head_width,
        scale=head_width**-0.5,
        dense=dense,
        dense_out=dense_out,
        dropout=drop,
    )
    feed = maker(
        FeedForward, features=feed_forward, activation=gelu, dense=dense, dense_out=dense_out
    )
    embedding = maker(
        Embedding,
        vocab_size=vocab_size,
        width=width,
        table_init=init,
        max_length=max_length,
        position_init=Normal(position_std),
        dropout=dropout,
        dtype=dtype,
    )
    stack = maker(
        Stack,
        layers=layers,
        sublayers=(("attention", attention), ("feed_forward", feed)),
        residual=PreNorm(norm, drop),
        final_norm=norm,
    )
    return SingleStack(embedding, (), stack, None, execution)
