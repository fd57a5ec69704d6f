"""GPT-1: the post-norm decoder (Radford et al. 2018, section 4.1; openai/finetune-transformer-lm).

Learned positions, GELU in its tanh form, layer norm epsilon 1e-5, a read-out tied to the
embedding, no final norm: 116,534,784 parameters at the published size.
"""

import flax.linen as nn

from pretrain_jax.layers.attention import SelfAttention
from pretrain_jax.layers.block import PostNorm
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
    dropout: float = 0.1,
    init_std: float = 0.02,
) -> nn.Module:
    """A post-norm block, `layers` times; every matrix and the positions start from N(0, 0.02)."""
    dtype = execution.dtype
    head_width = width // heads
    init = Normal(init_std)
    drop = maker(nn.Dropout, rate=dropout)
    dense = maker(Dense, bias=True, kernel_init=init, dtype=dtype)
    attention = maker(
        SelfAttention,
        heads=heads,
        head_width=head_width,
        scale=head_width**-0.5,
        dense=dense,
        dense_out=dense,
        dropout=drop,
    )
    feed = maker(FeedForward, features=feed_forward, activation=gelu, dense=dense, dense_out=dense)
    embedding = maker(
        Embedding,
        vocab_size=vocab_size,
        width=width,
        table_init=init,
        max_length=max_length,
        position_init=init,
        dropout=dropout,
        dtype=dtype,
    )
    stack = maker(
        Stack,
        layers=layers,
        sublayers=(("attention", attention), ("feed_forward", feed)),
        residual=PostNorm(maker(LayerNorm, epsilon=1e-5), drop),
        final_norm=None,
    )
    return SingleStack(embedding, (), stack, None, execution)
