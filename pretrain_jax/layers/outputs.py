"""Token read-outs: hidden states become the factors of the logits that losses.py computes.

Each takes (hidden [..., D], the embedding's Readout) and returns (hidden, Readout). A model without
one reads out through its embedding table, unchanged (Press and Wolf 2017).
"""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from pretrain_jax.layers.axes import with_axes
from pretrain_jax.layers.embeddings import Readout, vocabulary_matrix
from pretrain_jax.layers.factories import Factory


class Untied(nn.Module):
    """A separate output matrix (LLaMA, T5 1.1)."""

    table_init: Any

    @nn.compact
    def __call__(self, hidden: jax.Array, tied: Readout) -> tuple[jax.Array, Readout]:
        width = hidden.shape[-1]
        matrix = vocabulary_matrix(
            self, "table", self.table_init, tied.vocab_size, len(tied.table), width
        )
        return hidden, tied.replace(table=matrix)


class Scaled(nn.Module):
    """The embedding table, with hidden states multiplied by `scale` (T5 1.0: D^-0.5)."""

    scale: float

    def __call__(self, hidden: jax.Array, tied: Readout) -> tuple[jax.Array, Readout]:
        return hidden, tied.replace(scale=self.scale)


class Transformed(nn.Module):
    """norm(activation(dense(hidden))), then the embedding table and a bias [V] (BERT's head).

    The dense map's output has the width of the embedding table.
    """

    dense: Factory
    activation: Callable[[jax.Array], jax.Array]
    norm: Factory

    @nn.compact
    def __call__(self, hidden: jax.Array, tied: Readout) -> tuple[jax.Array, Readout]:
        rows, width = tied.table.shape
        shape = {"inputs": hidden.shape[-1:], "outputs": (width,), "axes": ("width", "hidden")}
        y = self.activation(self.dense(name="dense", **shape)(hidden))
        y = self.norm(name="norm")(y)
        bias = self.param(
            "bias", with_axes(nn.initializers.zeros, "vocabulary"), (rows,), jnp.float32
        )
        return y, tied.replace(bias=bias)
