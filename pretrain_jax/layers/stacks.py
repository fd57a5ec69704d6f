"""Stacks of blocks, and the model with one stack. Only this file uses scan and remat."""

from collections.abc import Mapping
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import struct

from pretrain_jax import registry
from pretrain_jax.layers.attention import BACKENDS, CACHES
from pretrain_jax.layers.block import Block
from pretrain_jax.layers.context import Context
from pretrain_jax.layers.embeddings import VOCABULARY_MULTIPLE, Readout
from pretrain_jax.layers.factories import Factory, factory
from pretrain_jax.layers.masks import Mask, PastMask

REMAT = {
    "none": None,
    "dots": jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
    "full": jax.checkpoint_policies.nothing_saveable,
}
"""What a block saves for its backward pass: everything, its matrix products, or nothing."""
LAYERS = "layers"
"""The name of a stack's layers and of their axis."""
MAX_AUTO_UNROLL = 64
"""Maximum number of layers that `unroll=0` unrolls: the 48 of gpt2_xl compile in 2 to 4 minutes on
two cores."""


def layer_loop(platform: str = "", *, unroll: int = 0, remat: str = "none") -> dict[str, Any]:
    """How to run the loop over layers: keyword arguments of BuildContext.

    unroll: layers per iteration of the loop over layers: more make steps faster and compilation
        longer. 0 = what suits the device: all of them (up to 64) on a GPU with remat="none", where
        a loop would copy everything that the backward pass reads; otherwise 1
    remat: what the backward pass recomputes to save memory: "none", "dots" (all but matrix
        products) or "full"
    """
    registry.check_name(remat, REMAT, "model.remat")
    copied = platform == "gpu" and remat == "none"
    return {"unroll": unroll or (0 if copied else 1), "remat": remat}


@dataclass(frozen=True)
class BuildContext:
    """Build settings other than sizes: what the objective needs, and how the model runs.

    How a model runs changes neither its parameters nor, up to rounding, its numbers.
    """

    attention: str = "causal"
    """Self-attention of the predicting stream: "causal", "prefix" or "full"."""
    heads: tuple[tuple[str, Factory], ...] = ()
    """The objective's heads, applied after the stack (layers/heads.py)."""
    predicts_tokens: bool = True
    """Whether the model has a token read-out; otherwise it has the heads alone."""
    dtype: Any = jnp.float32
    """Of matrix products; parameters, norms, softmax and loss are float32."""
    unroll: int = 1
    """Layers per iteration of the loop over layers; 0 = all of up to 64 layers, 1 of more."""
    separate_layers: bool = False
    """Whether each layer has parameters of its own instead of a slice of stacked ones
    (`separate`). Decoding reads every parameter for each token, and a CPU or GPU copies slices
    before it multiplies: on two CPU cores, a token takes 3 times as long with stacked ones."""
    remat: str = "none"
    """A key of REMAT."""
    attention_backend: str = "plain"
    """A key of attention.BACKENDS."""
    single_segment: bool = False
    """Whether every row is one segment from end to end (data.cross_documents)."""
    z_loss: float = 0.0
    """Coefficient of (log Z)^2 in the minimised loss."""
    pad_vocab_to: int = VOCABULARY_MULTIPLE
    """Vocabulary matrices have a multiple of this many rows."""


class Stack(nn.Module):
    """`layers` equal blocks, then the final norm, if any.

    Parameters always have a leading axis named "layers", for every `unroll`; only
    `separate_layers` gives layer i its own, under "layers_i".
    """

    layers: int
    sublayers: tuple[tuple[str, Factory], ...]
    residual: Any
    final_norm: Factory | None
    build_context: BuildContext
    ends: Factory = factory(nn.Dropout, rate=0.0)
    """Dropout of the stack's input and of its output after the final norm (T5)."""

    @nn.compact
    def __call__(self, x: jax.Array, context: Context) -> jax.Array:
        x = self.ends(name="dropout_in", deterministic=not context.train)(x)
        x = self.run_layers(x, context)
        x = x if self.final_norm is None else self.final_norm(name="final_norm")(x)
        return self.ends(name="dropout_out", deterministic=not context.train)(x)

    def run_layers(self, x: jax.Array, context: Context) -> jax.Array:
        """The blocks, one after another: [B, L, D] -> [B, L, D]."""
        parts = {"sublayers": self.sublayers, "residual": self.residual}
        if self.build_context.separate_layers:
            for number in range(self.layers):
                x, _ = Block(**parts, name=f"{LAYERS}_{number}")(x, context)
            return x
        unroll = self.build_context.unroll or (self.layers if self.layers <= MAX_AUTO_UNROLL else 1)
        block = Block
        policy = REMAT[self.build_context.remat]
        if policy is not None:
            # A scan cannot merge computations across iterations, so only an unrolled loop needs the
            # guard that keeps the compiler from undoing the recomputation.
            block = nn.remat(block, policy=policy, prevent_cse=unroll > 1)
        broadcast: Any = nn.broadcast  # flax annotates in_axes as int
        scanned = nn.scan(
            block,
            variable_axes=dict.fromkeys(("params", *CACHES), 0),
            split_rngs={"params": True, "dropout": True},
            in_axes=broadcast,
            length=self.layers,
            unroll=min(unroll, self.layers),
            metadata_params={nn.PARTITION_NAME: LAYERS},
        )
        return scanned(**parts, name=LAYERS)(x, context)[0]


def separate(params: Any) -> Any:
    """Stacked parameters as those of `BuildContext.separate_layers`.

    {"stack": {"layers": x [2, D]}} becomes {"stack": {"layers_0": x[0], "layers_1": x[1]}}.
    """
    if not isinstance(params, Mapping):
        return params
    parts = {}
    for name, part in params.items():
        if name != LAYERS:
            parts[name] = separate(part)
            continue
        for number in range(len(jax.tree.leaves(part)[0])):
            parts[f"{LAYERS}_{number}"] = jax.tree.map(itemgetter(number), part)
    return parts


class Output(struct.PyTreeNode):
    """Hidden states and their read-out; [B, L, V] logits are never stored."""

    hidden: jax.Array
    """[B, L, D], or [B, P, D] when the batch has `predict_at`."""
    readout: Readout
    heads: dict[str, Any] = struct.field(default_factory=dict)
    """Results of the objective's heads, by name."""


class SingleStack(nn.Module):
    """Embedding, one stack, token read-out: a decoder or an encoder.

    Reads tokens, segments and positions [B, L] of the batch; `types` if the embedding has a table
    of types; `prefix` if attention is "prefix"; `predict_at` [B, P] if the batch has it.
    """

    embedding: Factory
    positions: tuple[tuple[str, Factory], ...]
    """Modules that add positions to the context: Rotary, RelativeBuckets, Distances."""
    stack: Factory
    output: Factory | None
    """One of layers/outputs.py; None reads out through the embedding table, unchanged."""
    build_context: BuildContext
    stack_name: str = "stack"
    """The name of the stack in the tree of parameters."""

    @nn.compact
    def __call__(self, batch: dict[str, jax.Array], train: bool) -> Output:
        embedding = self.embedding(name="embedding", pad_vocab_to=self.build_context.pad_vocab_to)
        x = embedding(batch["tokens"], batch["positions"], train, batch.get("types"))
        context = self_context(batch, self.build_context, train, self.positions)
        hidden = self.stack(name=self.stack_name, build_context=self.build_context)(x, context)
        tied = embedding.readout()
        return read_out(self.build_context, self.output, hidden, batch, tied, train)


def self_context(
    batch: dict[str, jax.Array],
    build_context: BuildContext,
    train: bool,
    positions: tuple[tuple[str, Factory], ...] = (),
) -> Context:
    """Returns the context of a stack with its positions.

    A batch without `segments` has the new positions of one step of decoding, after those in a
    cache of `slots` [S]. With both, the call fills a cache of S slots.

    Call it in the model's compact method, so that parameters of positions are the model's.
    """
    slots, backend = len(batch.get("slots", ())), build_context.attention_backend
    if "segments" in batch:
        mask = Mask(
            batch["segments"],
            batch.get("prefix"),
            build_context.attention,
            build_context.single_segment,
        )
        kernel_mask = BACKENDS[backend].make_kernel_mask(mask)
    else:
        mask, kernel_mask = PastMask(batch["positions"], slots), None
    context = Context(
        mask,
        train,
        tokens=batch["tokens"],
        slots=slots,
        attention_backend=backend,
        kernel_mask=kernel_mask,
    )
    for name, position in positions:
        context = position(name=name)(context, batch["positions"])
    return context


def read_out(
    build_context: BuildContext,
    output: Factory | None,
    hidden: jax.Array,
    batch: dict[str, jax.Array],
    tied: Readout,
    train: bool,
) -> Output:
    """The last part of a model: the objective's heads, the predicted positions, the token read-out.

    Call it in the model's compact method, so that parameters of heads and read-out are the model's.
    With a token read-out, heads are for training: a batch without `weights` gets none.
    output: one of layers/outputs.py, or None. tied: the embedding's own read-out.
    """
    tied = tied.replace(z_loss=build_context.z_loss)
    predicts_tokens = build_context.predicts_tokens
    heads = {
        name: head(name=name, dtype=build_context.dtype)(hidden, batch, tied, train)
        for name, head in build_context.heads
        if "weights" in batch or not predicts_tokens
    }
    if not predicts_tokens:
        return Output(hidden, tied, heads)
    if "predict_at" in batch:
        hidden = gather(hidden, batch["predict_at"])
    if output is not None:
        hidden, tied = output(name="output")(hidden, tied)
    return Output(hidden, tied, heads)


def gather(hidden: jax.Array, at: jax.Array) -> jax.Array:
    """hidden [B, L, D] at positions int [B, P] -> [B, P, D]."""
    return jnp.take_along_axis(hidden, at[..., None], axis=1)
