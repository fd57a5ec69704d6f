"""LaMDA: a decoder with T5's relative buckets and gated GELU (Thoppilan et al. 2022, section 3).

The paper states no norm, tying, biases or initialisation. This model follows T5 1.1: RMSNorm with
gains, no biases, one table of position biases per stack; its read-out is tied to the embedding.
Parameters without the embedding: L (4 D I + 3 D F + 2 D) + D + 32 H = 137,440,014,336 for
lamda_137b; 137,702,158,336 with it.
"""

import flax.linen as nn

from pretrain_jax.layers.block import PreNorm
from pretrain_jax.layers.dense import Dense
from pretrain_jax.layers.embeddings import Embedding
from pretrain_jax.layers.factories import factory
from pretrain_jax.layers.feed_forward import GatedFeedForward, gelu
from pretrain_jax.layers.initializers import Normal
from pretrain_jax.layers.norms import RMSNorm
from pretrain_jax.layers.positions import RelativeBuckets
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
    """`layers` LaMDA blocks. Relative positions allow sequences of any length."""
    dtype = context.dtype
    init = Normal(init_std)
    norm = factory(RMSNorm, epsilon=1e-6)
    dense = factory(Dense, bias=False, kernel_init=init, dtype=dtype)
    stack = _transformer.block_stack(
        layers,
        PreNorm(norm, _transformer.NO_DROPOUT),
        attention=_transformer.attention_layer(heads, head_width, dense),
        feed_forward=_transformer.feed_forward_layer(
            feed_forward, gelu, dense, module=GatedFeedForward
        ),
        final_norm=norm,
    )
    buckets = factory(RelativeBuckets, heads=heads, causal=True, table_init=init)
    return SingleStack(
        embedding=factory(
            Embedding, vocab_size=vocab_size, width=width, table_init=init, dtype=dtype
        ),
        positions=(("relative_buckets", buckets),),
        stack=stack,
        output=None,
        build_context=context,
    )
