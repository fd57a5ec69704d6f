"""The model with two stacks over one embedding: ELECTRA's generator and discriminator."""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

from pretrain_jax.layers.factories import Factory
from pretrain_jax.layers.stacks import BuildContext, Output, gather, read_out, self_context

Batch = dict[str, jax.Array]


class Tower(nn.Module):
    """Embeddings [B, L, E] -> hidden [B, L, D]: a dense map if D is not E, then one stack."""

    width: int
    dense: Factory
    stack: Factory
    build_context: BuildContext

    @nn.compact
    def __call__(self, x: jax.Array, batch: Batch, train: bool) -> jax.Array:
        if x.shape[-1] != self.width:
            shape = {"inputs": x.shape[-1:], "outputs": (self.width,), "axes": ("width", "hidden")}
            x = self.dense(name="input", **shape)(x)
        context = self_context(batch, self.build_context, train)
        return self.stack(name="stack", build_context=self.build_context)(x, context)


class Score(nn.Module):
    """hidden [B, L, D] -> float32 [B, L]: dense, activation, and a dense map to one number."""

    dense: Factory
    activation: Callable[[jax.Array], jax.Array]

    @nn.compact
    def __call__(self, hidden: jax.Array) -> jax.Array:
        width = hidden.shape[-1:]
        y = self.dense(name="dense", inputs=width, outputs=width, axes=("width", "hidden"))(hidden)
        out = {"inputs": width, "outputs": (1,), "axes": ("width", "classes")}
        return self.dense(name="out", dtype=jnp.float32, **out)(self.activation(y))[..., 0]


class Discriminator(nn.Module):
    """The discriminator with the objective's heads instead of its score, for finetuning.

    Its parameters have the names that they have in a GeneratorDiscriminator.
    """

    embedding: Factory
    discriminator: Factory
    build_context: BuildContext

    @nn.compact
    def __call__(self, batch: Batch, train: bool) -> Output:
        context = self.build_context
        embedding = self.embedding(name="embedding", pad_vocab_to=context.pad_vocab_to)
        x = embedding(batch["tokens"], batch["positions"], train, batch.get("types"))
        hidden = self.discriminator(name="discriminator", build_context=context)(x, batch, train)
        return read_out(context, None, hidden, batch, embedding.readout(), train)


class GeneratorDiscriminator(nn.Module):
    """Two encoders of the same batch fields that share the embedding and its norm.

    Both read tokens, segments, positions and, if the batch has them, types [B, L]. The objective
    makes the discriminator's input from the generator's output (objectives/replaced_token.py).
    """

    embedding: Factory
    generator: Factory
    """A Tower, like the discriminator."""
    discriminator: Factory
    output: Factory
    """The generator's token read-out, one of layers/outputs.py."""
    score: Factory
    build_context: BuildContext

    def setup(self):
        self.shared_embedding = self.embedding(
            name="embedding", pad_vocab_to=self.build_context.pad_vocab_to
        )
        self.generator_tower = self.generator(name="generator", build_context=self.build_context)
        self.discriminator_tower = self.discriminator(
            name="discriminator", build_context=self.build_context
        )
        self.token_output = self.output(name="generator_output")
        self.discriminator_score = self.score(name="discriminator_output")

    def generate(self, batch: Batch, train: bool) -> Output:
        """The generator's hidden states, at `predict_at` [B, P] if the batch has it."""
        hidden = self.generator_tower(self.embed(batch, train), batch, train)
        if "predict_at" in batch:
            hidden = gather(hidden, batch["predict_at"])
        return Output(*self.token_output(hidden, self.shared_embedding.readout()))

    def discriminate(self, batch: Batch, train: bool) -> jax.Array:
        """float32 [B, L]: log odds that a token was replaced."""
        return self.discriminator_score(
            self.discriminator_tower(self.embed(batch, train), batch, train)
        )

    def __call__(self, batch: Batch, train: bool) -> Output:
        """Runs both on one batch, for `init`; the log odds are the head "discriminator"."""
        output, log_odds = self.generate(batch, train), self.discriminate(batch, train)
        return output.replace(heads={"discriminator": log_odds})

    def embed(self, batch: Batch, train: bool) -> jax.Array:
        """Embeddings [B, L, E]."""
        return self.shared_embedding(batch["tokens"], batch["positions"], train, batch.get("types"))
