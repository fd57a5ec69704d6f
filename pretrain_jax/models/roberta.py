"""RoBERTa: BERT's block, trained differently (Liu et al. 2019; facebookresearch/fairseq).

The model differs from BERT in: layer norm epsilon 1e-5, N(0, 0.02^2) without truncation, no segment
types, and a position table that starts at row 2 (fairseq numbers positions from its padding id 1
plus 1), so that 512 positions take 514 rows. 124,696,665 parameters at base size with the read-out.
Ports keep BERT's table of segment types with one row of zeros: `types=1` adds it and has
124,697,433 parameters.
"""

import flax.linen as nn

from pretrain_jax.layers.dense import Dense
from pretrain_jax.layers.embeddings import Embedding
from pretrain_jax.layers.factories import factory
from pretrain_jax.layers.feed_forward import exact_gelu
from pretrain_jax.layers.initializers import Normal
from pretrain_jax.layers.norms import LayerNorm
from pretrain_jax.layers.outputs import Transformed
from pretrain_jax.layers.stacks import BuildContext, SingleStack
from pretrain_jax.models import _encoder, _transformer

ATTENTION = ("full",)
FIELDS = ("predict_at",)
TASK_FORMAT = "roberta"
check = _transformer.check_sizes


def build(
    context: BuildContext,
    *,
    vocab_size: int,
    layers: int,
    width: int,
    heads: int,
    feed_forward: int,
    max_length: int,
    dropout: float = 0.1,
    types: int = 0,
    init_std: float = 0.02,
) -> nn.Module:
    """`layers` post-norm blocks over tokens + positions.

    max_length: longest sequence; the position table has 2 rows more, before the first position
    dropout: dropout rate of embeddings, attention probabilities and the output of each sub-layer,
        as in BERT
    """
    init = Normal(init_std)
    norm = factory(LayerNorm, epsilon=1e-5)
    dense = factory(Dense, bias=True, kernel_init=init, dtype=context.dtype)
    embedding = factory(
        Embedding,
        vocab_size=vocab_size,
        width=width,
        table_init=init,
        max_length=max_length,
        first_position=2,
        position_init=init,
        types=types,
        norm=norm,
        dropout=dropout,
        dtype=context.dtype,
    )
    stack = _encoder.post_norm_stack(layers, width, heads, feed_forward, dropout, dense, norm)
    output = factory(Transformed, dense=dense, activation=exact_gelu, norm=norm)
    return SingleStack(embedding, (), stack, output, context)
