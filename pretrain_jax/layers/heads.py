"""Heads that an objective adds after a stack, in addition to the token read-out.

Each is called as head(hidden [B, L, D], batch, tied readout, train). Its result is in the model's
Output.heads under the head's name; its parameters are under the same name.
"""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from pretrain_jax.layers.axes import with_axes
from pretrain_jax.layers.dense import Dense
from pretrain_jax.layers.embeddings import Readout
from pretrain_jax.layers.feed_forward import exact_gelu
from pretrain_jax.layers.norms import LayerNorm
from pretrain_jax.layers.stacks import Output, gather


class PooledClassifier(nn.Module):
    """Logits float32 [B, E, classes] for the examples of a row, computed at `example_at` [B, E].

    As in BERT: a dense map D -> D and an activation (the pooler), dropout, then a dense map
    D -> classes. Without a pooler, as on decoders, the one map has no bias: transformers' classes
    for GPT-2 and LLaMA have none, GPT-1's released code has one.
    """

    classes: int
    kernel_init: Any
    activation: Callable[[jax.Array], jax.Array] | None = jnp.tanh
    """Of the pooler; None = no pooler."""
    dropout: float = 0.0
    sequences: int = 1
    """Sequences of an example, whose hidden states are added: [B, E / sequences, classes]."""
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self, hidden: jax.Array, batch: dict[str, jax.Array], tied: Readout, train: bool
    ) -> jax.Array:
        width, bias = hidden.shape[-1:], self.activation is not None

        def dense(name: str, outputs: tuple[int, ...], axis: str) -> Dense:
            axes = ("width", axis)
            return Dense(width, outputs, axes, self.kernel_init, bias, self.dtype, name=name)

        pooled = gather(hidden, batch["example_at"])
        if self.sequences > 1:
            rows = pooled.shape[0]
            pooled = pooled.reshape(rows, -1, self.sequences, *width).sum(axis=2)
        if self.activation is not None:
            pooled = self.activation(dense("pooler", width, "hidden")(pooled))
        if self.dropout:
            pooled = nn.Dropout(self.dropout, deterministic=not train)(pooled)
        return dense("output", (self.classes,), "classes")(pooled).astype(jnp.float32)


class TokenClassifier(nn.Module):
    """Logits float32 [B, P, classes] at the tokens `predict_at` [B, P], or [B, L, classes] at all.

    Dropout, then a dense map D -> classes with a bias, as in transformers' classes for tokens and
    for answers.
    """

    classes: int
    kernel_init: Any
    everywhere: bool = False
    """Whether at all tokens."""
    dropout: float = 0.0
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self, hidden: jax.Array, batch: dict[str, jax.Array], tied: Readout, train: bool
    ) -> jax.Array:
        if not self.everywhere:
            hidden = gather(hidden, batch["predict_at"])
        if self.dropout:
            hidden = nn.Dropout(self.dropout, deterministic=not train)(hidden)
        sizes = (hidden.shape[-1:], (self.classes,), ("width", "classes"))
        dense = Dense(*sizes, self.kernel_init, True, self.dtype, name="output")
        return dense(hidden).astype(jnp.float32)


class SpanBoundary(nn.Module):
    """Predicts a span's tokens from the hidden states on its two sides: an Output, [B, P, D].

    SpanBERT's span boundary objective (Joshi et al. 2019, section 3.2; facebookresearch/SpanBERT
    pair_bert.py): [left, right, position in the span] -> dense, GELU, norm -> dense, GELU, norm,
    read out through the embedding table with a separate bias and no z-loss. It reads `left_at`,
    `right_at` and `span_positions` [B, P]; span_positions are below `positions`.
    """

    positions: int
    """Rows of the table of positions in a span."""
    position_width: int
    kernel_init: Any
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self, hidden: jax.Array, batch: dict[str, jax.Array], tied: Readout, train: bool
    ) -> Output:
        rows, width = tied.table.shape
        shape = (self.positions, self.position_width)
        init = with_axes(self.kernel_init, "positions", "hidden")
        table = self.param("positions", init, shape, jnp.float32)
        sides = [gather(hidden, batch[side]) for side in ("left_at", "right_at")]
        position = jnp.take(table, batch["span_positions"], axis=0).astype(hidden.dtype)
        x = jnp.concatenate([*sides, position], axis=-1)
        for number in (1, 2):
            # Split along its outputs: few meshes divide 2 D + 200 inputs.
            axes, name = ("hidden", "width"), f"dense_{number}"
            inputs = x.shape[-1:]
            dense = Dense(inputs, (width,), axes, self.kernel_init, True, self.dtype, name=name)
            x = LayerNorm(1e-12, name=f"norm_{number}")(exact_gelu(dense(x)))
        bias = self.param(
            "bias", with_axes(nn.initializers.zeros, "vocabulary"), (rows,), jnp.float32
        )
        return Output(x, tied.replace(bias=bias, z_loss=0.0))
