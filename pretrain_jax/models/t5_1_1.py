"""T5 1.1: gated GELU, a separate output matrix, no dropout in pretraining (Shazeer 2020).

The rest is T5 1.0 (t5.py). Sources: google-research/text-to-text-transfer-transformer
released_checkpoints.md and google-research/t5x examples/t5/t5_1_1.

Parameters: 2 V D + L (12 D I + 6 D F + 5 D) + 2 D + 64 H with I = H K: 76,961,152 for
t5_1_1_small, of which 56 D are the rows that pad the 32,100 tokens to V = 32,128.
"""

import flax.linen as nn

from pretrain_jax.layers.factories import factory
from pretrain_jax.layers.feed_forward import GatedFeedForward, gelu
from pretrain_jax.layers.initializers import Normal
from pretrain_jax.layers.outputs import Untied
from pretrain_jax.layers.stacks import BuildContext
from pretrain_jax.models import _transformer
from pretrain_jax.models._t5 import T5Layers

ATTENTION = ("causal",)
FIELDS = ("memory_tokens", "memory_segments", "memory_positions", "predict_at")
REQUIRED_FIELDS = ("memory_tokens",)
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
    dropout: float = 0.0,
    shared: bool = False,
) -> nn.Module:
    """`layers` T5 1.1 blocks in each stack; `shared` as in T5 1.0.

    The output matrix is initialised from N(0, 1 / D), as every kernel.
    """
    t5 = T5Layers(context.dtype, width, heads, head_width, dropout)
    return t5.encoder_decoder(
        context,
        vocab_size=vocab_size,
        layers=layers,
        feed_forward=t5.feed_forward(feed_forward, gelu, GatedFeedForward),
        output=factory(Untied, table_init=Normal(width**-0.5)),
        shared=shared,
    )
