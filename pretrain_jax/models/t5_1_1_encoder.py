"""The encoder of T5 1.1 alone, to finetune it on labels; t5_encoder.py says more.

Layers, initial values and names of parameters are those of t5_1_1.py.

Parameters without heads and output: V D + L (4 D I + 3 D F + 2 D) + D + 32 H with I = H K.
"""

import flax.linen as nn

from pretrain_jax.layers.factories import factory
from pretrain_jax.layers.feed_forward import GatedFeedForward, gelu
from pretrain_jax.layers.initializers import Normal
from pretrain_jax.layers.outputs import Untied
from pretrain_jax.layers.stacks import BuildContext
from pretrain_jax.models import _transformer
from pretrain_jax.models._t5 import T5Layers

ATTENTION = ("full",)
FIELDS = ("predict_at",)
TASK_FORMAT = "t5_encoder"
PART_OF = "t5_1_1"
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
) -> nn.Module:
    """`layers` T5 1.1 blocks, without a decoder."""
    t5 = T5Layers(context.dtype, width, heads, head_width, dropout)
    return t5.encoder(
        context,
        vocab_size=vocab_size,
        layers=layers,
        feed_forward=t5.feed_forward(feed_forward, gelu, GatedFeedForward),
        output=factory(Untied, table_init=Normal(width**-0.5)),
    )
