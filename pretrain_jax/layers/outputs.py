"""Token read-outs: from hidden states to what losses.py multiplies with the vocabulary.

Each takes (hidden [..., D], the embedding's own Readout) and returns (hidden, Readout). A model
without one reads out through its embedding table as it stands (Press and Wolf 2017).
"""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from pretrain_jax.layers.axes import named
from pretrain_jax.layers.embeddings import Readout, table
from pretrain_jax.layers.makers import Maker


class Untied(nn.Module):
    """A matrix of its own (LLaMA, T5 1.1)."""

    table_init: Any

    @nn.compact
    def __call__(self, hidden: jax.Array, tied: Readout) -> tuple[jax.Array, Readout]:
        width = hidden.shape[-1]
        own = table(self, "table", self.table_init, tied.vocab_size, len(tied.table), width)
        return hidden, tied.replace(table=own)


class Scaled(nn.Module):
    """The embedding table, hidden states times `scale` (T5 1.0: D^-0.5)."""

    scale: float

    def __call__(self, hidden: jax.Array, tied: Readout) -> tuple[jax.Array, Readout]:
        return hidden, tied.replace(scale=self.scale)


class Transformed(nn.Module):
    """norm(activation(dense(hidden))), the embedding table, and a bias [V] (BERT's head).

    The dense map leads to the width of the embedding table.
    """

    dense: Maker
    activation: Callable[[jax.Array], jax.Array]
    norm: Maker

    @nn.compact
    def __call__(self, hidden: jax.Array, tied: Readout) -> tuple[jax.Array, Readout]:
        rows, width = tied.table.shape
        shape = {"inputs": hidden.shape[-1:], "outputs": (width,), "axes": ("width", "hidden")}
        y = self.activation(self.dense(name="dense", **shape)(hidden))
        y = self.norm(name="norm")(y)
        bias = self.param("bias", named(nn.initializers.zeros, "vocabulary"), (rows,), jnp.float32)
        return y, tied.replace(bias=bias)
