"""LLaMA 1 to 3: RMSNorm, rotary positions, SwiGLU, no biases.

Sources: LLaMA, Touvron et al. 2023, section 2.2 and table 2, and the first version of
meta-llama/llama; LLaMA 2, Touvron et al. 2023b, section 2.2; LLaMA 3, Grattafiori et al. 2024,
section 3.2 and table 3.

Parameters: 2 V D + L (2 D H K + 2 D G K + 3 D F + 2 D) + D with G key heads, and V D fewer if the
output is tied: 6,738,415,616 for llama_7b (G = H) and 8,030,261,248 for llama3_8b (G = H / 4).

The papers do not state an initialisation; N(0, 0.02) is that of Hugging Face's port.
"""

from collections.abc import Mapping
from typing import Annotated, Any

import flax.linen as nn

from pretrain_jax.errors import ConfigError
from pretrain_jax.layers import rope_scaling as scalings
from pretrain_jax.layers.block import PreNorm
from pretrain_jax.layers.dense import Dense
from pretrain_jax.layers.embeddings import Embedding
from pretrain_jax.layers.factories import factory
from pretrain_jax.layers.feed_forward import GatedFeedForward
from pretrain_jax.layers.initializers import Normal
from pretrain_jax.layers.norms import RMSNorm
from pretrain_jax.layers.outputs import Untied
from pretrain_jax.layers.positions import Rotary
from pretrain_jax.layers.stacks import BuildContext, SingleStack
from pretrain_jax.models import _transformer
from pretrain_jax.registry import Range

ATTENTION = ("causal", "prefix")
FIELDS = ("prefix", "predict_at")


def check(options: Mapping[str, Any], longest: int) -> None:
    """Raises ConfigError unless the sizes fit one another and heads have an even width."""
    _transformer.check_sizes(options, longest)
    head_width = options["head_width"] or options["width"] // options["heads"]
    if head_width % 2:
        raise ConfigError(
            f"rotary positions rotate pairs, so heads must have an even width; received "
            f"{head_width}. Set model.head_width={head_width + 1}, or change model.heads"
        )


def build(
    context: BuildContext,
    *,
    vocab_size: int,
    layers: int,
    width: int,
    heads: int,
    feed_forward: int,
    kv_heads: int = 0,
    head_width: Annotated[int, Range(0, 2**31 - 1)] = 0,
    tied: bool = False,
    rope_base: float = 10000.0,
    rope_scaling: str = "none",
    rope_factor: float = 1.0,
    rope_low_freq_factor: float = 1.0,
    rope_high_freq_factor: float = 4.0,
    rope_original_length: int = 8192,
    norm_epsilon: float = 1e-6,
    init_std: float = 0.02,
) -> nn.Module:
    """`layers` LLaMA blocks. Rotary positions allow sequences of any length.

    head_width: size of one head's queries, keys and values; 0 = width / heads
    tied: whether the output projection is the embedding table, as in LLaMA 3.2 1B and 3B
    rope_scaling: which pairs of rotary positions turn more slowly, for longer rows than in
        pretraining: "none", "linear" (all), "llama3" (LLaMA 3.1) or "yarn" (those with few turns)
    rope_factor: divisor of their frequencies: the longest row / rope_original_length
    rope_low_freq_factor: "llama3" slows down pairs with at most so many turns in
        rope_original_length tokens
    rope_high_freq_factor: "llama3" keeps pairs with at least so many turns
    rope_original_length: tokens in a row of pretraining, for "llama3" and "yarn"
    """
    dtype = context.dtype
    head_width = head_width or width // heads
    init = Normal(init_std)
    norm = factory(RMSNorm, epsilon=norm_epsilon)
    dense = factory(Dense, bias=False, kernel_init=init, dtype=dtype)
    scaling = scalings.build(
        rope_scaling,
        factor=rope_factor,
        low_freq_factor=rope_low_freq_factor,
        high_freq_factor=rope_high_freq_factor,
        original_length=rope_original_length,
    )
    rotary = factory(Rotary, head_width=head_width, base=rope_base, scaling=scaling)
    stack = _transformer.block_stack(
        layers,
        PreNorm(norm, _transformer.NO_DROPOUT),
        attention=_transformer.attention_layer(heads, head_width, dense, kv_heads=kv_heads),
        feed_forward=_transformer.feed_forward_layer(
            feed_forward, nn.silu, dense, module=GatedFeedForward
        ),
        final_norm=norm,
    )
    return SingleStack(
        embedding=factory(
            Embedding, vocab_size=vocab_size, width=width, table_init=init, dtype=dtype
        ),
        positions=(("rotary", rotary),),
        stack=stack,
        output=None if tied else factory(Untied, table_init=init),
        build_context=context,
    )
