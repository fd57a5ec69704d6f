"""BERT: the post-norm encoder (Devlin et al. 2019, section 3; google-research/bert, modeling.py).

Learned positions, two segment types, a norm over their sum, GELU with the error function (the
code's form at release; it turned to the tanh form in February 2019), layer norm epsilon 1e-12,
every matrix from a truncated N(0, 0.02^2). The token read-out is a dense map, GELU and a norm
before the embedding table, with a bias of its own. 109,482,240 parameters at base size with the
pooler, 110,106,428 with both pretraining heads; the next-sentence head, and the pooler in it, come
from the objective. SpanBERT (Joshi et al. 2020) is this model under another objective.
"""

import flax.linen as nn

from pretrain_jax.layers.attention import SelfAttention
from pretrain_jax.layers.block import PostNorm
from pretrain_jax.layers.dense import Dense
from pretrain_jax.layers.embeddings import Embedding
from pretrain_jax.layers.feed_forward import FeedForward, exact_gelu
from pretrain_jax.layers.initializers import TruncatedNormal
from pretrain_jax.layers.makers import Maker, maker
from pretrain_jax.layers.norms import LayerNorm
from pretrain_jax.layers.outputs import Transformed
from pretrain_jax.layers.stacks import Execution, SingleStack, Stack

ATTENTION = ("full",)
FIELDS = ("types", "predict_at")
PARTS = {"body": ("embedding", "stack", "next_sentence/pooler")}
"""What finetuning keeps; the published sizes of BERT and SpanBERT are its."""


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
    types: int = 2,
    init_std: float = 0.02,
) -> nn.Module:
    """A post-norm block, `layers` times, over tokens + positions + `types` segment types.

    dropout: of embeddings, attention probabilities, and what each sub-layer adds.
    """
    norm = maker(LayerNorm, epsilon=1e-12)
    dense = maker(Dense, bias=True, kernel_init=TruncatedNormal(init_std), dtype=execution.dtype)
    embedding = maker(
        Embedding,
        vocab_size=vocab_size,
        width=width,
        table_init=TruncatedNormal(init_std),
        max_length=max_length,
        position_init=TruncatedNormal(init_std),
        types=types,
        norm=norm,
        dropout=dropout,
        dtype=execution.dtype,
    )
    stack = post_norm_stack(layers, width, heads, feed_forward, dropout, dense, norm)
    output = maker(Transformed, dense=dense, activation=exact_gelu, norm=norm)
    return SingleStack(embedding, (), stack, output, execution)


def post_norm_stack(
    layers: int,
    width: int,
    heads: int,
    feed_forward: int,
    dropout: float,
    dense: Maker,
    norm: Maker,
) -> Maker:
    """The stack of BERT, RoBERTa and ELECTRA: biases everywhere, no final norm."""
    drop = maker(nn.Dropout, rate=dropout)
    head_width = width // heads
    attention = maker(
        SelfAttention,
        heads=heads,
        head_width=head_width,
        scale=head_width**-0.5,
        dense=dense,
        dense_out=dense,
        dropout=drop,
    )
    feed = maker(
        FeedForward, features=feed_forward, activation=exact_gelu, dense=dense, dense_out=dense
    )
    return maker(
        Stack,
        layers=layers,
        sublayers=(("attention", attention), ("feed_forward", feed)),
        residual=PostNorm(norm, drop),
        final_norm=None,
    )
