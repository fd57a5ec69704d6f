"""ELECTRA: two BERTs, a generator and a discriminator (Clark et al. 2020; google-research/electra).

The generator fills in masked tokens; the discriminator classifies every token as original or
replaced. Only the discriminator is kept after pretraining. They share the tables of tokens,
positions and types and the norm over their sum; a dense map follows if a stack has another width.
The generator's read-out is BERT's, to the width of the tables; the discriminator's is a dense map,
GELU and one number. There is no pooler.

                                 small        base          large
    discriminator, with tables   13,549,057   109,483,009   335,142,913
    generator, with tables        4,620,026    33,740,602    51,295,290
    together                     14,196,219   119,386,427   354,655,291

Every matrix is initialised from a truncated N(0, 0.02^2). The released code uses TensorFlow's
default (Glorot) for the map to a stack's width and for the discriminator's last map; the paper does
not mention it.
"""

import flax.linen as nn

from pretrain_jax.errors import ConfigError
from pretrain_jax.layers.dense import Dense
from pretrain_jax.layers.embeddings import Embedding
from pretrain_jax.layers.factories import factory
from pretrain_jax.layers.feed_forward import exact_gelu
from pretrain_jax.layers.generator_discriminator import (
    Discriminator,
    GeneratorDiscriminator,
    Score,
    Tower,
)
from pretrain_jax.layers.initializers import TruncatedNormal
from pretrain_jax.layers.norms import LayerNorm
from pretrain_jax.layers.outputs import Transformed
from pretrain_jax.layers.stacks import BuildContext
from pretrain_jax.models import _encoder, _transformer

ATTENTION = ("full",)
FIELDS = ("types", "predict_at")
METHODS = ("generate", "discriminate")
POOLER = exact_gelu
PARTS = {
    "generator": ("embedding", "generator", "generator_output"),
    "discriminator": ("embedding", "discriminator", "discriminator_output"),
}
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
    embedding_width: int = 0,
    generator_fraction: float = 0.25,
    dropout: float = 0.1,
    types: int = 2,
    init_std: float = 0.02,
) -> nn.Module:
    """Sizes are those of the discriminator.

    embedding_width: width of the shared tables; 0 = width
    generator_fraction: the generator's width divided by the discriminator's. The generator has the
        same depth, heads of width 64 and a feed-forward width of 4 times its width, as in
        run_pretraining.py
    """
    dtype = context.dtype
    init = TruncatedNormal(init_std)
    norm = factory(LayerNorm, epsilon=1e-12)
    dense = factory(Dense, bias=True, kernel_init=init, dtype=dtype)
    embedding = factory(
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
    discriminator = _encoder.post_norm_stack(
        layers, width, heads, feed_forward, dropout, dense, norm
    )
    judge = factory(Tower, width=width, dense=dense, stack=discriminator)
    if not context.predicts_tokens:
        return Discriminator(embedding, judge, context)
    generator_width, generator_heads = generator_sizes(width, generator_fraction)
    generator = _encoder.post_norm_stack(
        layers, generator_width, generator_heads, 4 * generator_width, dropout, dense, norm
    )
    return GeneratorDiscriminator(
        embedding=embedding,
        generator=factory(Tower, width=generator_width, dense=dense, stack=generator),
        discriminator=judge,
        output=factory(Transformed, dense=dense, activation=exact_gelu, norm=norm),
        score=factory(Score, dense=dense, activation=exact_gelu),
        build_context=context,
    )


def generator_sizes(width: int, fraction: float) -> tuple[int, int]:
    """Returns the generator's width and number of heads.

    >>> generator_sizes(256, 1 / 4), generator_sizes(768, 1 / 3)
    ((64, 1), (256, 4))
    """
    generator_width = round(width * fraction)
    heads = max(1, generator_width // 64)
    if generator_width < 1 or generator_width % heads:
        raise ConfigError(
            "model.generator_fraction x model.width must be at least 1 and divide into heads of "
            f"about 64; received {fraction} x {width} = {generator_width}. "
            f"Set model.generator_fraction={64 * heads / width:.4g} for a width of {64 * heads}"
        )
    return generator_width, heads
