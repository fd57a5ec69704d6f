"""T5 1.0, the released encoder-decoders (Raffel et al. 2020, section 2.1).

Pre-norm with gains only (RMSNorm) and a final norm in each stack, no biases, ReLU, relative
position buckets with one table per stack and none in cross attention, scores without the division
by sqrt(K), and the embedding as the output, with hidden states multiplied by D^-0.5. Initial values
and dropout follow google-research/t5x, examples/t5.

Parameters: V D + L (12 D I + 4 D F + 5 D) + 2 D + 64 H with I = H K: 60,506,624 for t5_small, of
which 28 D are the rows that pad the 32,100 tokens to V = 32,128. With `shared`, the paper's shared
encoder-decoder: V D + L (8 D I + 2 D F + 3 D) + D + 64 H.
"""

import flax.linen as nn

from pretrain_jax.layers.factories import factory
from pretrain_jax.layers.outputs import Scaled
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
    dropout: float = 0.1,
    shared: bool = False,
) -> nn.Module:
    """`layers` T5 blocks in each stack.

    shared: whether encoder and decoder share their parameters, except cross-attention and the
        tables of relative positions (section 3.2.2)
    dropout: dropout rate: 0.1, also in pretraining (section 3.1.2)
    """
    t5 = T5Layers(context.dtype, width, heads, head_width, dropout)
    return t5.encoder_decoder(
        context,
        vocab_size=vocab_size,
        layers=layers,
        feed_forward=t5.feed_forward(feed_forward, nn.relu),
        output=factory(Scaled, scale=width**-0.5),
        shared=shared,
    )
