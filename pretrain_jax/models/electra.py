"""ELECTRA: two BERTs, one of which is thrown away (Clark et al. 2020; google-research/electra).

A generator fills in masked tokens, a discriminator says of every token whether it was replaced.
They share the tables of tokens, positions and types and the norm over their sum; where a stack has
another width than these, a dense map leads to it. The generator's read-out is BERT's, to the width
of the tables; the discriminator's is a dense map, GELU and one number. There is no pooler.

                                 small        base          large
    discriminator, with tables   13,549,057   109,483,009   335,142,913
    generator, with tables        4,620,026    33,740,602    51,295,290
    together                     14,196,219   119,386,427   354,655,291

Every matrix starts from a truncated N(0, 0.02^2); the released code leaves the map to a stack's
width and the discriminator's last one to TensorFlow's default (Glorot), which the paper does not
name.
"""

import flax.linen as nn

from pretrain_jax.errors import ConfigError
from pretrain_jax.layers.dense import Dense
from pretrain_jax.layers.embeddings import Embedding
from pretrain_jax.layers.feed_forward import exact_gelu
from pretrain_jax.layers.initializers import TruncatedNormal
from pretrain_jax.layers.makers import maker
from pretrain_jax.layers.norms import LayerNorm
from pretrain_jax.layers.outputs import Transformed
from pretrain_jax.layers.stacks import Execution
from pretrain_jax.layers.two_stacks import GeneratorDiscriminator, Score, Tower
from pretrain_jax.models.bert import post_norm_stack

ATTENTION = ("full",)
FIELDS = ("types", "predict_at")
METHODS = ("generate", "discriminate")
PARTS = {
    "generator": ("embedding", "generator", "generator_output"),
    "discriminator": ("embedding", "discriminator", "discriminator_output"),
}


def build(
    execution: Execution,
    *,
    vocab_size: int,
    layers: int,
    width: int,
    heads: int,
    feed_forward: int,
    max_length: int,
    embedding_width: int = 0,
    generator_fraction: float = 0.25,
    dropout: float = 0.1,
    types: int = 2,
    init_std: float = 0.02,
) -> nn.Module:
    """Sizes are the discriminator's.

    embedding_width: of the shared tables; 0 = width. generator_fraction: width of the generator
    over that of the discriminator; its depth is the same, its heads are 64 wide, its feed-forward
    4 times its width, as in run_pretraining.py.
    """
    dtype = execution.dtype
    init = TruncatedNormal(init_std)
    norm = maker(LayerNorm, epsilon=1e-12)
    dense = maker(Dense, bias=True, kernel_init=init, dtype=dtype)
    embedding = maker(
        Embedding,
        vocab_size=vocab_size,
        width=embedding_width or width,
        table_init=init,
        max_length=max_length,
        position_init=init,
        types=types,
        norm=norm,
        dropout=dropout,
        dtype=dtype,
    )
    narrow, narrow_heads = generator_sizes(width, generator_fraction)
    small = post_norm_stack(layers, narrow, narrow_heads, 4 * narrow, dropout, dense, norm)
    large = post_norm_stack(layers, width, heads, feed_forward, dropout, dense, norm)
    return GeneratorDiscriminator(
        embedding=embedding,
        generator=maker(Tower, width=narrow, dense=dense, stack=small),
        discriminator=maker(Tower, width=width, dense=dense, stack=large),
        output=maker(Transformed, dense=dense, activation=exact_gelu, norm=norm),
        score=maker(Score, dense=dense, activation=exact_gelu),
        execution=execution,
    )


def generator_sizes(width: int, fraction: float) -> tuple[int, int]:
    """Width and heads of the generator.

    >>> generator_sizes(256, 1 / 4), generator_sizes(768, 1 / 3)
    ((64, 1), (256, 4))
    """
    narrow = round(width * fraction)
    heads = max(1, narrow // 64)
    if narrow < 1 or narrow % heads:
        raise ConfigError(
            "model.generator_fraction x model.width must be a width of at least 1 that divides "
            f"into heads of about 64; received {fraction} x {width} = {narrow}; "
            f"{64 * heads / width:.4g} gives {64 * heads}"
        )
    return narrow, heads
