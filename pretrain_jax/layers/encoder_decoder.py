"""Two stacks: an encoder makes the memory that a decoder reads through cross attention."""

from dataclasses import replace

import flax.linen as nn
import jax

from pretrain_jax.layers.attention import FORMS
from pretrain_jax.layers.makers import Maker
from pretrain_jax.layers.masks import CrossMask
from pretrain_jax.layers.stacks import Execution, Output, read, self_context

Positions = tuple[tuple[str, Maker], ...]


class EncoderDecoder(nn.Module):
    """Embedding, encoder, decoder, token read-out.

    Reads memory_tokens, memory_segments, memory_positions [B, M] and tokens, segments, positions
    [B, L] of the batch, and `predict_at` [B, P] where there is one. Both streams go through one
    embedding. In a packed row, example k of the stream reads the memory of example k alone.
    """

    embedding: Maker
    encoder_positions: Positions
    """Modules that put positions into the context of each stack, as in SingleStack."""
    decoder_positions: Positions
    encoder: Maker | None
    """None: the decoder's own layers and final norm, passed through without cross attention."""
    decoder: Maker
    output: Maker | None
    """One of layers/outputs.py; None reads out through the embedding table as it stands."""
    execution: Execution

    @nn.compact
    def __call__(self, batch: dict[str, jax.Array], train: bool) -> Output:
        execution = self.execution
        embedding = self.embedding(name="embedding", multiple=execution.multiple)
        decoder = self.decoder(name="decoder", execution=execution)
        encoder = decoder
        if self.encoder is not None:
            encoder = self.encoder(name="encoder", execution=execution)

        memory_batch = {
            name: batch[f"memory_{name}"] for name in ("tokens", "segments", "positions")
        }
        x = embedding(memory_batch["tokens"], memory_batch["positions"], train)
        context = self_context(memory_batch, replace(execution, attention="full"), train)
        for name, position in self.encoder_positions:
            context = position(name=name)(context, memory_batch["positions"])
        memory = encoder(x, context)

        x = embedding(batch["tokens"], batch["positions"], train)
        context = self_context(batch, execution, train)
        for name, position in self.decoder_positions:
            context = position(name=name)(context, batch["positions"])
        mask = CrossMask(batch["segments"], batch["memory_segments"])
        beside = {"memory_mask": mask, "memory_view": FORMS[execution.form].view(mask)}
        hidden = decoder(x, context.replace(memory=memory, **beside))
        return read(self, hidden, batch, embedding.readout(), train)
