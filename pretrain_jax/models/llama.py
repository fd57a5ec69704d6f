"""LLaMA: RMSNorm, rotary positions, SwiGLU, no biases, a separate output projection.

Source: Touvron et al. 2023, section 2.2 and table 2; the first version of meta-llama/llama.
Parameters: 2 V D + L (4 D^2 + 3 D F + 2 D) + D: 6,738,415,616 for llama_7b. F is 2/3 x 4 D
rounded up to a multiple of 256.

The paper does not state an initialisation; N(0, 0.02) is that of Hugging Face's port.
"""

import flax.linen as nn

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

ATTENTION = ("causal", "prefix")
FIELDS = ("prefix", "predict_at")
check = _transformer.check_sizes


def build(
    context: BuildContext,
    *,
    vocab_size: int,
    layers: int,
    width: int,
    heads: int,
    feed_forward: int,
    rope_base: float = 10000.0,
    norm_epsilon: float = 1e-6,
    init_std: float = 0.02,
) -> nn.Module:
    """`layers` LLaMA blocks. Rotary positions allow sequences of any length."""
    dtype = context.dtype
    head_width = width // heads
    init = Normal(init_std)
    norm = factory(RMSNorm, epsilon=norm_epsilon)
    dense = factory(Dense, bias=False, kernel_init=init, dtype=dtype)
    stack = _transformer.block_stack(
        layers,
        PreNorm(norm, _transformer.NO_DROPOUT),
        attention=_transformer.attention_layer(heads, head_width, dense),
        feed_forward=_transformer.feed_forward_layer(
            feed_forward, nn.silu, dense, module=GatedFeedForward
        ),
        final_norm=norm,
    )
    return SingleStack(
        embedding=factory(
            Embedding, vocab_size=vocab_size, width=width, table_init=init, dtype=dtype
        ),
        positions=(("rotary", factory(Rotary, head_width=head_width, base=rope_base)),),
        stack=stack,
        output=factory(Untied, table_init=init),
        build_context=context,
    )
