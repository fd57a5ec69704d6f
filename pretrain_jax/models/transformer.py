"""The Transformer of 2017, for translation (Vaswani et al. 2017, sections 3 and 5.4, table 3).

Post-norm, sinusoidal positions, ReLU, and one matrix for the source, the target and the output,
multiplied by sqrt(D) at the input. As in the released code (tensor2tensor, transformer_base_v1),
attention and the output have no biases; the embedding is initialised from N(0, 1 / D), every other
matrix from a uniform distribution with variance 2 / (inputs + outputs).

Parameters: V D + L (12 D^2 + 4 D F + 2 F + 12 D): 63,045,632 for transformer_base with V = 37,000.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

import flax.linen as nn

from pretrain_jax.errors import ConfigError
from pretrain_jax.layers.attention import CrossAttention
from pretrain_jax.layers.block import PostNorm
from pretrain_jax.layers.dense import Dense
from pretrain_jax.layers.embeddings import Embedding
from pretrain_jax.layers.encoder_decoder import EncoderDecoder
from pretrain_jax.layers.factories import Factory, factory
from pretrain_jax.layers.initializers import Normal, Uniform
from pretrain_jax.layers.norms import LayerNorm
from pretrain_jax.layers.stacks import BuildContext
from pretrain_jax.models import _transformer

ATTENTION = ("causal",)
FIELDS = ("memory_tokens", "memory_segments", "memory_positions", "predict_at")
REQUIRED_FIELDS = ("memory_tokens",)


def check(options: Mapping[str, Any], longest: int) -> None:
    """Checks sizes as in every Transformer; sinusoidal positions also need an even width."""
    _transformer.check_sizes(options, longest)
    if options["width"] % 2:
        raise ConfigError(
            f"sinusoidal positions need an even model.width; received {options['width']}. "
            f"Set model.width={options['width'] + 1}"
        )


def build(
    context: BuildContext,
    *,
    vocab_size: int,
    layers: int,
    width: int,
    heads: int,
    feed_forward: int,
    dropout: float = 0.1,
) -> nn.Module:
    """`layers` blocks in each stack.

    dropout: dropout rate of each sub-layer's output and of the sum of embedding and position
        (section 5.4): 0.1, and 0.3 in the big model for English-German
    """
    dtype = context.dtype
    drop = factory(nn.Dropout, rate=dropout)

    def dense(outputs: int, bias: bool) -> Factory:
        init = Uniform((2 / (width + outputs)) ** 0.5)
        return factory(Dense, bias=bias, kernel_init=init, dtype=dtype)

    project, head_width = dense(width, bias=False), width // heads
    cross = _transformer.attention_layer(heads, head_width, project, module=CrossAttention)
    stack = partial(
        _transformer.block_stack,
        layers,
        PostNorm(factory(LayerNorm, epsilon=1e-6), drop),
        attention=_transformer.attention_layer(heads, head_width, project),
        feed_forward=_transformer.feed_forward_layer(
            feed_forward, nn.relu, dense(feed_forward, bias=True)
        ),
    )
    return EncoderDecoder(
        embedding=factory(
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
        encoder=stack(),
        decoder=stack(cross_attention=cross),
        output=None,
        build_context=context,
    )
