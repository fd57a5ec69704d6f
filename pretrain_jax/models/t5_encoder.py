"""The encoder of T5 1.0 alone, to finetune it on labels: classes, tags, answers.

Layers, initial values and names of parameters are those of t5.py, so a run of this model starts
from a run of `t5` (init_from) and leaves the decoder behind. T5's paper has no such model;
transformers has it as T5EncoderModel and T5ForTokenClassification.

Parameters without heads: V D + L (4 D I + 2 D F + 2 D) + D + 32 H with I = H K.
"""

import flax.linen as nn

from pretrain_jax.layers.factories import factory
from pretrain_jax.layers.outputs import Scaled
from pretrain_jax.layers.stacks import BuildContext
from pretrain_jax.models import _transformer
from pretrain_jax.models._t5 import T5Layers

ATTENTION = ("full",)
FIELDS = ("predict_at",)
TASK_FORMAT = "t5_encoder"
PART_OF = "t5"
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
    dropout: float = 0.1,
) -> nn.Module:
    """`layers` T5 blocks, without a decoder."""
    t5 = T5Layers(context.dtype, width, heads, head_width, dropout)
    return t5.encoder(
        context,
        vocab_size=vocab_size,
        layers=layers,
        feed_forward=t5.feed_forward(feed_forward, nn.relu),
        output=factory(Scaled, scale=width**-0.5),
    )
