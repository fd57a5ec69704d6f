"""The layers of T5 1.0, T5 1.1 and the language models of T5's paper."""

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
from pretrain_jax.layers.factories import Factory, factory
from pretrain_jax.layers.feed_forward import FeedForward
from pretrain_jax.layers.initializers import Normal, Uniform
from pretrain_jax.layers.norms import RMSNorm
from pretrain_jax.layers.positions import RelativeBuckets
from pretrain_jax.layers.stacks import BuildContext, SingleStack
from pretrain_jax.models import _transformer

BUCKETS = 32
"""Of relative positions, up to a distance of 128 (section 2.1)."""


@dataclass(frozen=True)
class T5Layers:
    """Factories of T5's layers.

    Kernels are initialised from N(0, 1 / inputs), but those of queries from N(0, 1 / (inputs K)),
    which replaces T5's missing division by sqrt(K).
    """

    dtype: Any
    width: int
    heads: int
    head_width: int
    dropout_rate: float

    @property
    def dropout(self) -> Factory:
        """Dropout with the same noise for all positions of a row."""
        return factory(nn.Dropout, rate=self.dropout_rate, broadcast_dims=(-2,))

    def dense(self, inputs: int) -> Factory:
        return factory(Dense, bias=False, kernel_init=Normal(inputs**-0.5), dtype=self.dtype)

    def attention(self, module: type[SelfAttention] = SelfAttention) -> Factory:
        return _transformer.attention_layer(
            self.heads,
            self.head_width,
            self.dense(self.width),
            module=module,
            dense_out=self.dense(self.heads * self.head_width),
            scale=1.0,
            dropout=self.dropout,
            query_init=Normal((self.width * self.head_width) ** -0.5),
        )

    def feed_forward(
        self,
        features: int,
        activation: Callable[[jax.Array], jax.Array],
        module: type[FeedForward] = FeedForward,
    ) -> Factory:
        return _transformer.feed_forward_layer(
            features,
            activation,
            self.dense(self.width),
            module=module,
            dense_out=self.dense(features),
            dropout=self.dropout,
        )

    def embedding(self, vocab_size: int) -> Factory:
        return factory(
            Embedding,
            vocab_size=vocab_size,
            width=self.width,
            table_init=Normal(1.0),
            dtype=self.dtype,
        )

    def buckets(self, causal: bool) -> Factory:
        """One table [32, H], initialised Glorot uniform."""
        init = Uniform((2 / (BUCKETS + self.heads)) ** 0.5)
        return factory(
            RelativeBuckets, heads=self.heads, causal=causal, buckets=BUCKETS, table_init=init
        )

    @property
    def encoder_positions(self) -> tuple[tuple[str, Factory], ...]:
        return (("encoder_buckets", self.buckets(causal=False)),)

    def stack(
        self, layers: int, feed_forward: Factory, cross_attention: Factory | None = None
    ) -> Factory:
        norm = factory(RMSNorm, epsilon=1e-6)
        return _transformer.block_stack(
            layers,
            PreNorm(norm, self.dropout),
            attention=self.attention(),
            feed_forward=feed_forward,
            cross_attention=cross_attention,
            final_norm=norm,
            ends=self.dropout,
        )

    def encoder_decoder(
        self,
        context: BuildContext,
        *,
        vocab_size: int,
        layers: int,
        feed_forward: Factory,
        output: Factory,
        shared: bool,
    ) -> EncoderDecoder:
        """shared: whether the encoder uses the decoder's layers."""
        return EncoderDecoder(
            embedding=self.embedding(vocab_size),
            encoder_positions=self.encoder_positions,
            decoder_positions=(("decoder_buckets", self.buckets(causal=True)),),
            encoder=None if shared else self.stack(layers, feed_forward),
            decoder=self.stack(layers, feed_forward, self.attention(CrossAttention)),
            output=output,
            build_context=context,
        )

    def encoder(
        self,
        context: BuildContext,
        *,
        vocab_size: int,
        layers: int,
        feed_forward: Factory,
        output: Factory,
    ) -> SingleStack:
        """The encoder of `encoder_decoder` alone; its parameters have the same names."""
        return SingleStack(
            embedding=self.embedding(vocab_size),
            positions=self.encoder_positions,
            stack=self.stack(layers, feed_forward),
            output=output,
            build_context=context,
            stack_name="encoder",
        )
