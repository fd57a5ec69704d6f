"""T5 1.0, the released encoder-decoders (Raffel et al. 2020, section 2.1).

Pre-norm with gains alone (RMSNorm) and a final norm in each stack, no biases, ReLU, relative
position buckets with one table for each stack and none in cross attention, scores that are not
divided by sqrt(K), and the embedding as the output, with hidden states times D^-0.5. First values
and dropout are those of google-research/t5x, examples/t5.

Parameters: V D + L (12 D I + 4 D F + 5 D) + 2 D + 64 H with I = H K: 60,506,624 for t5_small, of
which 28 D are the rows that pad the 32,100 tokens to V = 32,128. With `shared`, the paper's shared
encoder-decoder, V D + L (8 D I + 2 D F + 3 D) + D + 64 H.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import jax

from pretrain_jax.layers.attention import CrossAttention, SelfAttention
from pretrain_jax.layers.block import PreNorm
from pretrain_jax.layers.dense import Dense
from pretrain_jax.layers.embeddings import Embedding
from pretrain_jax.layers.encoder_decoder import EncoderDecoder
from pretrain_jax.layers.feed_forward import FeedForward
from pretrain_jax.layers.initializers import Normal, Uniform
from pretrain_jax.layers.makers import Maker, maker
from pretrain_jax.layers.norms import RMSNorm
from pretrain_jax.layers.outputs import Scaled
from pretrain_jax.layers.positions import RelativeBuckets
from pretrain_jax.layers.stacks import Execution, Stack

ATTENTION = ("causal",)
FIELDS = ("memory_tokens", "memory_segments", "memory_positions", "predict_at")
NEEDS = ("memory_tokens",)
BUCKETS = 32
"""Of relative positions, up to a distance of 128 (section 2.1)."""


def build(
    execution: Execution,
    *,
    vocab_size: int,
    layers: int,
    width: int,
    heads: int,
    head_width: int,
    feed_forward: int,
    dropout: float = 0.1,
    shared: bool = False,
) -> nn.Module:
    """`layers` T5 blocks in each stack.

    shared: encoder and decoder have all parameters but cross attention and the tables of relative
    positions in common (section 3.2.2). dropout: 0.1 in pretraining too (section 3.1.2).
    """
    parts = Parts(execution.dtype, width, heads, head_width, dropout)
    return parts.encoder_decoder(
        execution,
        embedding=parts.embedding(vocab_size),
        layers=layers,
        feed=parts.feed(FeedForward, nn.relu, feed_forward),
        output=maker(Scaled, scale=width**-0.5),
        shared=shared,
    )


@dataclass(frozen=True)
class Parts:
    """What T5 1.0, T5 1.1 and the paper's language models are put together from.

    Every kernel starts from N(0, 1 / inputs), queries from N(0, 1 / (inputs K)), which stands for
    the division by sqrt(K) that T5 leaves out.
    """

    dtype: Any
    width: int
    heads: int
    head_width: int
    rate: float
    """Of dropout, whose noise is shared by all places of a row."""

    @property
    def dropout(self) -> Maker:
        return maker(nn.Dropout, rate=self.rate, broadcast_dims=(-2,))

    def dense(self, inputs: int) -> Maker:
        return maker(Dense, bias=False, kernel_init=Normal(inputs**-0.5), dtype=self.dtype)

    def attention(self, module: type[SelfAttention]) -> Maker:
        return maker(
            module,
            heads=self.heads,
            head_width=self.head_width,
            scale=1.0,
            dense=self.dense(self.width),
            dense_out=self.dense(self.heads * self.head_width),
            query_init=Normal((self.width * self.head_width) ** -0.5),
            dropout=self.dropout,
        )

    def feed(
        self,
        module: type[FeedForward],
        activation: Callable[[jax.Array], jax.Array],
        features: int,
    ) -> Maker:
        return maker(
            module,
            features=features,
            activation=activation,
            dense=self.dense(self.width),
            dense_out=self.dense(features),
            dropout=self.dropout,
        )

    def embedding(self, vocab_size: int) -> Maker:
        return maker(
            Embedding,
            vocab_size=vocab_size,
            width=self.width,
            table_init=Normal(1.0),
            dtype=self.dtype,
        )

    def buckets(self, causal: bool) -> Maker:
        """One table [32, H], Glorot uniform."""
        init = Uniform((2 / (BUCKETS + self.heads)) ** 0.5)
        return maker(
            RelativeBuckets, heads=self.heads, causal=causal, buckets=BUCKETS, table_init=init
        )

    def stack(self, layers: int, *sublayers: tuple[str, Maker]) -> Maker:
        norm = maker(RMSNorm, epsilon=1e-6)
        return maker(
            Stack,
            layers=layers,
            sublayers=sublayers,
            residual=PreNorm(norm, self.dropout),
            final_norm=norm,
            ends=self.dropout,
        )

    def encoder_decoder(
        self,
        execution: Execution,
        *,
        embedding: Maker,
        layers: int,
        feed: Maker,
        output: Maker,
        shared: bool,
    ) -> EncoderDecoder:
        attention = ("attention", self.attention(SelfAttention))
        cross_attention = ("cross_attention", self.attention(CrossAttention))
        feed_forward = ("feed_forward", feed)
        return EncoderDecoder(
            embedding=embedding,
            encoder_positions=(("encoder_buckets", self.buckets(causal=False)),),
            decoder_positions=(("decoder_buckets", self.buckets(causal=True)),),
            encoder=None if shared else self.stack(layers, attention, feed_forward),
            decoder=self.stack(layers, attention, cross_attention, feed_forward),
            output=output,
            execution=execution,
        )
