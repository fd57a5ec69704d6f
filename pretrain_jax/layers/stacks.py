"""Stacks of blocks, and the model that is one stack: the only place with scan and remat."""

from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import struct

from pretrain_jax.layers.attention import FORMS
from pretrain_jax.layers.block import Block
from pretrain_jax.layers.context import Context
from pretrain_jax.layers.embeddings import VOCABULARY_MULTIPLE, Readout
from pretrain_jax.layers.makers import Maker, maker
from pretrain_jax.layers.masks import Mask

REMAT = {
    "none": None,
    "dots": jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
    "full": jax.checkpoint_policies.nothing_saveable,
}
"""What a block's backward pass finds saved: everything, its matrix products, or nothing."""


@dataclass(frozen=True)
class Execution:
    """What a model is told beside its sizes: what the objective asks of it, and how it runs.

    How it runs changes neither its parameters nor, rounding apart, its numbers.
    """

    attention: str = "causal"
    """How the predicting stream looks at itself: "causal", "prefix" or "full"."""
    heads: tuple[tuple[str, Maker], ...] = ()
    """Modules of the objective behind the stack; see objectives.Objective."""
    dtype: Any = jnp.float32
    """Of the matrix products; parameters, norms, softmax and loss are float32."""
    unroll: int = 1
    """Layers in one turn of the loop over layers."""
    remat: str = "none"
    form: str = "plain"
    """Of attention, one of attention.FORMS."""
    one_text: bool = False
    """Whether every row is one text from end to end (data.cross_documents)."""
    z_loss: float = 0.0
    """The coefficient of (log Z)^2 in what is minimised."""
    multiple: int = VOCABULARY_MULTIPLE
    """Rows of vocabulary matrices are padded to a multiple of this."""


class Stack(nn.Module):
    """`layers` equal blocks, then the final norm where there is one.

    Parameters are always stacked over a leading axis named "layers", whatever `unroll` is.
    """

    layers: int
    sublayers: tuple[tuple[str, Maker], ...]
    residual: Any
    final_norm: Maker | None
    execution: Execution
    ends: Maker = maker(nn.Dropout, rate=0.0)
    """Dropout of what comes in and of what goes out behind the final norm (T5)."""

    @nn.compact
    def __call__(self, x: jax.Array, context: Context) -> jax.Array:
        block = Block
        policy = REMAT[self.execution.remat]
        if policy is not None:
            # Inside a scan nothing can be merged across iterations, so the guard that keeps the
            # compiler from undoing the recomputation is needed only when the loop is unrolled.
            block = nn.remat(block, policy=policy, prevent_cse=self.execution.unroll > 1)
        broadcast: Any = nn.broadcast  # flax's own annotation of in_axes says int
        scanned = nn.scan(
            block,
            variable_axes={"params": 0},
            split_rngs={"params": True, "dropout": True},
            in_axes=broadcast,
            length=self.layers,
            unroll=min(self.execution.unroll, self.layers),
            metadata_params={nn.PARTITION_NAME: "layers"},
        )
        x = self.ends(name="dropout_in", deterministic=not context.train)(x)
        x, _ = scanned(sublayers=self.sublayers, residual=self.residual, name="layers")(x, context)
        x = x if self.final_norm is None else self.final_norm(name="final_norm")(x)
        return self.ends(name="dropout_out", deterministic=not context.train)(x)


class Output(struct.PyTreeNode):
    """Hidden states and how to read them: never [B, L, V] logits."""

    hidden: jax.Array
    """[B, L, D], or [B, P, D] where the batch says `predict_at`."""
    readout: Readout
    heads: dict[str, Any] = struct.field(default_factory=dict)
    """What the objective's heads returned, by name."""


class SingleStack(nn.Module):
    """Embedding, one stack, token read-out: a decoder or an encoder.

    Reads tokens, segments, positions [B, L] of the batch, `types` where the embedding has a table
    of them, `prefix` where attention is "prefix", and `predict_at` [B, P] where there is one.
    """

    embedding: Maker
    positions: tuple[tuple[str, Maker], ...]
    """Modules that put positions into the context: Rotary, RelativeBuckets, Distances."""
    stack: Maker
    output: Maker | None
    """One of layers/outputs.py; None reads out through the embedding table as it stands."""
    execution: Execution

    @nn.compact
    def __call__(self, batch: dict[str, jax.Array], train: bool) -> Output:
        embedding = self.embedding(name="embedding", multiple=self.execution.multiple)
        x = embedding(batch["tokens"], batch["positions"], train, batch.get("types"))
        context = self_context(batch, self.execution, train)
        for name, position in self.positions:
            context = position(name=name)(context, batch["positions"])
        hidden = self.stack(name="stack", execution=self.execution)(x, context)
        return read(self, hidden, batch, embedding.readout(), train)


def self_context(batch: dict[str, jax.Array], execution: Execution, train: bool) -> Context:
    """What the layers of the predicting stack share, before positions are put in."""
    mask = Mask(batch["segments"], batch.get("prefix"), execution.attention, execution.one_text)
    view = FORMS[execution.form].view(mask)
    return Context(mask, train, form=execution.form, view=view)


def read(
    model: Any, hidden: jax.Array, batch: dict[str, jax.Array], tied: Readout, train: bool
) -> Output:
    """The end of every model: the objective's heads, the predicted places, the token read-out.

    `model` is the module in whose compact method this is called; it has `output` and `execution`.
    """
    execution = model.execution
    tied = tied.replace(z_loss=execution.z_loss)
    heads = {
        name: head(name=name, dtype=execution.dtype)(hidden, batch, tied, train)
        for name, head in execution.heads
    }
    if "predict_at" in batch:
        hidden = gather(hidden, batch["predict_at"])
    if model.output is not None:
        hidden, tied = model.output(name="output")(hidden, tied)
    return Output(hidden, tied, heads)


def gather(hidden: jax.Array, at: jax.Array) -> jax.Array:
    """hidden [B, L, D] at places int [B, P] -> [B, P, D]."""
    return jnp.take_along_axis(hidden, at[..., None], axis=1)
