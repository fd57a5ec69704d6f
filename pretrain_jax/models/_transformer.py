"""Blocks of Transformers, assembled in one place, and the checks of their sizes.

Every Transformer of this folder gets its self-attention, cross attention, feed-forward and residual
connections from here, so that a new option of these (KV heads, experts, adapters) changes one file.
"""

from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax

from pretrain_jax.errors import ConfigError, nearest_divisors
from pretrain_jax.layers.attention import SelfAttention
from pretrain_jax.layers.block import PostNorm, PreNorm
from pretrain_jax.layers.factories import Factory, factory
from pretrain_jax.layers.feed_forward import FeedForward
from pretrain_jax.layers.stacks import Stack

NO_DROPOUT = factory(nn.Dropout, rate=0.0)


def attention_layer(
    heads: int,
    head_width: int,
    dense: Factory,
    *,
    module: type[SelfAttention] = SelfAttention,
    dense_out: Factory | None = None,
    scale: float | None = None,
    dropout: Factory = NO_DROPOUT,
    query_init: Any = None,
    kv_heads: int = 0,
) -> Factory:
    """Returns an attention sub-layer.

    module: SelfAttention, CrossAttention or RelativeAttention. dense: of queries, keys and values.
    dense_out: of the output; None = dense. scale: of the scores; None = 1 / sqrt(head_width).
    dropout: of the probabilities. query_init: of the query kernel; None = that of `dense`.
    kv_heads: heads of keys and values; 0 = heads.
    """
    return factory(
        module,
        heads=heads,
        head_width=head_width,
        scale=head_width**-0.5 if scale is None else scale,
        dense=dense,
        dense_out=dense_out or dense,
        dropout=dropout,
        query_init=query_init,
        kv_heads=kv_heads,
    )


def feed_forward_layer(
    features: int,
    activation: Callable[[jax.Array], jax.Array],
    dense: Factory,
    *,
    module: type[FeedForward] = FeedForward,
    dense_out: Factory | None = None,
    dropout: Factory = NO_DROPOUT,
) -> Factory:
    """Returns a feed-forward sub-layer with `features` hidden features.

    dense: into the features. dense_out: back to the width; None = dense. dropout: of the features.
    """
    return factory(
        module,
        features=features,
        activation=activation,
        dense=dense,
        dense_out=dense_out or dense,
        dropout=dropout,
    )


def block_stack(
    layers: int,
    residual: PreNorm | PostNorm,
    *,
    attention: Factory,
    feed_forward: Factory,
    cross_attention: Factory | None = None,
    final_norm: Factory | None = None,
    ends: Factory = NO_DROPOUT,
) -> Factory:
    """Returns a stack of `layers` blocks: self-attention, cross attention if given, feed-forward.

    ends: dropout of the stack's input and output.
    """
    sublayers = {
        "attention": attention,
        "cross_attention": cross_attention,
        "feed_forward": feed_forward,
    }
    return factory(
        Stack,
        layers=layers,
        sublayers=tuple((name, part) for name, part in sublayers.items() if part is not None),
        residual=residual,
        final_norm=final_norm,
        ends=ends,
    )


def check_sizes(options: Mapping[str, Any], longest: int) -> None:
    """Raises ConfigError unless heads divide the width, key heads divide the heads, and rows fit
    the position table.

    With an option `head_width` other than 0, any number of heads is fine; architectures without an
    option `max_length` accept rows of any length. It is the `check` of models/_base.py.
    """
    width, heads = options["width"], options["heads"]
    if not options.get("head_width") and width % heads:
        near = nearest_divisors(width, heads, 2)
        raise ConfigError(
            f"model.width must be a multiple of model.heads; received width={width}, "
            f"heads={heads}. The nearest numbers of heads are {near[0]} and {near[-1]}"
        )
    kv_heads = options.get("kv_heads") or heads
    if heads % kv_heads:
        near = ", ".join(map(str, nearest_divisors(heads, kv_heads)))
        raise ConfigError(
            f"model.heads must be a multiple of model.kv_heads; received heads={heads}, "
            f"kv_heads={kv_heads}. The nearest values of kv_heads are {near}"
        )
    max_length = options.get("max_length", longest)
    if longest > max_length:
        raise ConfigError(
            f"rows must fit the position table: data.seq_len (and every seq_len in train.phases) "
            f"may be at most model.max_length; received {longest} and {max_length}. "
            f"Set model.max_length={longest} or data.seq_len={max_length}"
        )
