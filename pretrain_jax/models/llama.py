"""LLaMA: RMSNorm, rotary positions, SwiGLU, no biases, a read-out of its own.

Source: Touvron et al. 2023, section 2.2 and table 2; meta-llama/llama at its first version.
Parameters: 2 V D + L (4 D^2 + 3 D F + 2 D) + D: 6,738,415,616 for llama_7b. F is 2/3 x 4 D
rounded up to a multiple of 256.

The paper does not state an initialisation; N(0, 0.02) is what Hugging Face's port uses.
"""

import flax.linen as nn

from pretrain_jax.layers.attention import SelfAttention
from pretrain_jax.layers.block import PreNorm
from pretrain_jax.layers.dense import Dense
from pretrain_jax.layers.embeddings import Embedding
from pretrain_jax.layers.feed_forward import GatedFeedForward
from pretrain_jax.layers.initializers import Normal
from pretrain_jax.layers.makers import maker
from pretrain_jax.layers.norms import RMSNorm
from pretrain_jax.layers.outputs import Untied
from pretrain_jax.layers.positions import Rotary
from pretrain_jax.layers.stacks import Execution, SingleStack, Stack

ATTENTION = ("causal", "prefix")
FIELDS = ("prefix", "predict_at")


def build(
    execution: Execution,
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
    """A LLaMA block, `layers` times. Rotary positions set no limit to the sequence length."""
    dtype = execution.dtype
    head_width = width // heads
    init = Normal(init_std)
    no_drop = maker(nn.Dropout, rate=0.0)
    norm = maker(RMSNorm, epsilon=norm_epsilon)
    dense = maker(Dense, bias=False, kernel_init=init, dtype=dtype)
    attention = maker(
        SelfAttention,
        heads=heads,
        head_width=head_width,
        scale=head_width**-0.5,
        dense=dense,
        dense_out=dense,
        dropout=no_drop,
    )
    feed = maker(
        GatedFeedForward, features=feed_forward, activation=nn.silu, dense=dense, dense_out=dense
    )
    stack = maker(
        Stack,
        layers=layers,
        sublayers=(("attention", attention), ("feed_forward", feed)),
        residual=PreNorm(norm, no_drop),
        final_norm=norm,
    )
    return SingleStack(
        embedding=maker(
            Embedding, vocab_size=vocab_size, width=width, table_init=init, dtype=dtype
        ),
        positions=(("rotary", maker(Rotary, head_width=head_width, base=rope_base)),),
        stack=stack,
        output=maker(Untied, table_init=init),
        execution=execution,
    )
