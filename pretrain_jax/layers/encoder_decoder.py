"""The encoder-decoder: the encoder's output is the memory of the decoder's cross attention."""

from dataclasses import replace

import flax.linen as nn
import jax
import jax.numpy as jnp

from pretrain_jax.layers.attention import BACKENDS
from pretrain_jax.layers.factories import Factory
from pretrain_jax.layers.masks import CrossMask
from pretrain_jax.layers.stacks import BuildContext, Output, read_out, self_context

Positions = tuple[tuple[str, Factory], ...]


class EncoderDecoder(nn.Module):
    """Embedding, encoder, decoder, token read-out.

    Reads memory_tokens, memory_segments, memory_positions [B, M] and tokens, segments, positions
    [B, L] of the batch, and `predict_at` [B, P] if the batch has it. Both streams share one
    embedding. In a packed row, example k of the stream attends only to the memory of example k.

    A step of decoding (`self_context`) needs no memory_tokens: the cache has what the memory gives.
    """

    embedding: Factory
    encoder_positions: Positions
    """Modules that add positions to the context of each stack, as in SingleStack."""
    decoder_positions: Positions
    encoder: Factory | None
    """None shares the decoder's layers and final norm, without cross attention."""
    decoder: Factory
    output: Factory | None
    """One of layers/outputs.py; None reads out through the embedding table, unchanged."""
    build_context: BuildContext

    @nn.compact
    def __call__(self, batch: dict[str, jax.Array], train: bool) -> Output:
        build_context = self.build_context
        embedding = self.embedding(name="embedding", pad_vocab_to=build_context.pad_vocab_to)
        decoder = self.decoder(name="decoder", build_context=build_context)
        encoder = decoder
        if self.encoder is not None:
            encoder = self.encoder(name="encoder", build_context=build_context)

        memory = None
        if "memory_tokens" in batch:
            memory_batch = {
                name: batch[f"memory_{name}"] for name in ("tokens", "segments", "positions")
            }
            x = embedding(memory_batch["tokens"], memory_batch["positions"], train)
            full = replace(build_context, attention="full")
            read = self_context(memory_batch, full, train, self.encoder_positions)
            # An adapter's keys and values have their places in the stream.
            memory = encoder(x, read.replace(tokens=None))

        x = embedding(batch["tokens"], batch["positions"], train)
        context = self_context(batch, build_context, train, self.decoder_positions)
        segments = batch.get("segments", jnp.ones_like(batch["tokens"]))
        mask = CrossMask(segments, batch["memory_segments"])
        kernel_mask = BACKENDS[build_context.attention_backend].make_kernel_mask(mask)
        context = context.replace(memory=memory, memory_mask=mask, memory_kernel_mask=kernel_mask)
        hidden = decoder(x, context)
        return read_out(build_context, self.output, hidden, batch, embedding.readout(), train)
