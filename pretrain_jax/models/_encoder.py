"""The encoder of BERT, RoBERTa and ELECTRA."""

import flax.linen as nn

from pretrain_jax.layers.block import PostNorm
from pretrain_jax.layers.factories import Factory, factory
from pretrain_jax.layers.feed_forward import exact_gelu
from pretrain_jax.models import _transformer


def post_norm_stack(
    layers: int,
    width: int,
    heads: int,
    feed_forward: int,
    dropout: float,
    dense: Factory,
    norm: Factory,
) -> Factory:
    """Returns BERT's stack: biases in every linear map, no final norm."""
    drop = factory(nn.Dropout, rate=dropout)
    return _transformer.block_stack(
        layers,
        PostNorm(norm, drop),
        attention=_transformer.attention_layer(heads, width // heads, dense, dropout=drop),
        feed_forward=_transformer.feed_forward_layer(feed_forward, exact_gelu, dense),
    )
