"""T5's block in one stack: the language model and the prefix language model that its paper
compares with the encoder-decoder (Raffel et al. 2020, section 3.2).

As T5 1.0 (t5.py) in all else. Under prefix attention, where a position may look ahead, half of the
position buckets go to each direction; under causal attention all go to the past.

Parameters: V D + L (4 D I + 2 D F + 2 D) + D + 32 H with I = H K. The paper's have as many layers
as one stack of its encoder-decoder: about half the parameters, at the same cost.
"""

import flax.linen as nn

from pretrain_jax.layers.attention import SelfAttention
from pretrain_jax.layers.feed_forward import FeedForward
from pretrain_jax.layers.makers import maker
from pretrain_jax.layers.outputs import Scaled
from pretrain_jax.layers.stacks import Execution, SingleStack
from pretrain_jax.models import t5

ATTENTION = ("causal", "prefix")
FIELDS = ("prefix", "predict_at")


def build(
    execution: Execution,
    *,
    vocab_size: int,
    layers: int,
    width: int,
    heads: int,
    head_width: int,
    feed_forward: int,
    dropout: float = 0.1,
) -> nn.Module:
    """A T5 block without cross attention, `layers` times."""
    parts = t5.Parts(execution.dtype, width, heads, head_width, dropout)
    feed = parts.feed(FeedForward, nn.relu, feed_forward)
    causal = execution.attention == "causal"
    return SingleStack(
        embedding=parts.embedding(vocab_size),
        positions=(("relative_buckets", parts.buckets(causal)),),
        stack=parts.stack(
            layers, ("attention", parts.attention(SelfAttention)), ("feed_forward", feed)
        ),
        output=maker(Scaled, scale=width**-0.5),
        execution=execution,
    )
