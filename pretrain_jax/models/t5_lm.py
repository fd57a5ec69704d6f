"""T5's block in one stack: the language model and the prefix language model that T5's paper
compares with the encoder-decoder (Raffel et al. 2020, section 3.2).

The rest is T5 1.0 (t5.py). Under prefix attention, where a position may attend to later ones, each
direction has half of the position buckets; under causal attention the past has all of them.

Parameters: V D + L (4 D I + 2 D F + 2 D) + D + 32 H with I = H K. The paper's models have as many
layers as one stack of its encoder-decoder: about half the parameters, at the same cost.
"""

import flax.linen as nn

from pretrain_jax.layers.factories import factory
from pretrain_jax.layers.outputs import Scaled
from pretrain_jax.layers.stacks import BuildContext, SingleStack
from pretrain_jax.models import _transformer
from pretrain_jax.models._t5 import T5Layers

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
    head_width: int,
    feed_forward: int,
    dropout: float = 0.1,
) -> nn.Module:
    """`layers` T5 blocks without cross attention."""
    t5 = T5Layers(context.dtype, width, heads, head_width, dropout)
    causal = context.attention == "causal"
    return SingleStack(
        embedding=t5.embedding(vocab_size),
        positions=(("relative_buckets", t5.buckets(causal)),),
        stack=t5.stack(layers, t5.feed_forward(feed_forward, nn.relu)),
        output=factory(Scaled, scale=width**-0.5),
        build_context=context,
    )
