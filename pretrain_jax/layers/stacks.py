"""Stacks of blocks, and the model that is one stack: the only place with scan and remat."""

from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import struct

from pretrain_jax.layers.block import Block
from pretrain_jax.layers.context import Context
from pretrain_jax.layers.embeddings import Readout
from pretrain_jax.layers.makers import Maker
from pretrain_jax.layers.masks import Mask

REMAT = {
    "none": None,
    "dots": jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
    "full": jax.checkpoint_policies.nothing_saveable,
}
"""What a block's backward pass finds saved: everything, its matrix products, or nothing."""


@dataclass(frozen=True)
class Execution:
    """How a model runs, which changes neither its parameters nor, rounding apart, its numbers."""

    attention: str = "causal"
    """How the predicting stream looks at itself: "causal", "prefix" or "full"."""
    dtype: Any = jnp.float32
    """Of the matrix products; parameters, norms, softmax and loss are float32."""
    unroll: int = 1
    """Layers in one turn of the loop over layers."""
    remat: str = "none"
    platform: str = "any"
    """"cpu" takes the forms that XLA's CPU backend runs fastest; the numbers are the same."""


class Stack(nn.Module):
    """`layers` equal blocks, then the final norm where there is one.

    Parameters are always stacked over a leading axis named "layers", whatever `unroll` is.
    """

    layers: int
    sublayers: tuple[tuple[str, Maker], ...]
    residual: Any
    final_norm: Maker | None
    execution: Execution

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
        x, _ = scanned(sublayers=self.sublayers, residual=self.residual, name="layers")(x, context)
        return x if self.final_norm is None else self.final_norm(name="final_norm")(x)


class Output(struct.PyTreeNode):
    """Hidden states and how to read them: never [B, L, V] logits."""

    hidden: jax.Array
    """[B, L, D], or [B, P, D] where the batch says `predict_at`."""
    readout: Readout


class SingleStack(nn.Module):
    """Embedding, one stack, token read-out: a decoder or an encoder.

    Reads tokens, segments, positions [B, L] of the batch, `prefix` where attention is "prefix",
    and `predict_at` [B, P] where there is one.
    """

    embedding: Maker
    positions: tuple[tuple[str, Maker], ...]
    """Modules that put positions into the context: Rotary, RelativeBuckets, Distances."""
    stack: Maker
    output: Maker | None
    """A read-out of its own; None reads out through the embedding table."""
    execution: Execution

    @nn.compact
    def __call__(self, batch: dict[str, jax.Array], train: bool) -> Output:
        embedding = self.embedding(name="embedding")
        x = embedding(batch["tokens"], batch["positions"], train)
        mask = Mask(batch["segments"], batch.get("prefix"), self.execution.attention)
        added = mask.added() if self.execution.platform == "cpu" else None
        context = Context(mask, train, added=added)
        for name, position in self.positions:
            context = position(name=name)(context, batch["positions"])
        hidden = self.stack(name="stack", execution=self.execution)(x, context)
        if "predict_at" in batch:
            hidden = jnp.take_along_axis(hidden, batch["predict_at"][..., None], axis=1)
        readout = embedding.readout() if self.output is None else self.output(name="output")()
        return Output(hidden, readout)
