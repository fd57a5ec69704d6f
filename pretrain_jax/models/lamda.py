"""LaMDA: a decoder with T5's relative buckets and gated GELU (Thoppilan et al. 2022, section 3).

The paper names no norm, no tying, no biases and no initialisation; as in T5 1.1: RMSNorm with
gains, no biases, one bias table for the stack; the read-out is tied to the embedding. Parameters
without the embedding: L (4 D I + 3 D F + 2 D) + D + 32 H = 137,440,014,336 for lamda_137b, and
137,702,158,336 with it.
"""

import flax.linen as nn

from pretrain_jax.layers.attention import SelfAttention
from pretrain_jax.layers.block import PreNorm
from pretrain_jax.layers.dense import Dense
from pretrain_jax.layers.embeddings import Embedding
from pretrain_jax.layers.feed_forward import GatedFeedForward, gelu
from pretrain_jax.layers.initializers import Normal
from pretrain_jax.layers.makers import maker
from pretrain_jax.layers.norms import RMSNorm
from pretrain_jax.layers.positions import RelativeBuckets
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
    """A LaMDA block, `layers` times. Relative positions set no limit to the sequence length."""
    dtype = execution.dtype
    init = Normal(init_std)
    no_drop = maker(nn.Dropout, rate=0.0)
    norm = maker(RMSNorm, epsilon=1e-6)
    dense = maker(Dense, bias=False, kernel_init=init, dtype=dtype)
    attention = maker(
        SelfAttention,
        heads=heads,
        head_width=head_width,
        scale=head_width**-0.5,
        dense=dense,
        dense_out=dense,
        dropout=no_drop,
    )
    feed = maker(
        GatedFeedForward, features=feed_forward, activation=gelu, dense=dense, dense_out=dense
    )
    stack = maker(
        Stack,
        layers=layers,
        sublayers=(("attention", attention), ("feed_forward", feed)),
        residual=PreNorm(norm, no_drop),
        final_norm=norm,
    )
    buckets = maker(RelativeBuckets, heads=heads, causal=True, table_init=init)
    return SingleStack(
        embedding=maker(
            Embedding, vocab_size=vocab_size, width=width, table_init=init, dtype=dtype
        ),
        positions=(("relative_buckets", buckets),),
        stack=stack,
        output=None,
        execution=execution,
    )
