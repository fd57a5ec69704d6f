"""The Transformer of 2017, for translation (Vaswani et al. 2017, sections 3 and 5.4, table 3).

Post-norm, sines and cosines for positions, ReLU, and one matrix for the source, the target and the
output, times sqrt(D) at the input. As in the released code (tensor2tensor, transformer_base_v1):
no biases in attention and none of the output, and first values that are uniform, with
variance 2 / (inputs + outputs), but N(0, 1 / D) for the embedding.

Parameters: V D + L (12 D^2 + 4 D F + 2 F + 12 D): 63,045,632 for transformer_base with V = 37,000.
"""

import flax.linen as nn

from pretrain_jax.errors import ConfigError
from pretrain_jax.layers.attention import CrossAttention, SelfAttention
from pretrain_jax.layers.block import PostNorm
from pretrain_jax.layers.dense import Dense
from pretrain_jax.layers.embeddings import Embedding
from pretrain_jax.layers.encoder_decoder import EncoderDecoder
from pretrain_jax.layers.feed_forward import FeedForward
from pretrain_jax.layers.initializers import Normal, Uniform
from pretrain_jax.layers.makers import Maker, maker
from pretrain_jax.layers.norms import LayerNorm
from pretrain_jax.layers.stacks import Execution, Stack

ATTENTION = ("causal",)
FIELDS = ("memory_tokens", "memory_segments", "memory_positions", "predict_at")
NEEDS = ("memory_tokens",)


def build(
    execution: Execution,
    *,
    vocab_size: int,
    layers: int,
    width: int,
    heads: int,
    feed_forward: int,
    dropout: float = 0.1,
) -> nn.Module:
    """`layers` blocks in each stack.

    dropout acts on each sub-layer's output and on the sum of embedding and position (section 5.4):
    0.1, and 0.3 in the big model for English-German.
    """
    if width % 2:
        raise ConfigError(f"sines and cosines want an even model.width; received {width}")
    dtype = execution.dtype
    drop = maker(nn.Dropout, rate=dropout)

    def dense(outputs: int, bias: bool) -> Maker:
        init = Uniform((2 / (width + outputs)) ** 0.5)
        return maker(Dense, bias=bias, kernel_init=init, dtype=dtype)

    def attention(module: type[SelfAttention]) -> Maker:
        return maker(
            module,
            heads=heads,
            head_width=width // heads,
            scale=(width // heads) ** -0.5,
            dense=dense(width, bias=False),
            dense_out=dense(width, bias=False),
            dropout=maker(nn.Dropout, rate=0.0),
        )

    def stack(*sublayers: tuple[str, Maker]) -> Maker:
        return maker(
            Stack,
            layers=layers,
            sublayers=sublayers,
            residual=PostNorm(maker(LayerNorm, epsilon=1e-6), drop),
            final_norm=None,
        )

    maps = dense(feed_forward, bias=True)
    feed = maker(FeedForward, features=feed_forward, activation=nn.relu, dense=maps, dense_out=maps)
    attend, feed = ("attention", attention(SelfAttention)), ("feed_forward", feed)
    return EncoderDecoder(
        embedding=maker(
            Embedding,
            vocab_size=vocab_size,
            width=width,
            table_init=Normal(width**-0.5),
            scale=width**0.5,
            sinusoidal=True,
            dropout=dropout,
            dtype=dtype,
        ),
        encoder_positions=(),
        decoder_positions=(),
        encoder=stack(attend, feed),
        decoder=stack(attend, ("cross_attention", attention(CrossAttention)), feed),
        output=None,
        execution=execution,
    )
