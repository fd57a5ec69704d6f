"""Hidden states of texts, layer by layer, and logits of ids."""

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from pretrain_jax import losses, registry
from pretrain_jax.errors import ConfigError
from pretrain_jax.inference.decoding import Decoder, divide, to_rows
from pretrain_jax.inference.generation import Generator, Prompt
from pretrain_jax.layers.block import Block
from pretrain_jax.layers.stacks import LAYERS, Stack

if TYPE_CHECKING:
    from pretrain_jax.inference.trained_model import TrainedModel

POOLINGS = ("mean", "first", "last")
READERS = ("encoder", "discriminator/stack", "stack", "decoder")
"""Paths of the stack that reads a text, the first that a model has: the encoder of an
encoder-decoder (with shared layers, its decoder's), and ELECTRA's discriminator."""


def is_layer(module: nn.Module, method: str) -> bool:
    """Whether a module's output is a layer's or a stack's."""
    return isinstance(module, (Block, Stack)) and method == "__call__"


@partial(jax.jit, static_argnames=("decoder", "layer", "pooling"))
def embed_rows(params: Any, batch: Any, *, decoder: Decoder, layer: int, pooling: str) -> jax.Array:
    """float32 [B, D] of the rows of a batch: the output of a layer, pooled.

    layer: see `pick_layer`. pooling: one of POOLINGS. Raises ConfigError.
    """
    stream = "memory_" if "memory_segments" in batch else ""
    # The places of an adapter, with negative ids, are no tokens of the text.
    inside = (batch[f"{stream}segments"] > 0) & (batch[f"{stream}tokens"] >= 0)
    _, written = decoder.apply_cached(params, batch, {}, ("intermediates",), capture=is_layer)
    outputs = layer_outputs(written["intermediates"])
    return pool(outputs[pick_layer(layer, len(outputs))], inside, pooling)


def embed(
    generator: Generator, rows: Sequence[Prompt], width: int, batch_size: int, **how: Any
) -> np.ndarray:
    """float32 [N, D] of the rows that a model reads of texts. how: layer and pooling of
    `embed_rows`."""
    size, parts = divide(len(rows), batch_size, generator.ways)
    vectors = []
    for part in parts:
        batch = to_rows(rows[part], size, generator.context)
        made = embed_rows(generator.params, batch, decoder=generator.decoder, **how)
        vectors.append(generator.to_host(made)[: len(rows[part])])
    return np.concatenate(vectors) if vectors else np.zeros((0, width), np.float32)


def logits(model: "TrainedModel", ids: Any, memory: Any, types: Any) -> np.ndarray:
    """See `TrainedModel.logits`."""
    model.check_predicts_tokens()
    size, adapter, objective = model.tokenizer.size, model.design.model.adapter, model.objective
    in_memory = adapter.in_memory and "memory_tokens" in objective.fields
    before, first = (0, adapter.places) if in_memory else (adapter.places, 0)
    batch = to_rows_of_ids(ids, size, places=before)
    model.check_lengths([batch["tokens"].shape[1]])
    if (memory is None) == ("memory_tokens" in objective.fields):
        raise ConfigError(
            "memory is what an encoder-decoder reads, and only it; this model is "
            f"{model.family}. {'Pass' if memory is None else 'Leave out'} memory"
        )
    if memory is not None:
        batch |= to_rows_of_ids(memory, size, "memory_", first)
    if types is not None:
        given = to_rows_of_ids(types, None)["tokens"]
        batch["types"] = np.pad(given, ((0, 0), (before, 0)))
    method, decoder = objective.model_methods[0], model.generator.decoder
    made = compute_logits(model.generator.params, batch, decoder=decoder, method=method)
    return model.generator.to_host(made)[:, before:]


@partial(jax.jit, static_argnames=("decoder", "method"))
def compute_logits(params: Any, batch: Any, *, decoder: Decoder, method: str) -> jax.Array:
    """float32 [B, L, V] at every position of the rows of a batch."""
    output, _ = decoder.apply_cached(params, batch, {}, (), method=method)
    return losses.output_logits(output)


def layer_outputs(captured: Any) -> list[jax.Array]:
    """The output [B, L, D] of each layer of the stack that reads a text, then that of the stack.

    captured: the collection "intermediates" of a model with separate layers.
    """
    for path in READERS:
        stack = captured
        for name in path.split("/"):
            stack = stack.get(name, {})
        if stack:
            break
    else:
        raise ConfigError("hidden states need a model of Blocks in a Stack; this one has none")
    # A stack that runs twice, as shared layers do, reads the text first.
    layers = [name for name in stack if name.startswith(f"{LAYERS}_")]
    blocks = [stack[f"{LAYERS}_{i}"]["__call__"][0][0] for i in range(len(layers))]
    return [*blocks, stack["__call__"][0]]


def pick_layer(layer: int, count: int) -> int:
    """The index of a layer, from 0, or from the end if negative. Raises ConfigError.

    count: outputs of `layer_outputs`; the last is that of the final norm, which -1 names.
    """
    if not -count <= layer < count:
        raise ConfigError(
            f"layer must be 0 .. {count - 2} for the output of a block, or -1 for that of the "
            f"stack after its final norm; received {layer}"
        )
    return layer % count


def pool(hidden: jax.Array, inside: jax.Array, pooling: str) -> jax.Array:
    """float32 [B, D] of hidden states [B, L, D]: the mean over the tokens of a row, special ones
    included, or its first or last token. inside: bool [B, L], which positions are tokens."""
    registry.check_name(pooling, POOLINGS, "pooling")
    hidden = hidden.astype(jnp.float32)
    if pooling == "mean":
        total = jnp.where(inside[..., None], hidden, 0).sum(axis=1)
        return total / inside.sum(axis=1)[:, None]
    first = jnp.argmax(inside, axis=1)
    at = first if pooling == "first" else first + inside.sum(axis=1) - 1
    return jnp.take_along_axis(hidden, at[:, None, None], axis=1)[:, 0]


def to_rows_of_ids(
    ids: Any, size: int | None, stream: str = "", places: int = 0
) -> dict[str, np.ndarray]:
    """The fields of rows of ids, int [B, L], without padding. Raises ConfigError unless all rows
    have one length, and for an id outside a vocabulary of `size` tokens.

    size: None checks no ids. stream: "memory_" for the memory's fields. places: those of an adapter
    at the beginning of each row (objectives/_places.py).
    """
    rows = [np.asarray(row, np.int32) for row in ids]
    lengths = {row.shape for row in rows}
    if len(lengths) != 1 or rows[0].ndim != 1 or not rows[0].size:
        raise ConfigError(
            "ids must be rows of one length, [B, L], with at least one row and one id; received "
            f"{len(rows)} rows of the shapes {', '.join(map(str, sorted(lengths))) or 'none'}"
        )
    tokens = np.stack(rows)
    if size is not None and not 0 <= tokens.min() <= tokens.max() < size:
        raise ConfigError(
            f"ids must be 0 .. {size - 1}, those of the vocabulary; received "
            f"{tokens.min()} .. {tokens.max()}"
        )
    before = np.broadcast_to(-1 - np.arange(places, dtype=np.int32), (len(tokens), places))
    tokens = np.concatenate([before, tokens], axis=1)
    return {
        f"{stream}tokens": tokens,
        f"{stream}segments": np.ones_like(tokens),
        f"{stream}positions": np.broadcast_to(
            np.arange(tokens.shape[1], dtype=np.int32), tokens.shape
        ),
    }
