"""RoBERTa: BERT's block, differently trained (Liu et al. 2019; facebookresearch/fairseq).

What differs from BERT in the model: layer norm epsilon 1e-5, plain N(0, 0.02^2) instead of a
truncated one, no segment types, and a position table that starts at row 2 (fairseq numbers
positions from its padding id, 1, on), so that 512 positions are 514 rows. 124,696,665 parameters
at base size with the read-out. Ports keep BERT's table of segment types with one row of zeros:
`types=1` has it, and 124,697,433.
"""

import flax.linen as nn

from pretrain_jax.layers.dense import Dense
from pretrain_jax.layers.embeddings import Embedding
from pretrain_jax.layers.feed_forward import exact_gelu
from pretrain_jax.layers.initializers import Normal
from pretrain_jax.layers.makers import maker
from pretrain_jax.layers.norms import LayerNorm
from pretrain_jax.layers.outputs import Transformed
from pretrain_jax.layers.stacks import Execution, SingleStack
from pretrain_jax.models.bert import post_norm_stack

ATTENTION = ("full",)
FIELDS = ("predict_at",)


def build(
    execution: Execution,
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
    """A post-norm block, `layers` times, over tokens + positions.

    max_length: positions, without the 2 rows before them. dropout: as in BERT, everywhere.
    """
    init = Normal(init_std)
    norm = maker(LayerNorm, epsilon=1e-5)
    dense = maker(Dense, bias=True, kernel_init=init, dtype=execution.dtype)
    embedding = maker(
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
        dtype=execution.dtype,
    )
    stack = post_norm_stack(layers, width, heads, feed_forward, dropout, dense, norm)
    output = maker(Transformed, dense=dense, activation=exact_gelu, norm=norm)
    return SingleStack(embedding, (), stack, output, execution)
