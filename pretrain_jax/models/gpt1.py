"""GPT-1: the post-norm decoder (Radford et al. 2018, section 4.1; openai/finetune-transformer-lm).

Learned positions, the tanh approximation of GELU, layer norm epsilon 1e-5, a read-out tied to the
embedding, no final norm: 116,534,784 parameters at the published size.
"""

import flax.linen as nn

from pretrain_jax.layers.block import PostNorm
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
    dropout: float = 0.1,
    init_std: float = 0.02,
) -> nn.Module:
    """`layers` post-norm blocks; N(0, 0.02) initialises every matrix and the positions."""
    dtype = context.dtype
    init = Normal(init_std)
    drop = factory(nn.Dropout, rate=dropout)
    dense = factory(Dense, bias=True, kernel_init=init, dtype=dtype)
    embedding = factory(
        Embedding,
        vocab_size=vocab_size,
        width=width,
        table_init=init,
        max_length=max_length,
        position_init=init,
        dropout=dropout,
        dtype=dtype,
    )
    stack = _transformer.block_stack(
        layers,
        PostNorm(factory(LayerNorm, epsilon=1e-5), drop),
        attention=_transformer.attention_layer(heads, width // heads, dense, dropout=drop),
        feed_forward=_transformer.feed_forward_layer(feed_forward, gelu, dense),
    )
    return SingleStack(embedding, (), stack, None, context)
