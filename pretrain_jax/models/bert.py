"""BERT: the post-norm encoder (Devlin et al. 2019, section 3; google-research/bert, modeling.py).

Learned positions, two segment types, a norm over their sum, GELU with the error function (as in the
code at release; since February 2019 it has the tanh approximation), layer norm epsilon 1e-12, every
matrix initialised from a truncated N(0, 0.02^2). The token read-out is a dense map, GELU and a norm
before the embedding table, with a separate bias. Parameters at base size: 109,482,240 with the
pooler, 110,106,428 with both pretraining heads; the objective provides the next-sentence head and
its pooler. SpanBERT (Joshi et al. 2020) is this model with another objective.
"""

import flax.linen as nn

from pretrain_jax.layers.dense import Dense
from pretrain_jax.layers.embeddings import Embedding
from pretrain_jax.layers.factories import factory
from pretrain_jax.layers.feed_forward import exact_gelu
from pretrain_jax.layers.initializers import TruncatedNormal
from pretrain_jax.layers.norms import LayerNorm
from pretrain_jax.layers.outputs import Transformed
from pretrain_jax.layers.stacks import BuildContext, SingleStack
from pretrain_jax.models import _encoder, _transformer

ATTENTION = ("full",)
FIELDS = ("types", "predict_at")
PARTS = {"body": ("embedding", "stack", "next_sentence/pooler")}
"""The parameters that finetuning keeps; BERT and SpanBERT publish their number."""
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
    types: int = 2,
    init_std: float = 0.02,
) -> nn.Module:
    """`layers` post-norm blocks over tokens + positions + `types` segment types.

    dropout: dropout rate of embeddings, attention probabilities and the output of each sub-layer
    """
    norm = factory(LayerNorm, epsilon=1e-12)
    dense = factory(Dense, bias=True, kernel_init=TruncatedNormal(init_std), dtype=context.dtype)
    embedding = factory(
        Embedding,
        vocab_size=vocab_size,
        width=width,
        table_init=TruncatedNormal(init_std),
        max_length=max_length,
        position_init=TruncatedNormal(init_std),
        types=types,
        norm=norm,
        dropout=dropout,
        dtype=context.dtype,
    )
    stack = _encoder.post_norm_stack(layers, width, heads, feed_forward, dropout, dense, norm)
    output = factory(Transformed, dense=dense, activation=exact_gelu, norm=norm)
    return SingleStack(embedding, (), stack, output, context)
