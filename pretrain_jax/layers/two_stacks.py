"""The model that is two stacks over one embedding: ELECTRA's generator and discriminator."""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

from pretrain_jax.layers.makers import Maker
from pretrain_jax.layers.stacks import Execution, Output, gather, self_context

Batch = dict[str, jax.Array]


class Tower(nn.Module):
    """Embeddings [B, L, E] -> hidden [B, L, D]: a dense map where D is not E, then one stack."""

    width: int
    dense: Maker
    stack: Maker
    execution: Execution

    @nn.compact
    def __call__(self, x: jax.Array, batch: Batch, train: bool) -> jax.Array:
        if x.shape[-1] != self.width:
            shape = {"inputs": x.shape[-1:], "outputs": (self.width,), "axes": ("width", "hidden")}
            x = self.dense(name="input", **shape)(x)
        context = self_context(batch, self.execution, train)
        return self.stack(name="stack", execution=self.execution)(x, context)


class Score(nn.Module):
    """hidden [B, L, D] -> float32 [B, L]: dense, activation, and a dense map to one number."""

    dense: Maker
    activation: Callable[[jax.Array], jax.Array]

    @nn.compact
    def __call__(self, hidden: jax.Array) -> jax.Array:
        width = hidden.shape[-1:]
        y = self.dense(name="dense", inputs=width, outputs=width, axes=("width", "hidden"))(hidden)
        out = {"inputs": width, "outputs": (1,), "axes": ("width", "classes")}
        return self.dense(name="out", dtype=jnp.float32, **out)(self.activation(y))[..., 0]


class GeneratorDiscriminator(nn.Module):
    """Two encoders of the same batch fields, which share the embedding and its norm.

    Both read tokens, segments, positions and, where there are any, types [B, L]. What happens
    between them is the objective's business (objectives/replaced_token.py).
    """

    embedding: Maker
    generator: Maker
    """A Tower, like the discriminator."""
    discriminator: Maker
    output: Maker
    """The generator's token read-out, one of layers/outputs.py."""
    score: Maker
    execution: Execution

    def setup(self):
        self.embed = self.embedding(name="embedding", multiple=self.execution.multiple)
        self.small = self.generator(name="generator", execution=self.execution)
        self.large = self.discriminator(name="discriminator", execution=self.execution)
        self.read = self.output(name="generator_output")
        self.judge = self.score(name="discriminator_output")

    def generate(self, batch: Batch, train: bool) -> Output:
        """The generator's hidden states, at `predict_at` [B, P] where the batch has it."""
        hidden = self.small(self.embedded(batch, train), batch, train)
        if "predict_at" in batch:
            hidden = gather(hidden, batch["predict_at"])
        return Output(*self.read(hidden, self.embed.readout()))

    def discriminate(self, batch: Batch, train: bool) -> jax.Array:
        """float32 [B, L]: log odds that a token is not the original."""
        return self.judge(self.large(self.embedded(batch, train), batch, train))

    def __call__(self, batch: Batch, train: bool) -> Output:
        """Both halves on one batch, the log odds as the head "discriminator": for `init`."""
        output, odds = self.generate(batch, train), self.discriminate(batch, train)
        return output.replace(heads={"discriminator": odds})

    def embedded(self, batch: Batch, train: bool) -> jax.Array:
        """[B, L, E]."""
        return self.embed(batch["tokens"], batch["positions"], train, batch.get("types"))
