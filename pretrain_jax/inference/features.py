"""Hidden states of texts, layer by layer."""

from collections.abc import Sequence
from functools import partial
from typing import Any

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
    stream = "memory_segments" if "memory_segments" in batch else "segments"
    _, written = decoder.apply_cached(params, batch, {}, ("intermediates",), capture=is_layer)
    outputs = layer_outputs(written["intermediates"])
    return pool(outputs[pick_layer(layer, len(outputs))], batch[stream], pooling)


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


def pool(hidden: jax.Array, segments: jax.Array, pooling: str) -> jax.Array:
    """float32 [B, D] of hidden states [B, L, D]: the mean over the tokens of a row, special ones
    included, or its first or last token."""
    registry.check_name(pooling, POOLINGS, "pooling")
    hidden, inside = hidden.astype(jnp.float32), segments > 0
    if pooling == "first":
        return hidden[:, 0]
    count = inside.sum(axis=1)
    if pooling == "last":
        return jnp.take_along_axis(hidden, (count - 1)[:, None, None], axis=1)[:, 0]
    return jnp.where(inside[..., None], hidden, 0).sum(axis=1) / count[:, None]


def to_rows_of_ids(ids: Any, size: int | None, stream: str = "") -> dict[str, np.ndarray]:
    """The fields of rows of ids, int [B, L], without padding. Raises ConfigError unless all rows
    have one length, and for an id outside a vocabulary of `size` tokens.

    size: None checks no ids. stream: "memory_" for the memory's fields.
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
    return {
        f"{stream}tokens": tokens,
        f"{stream}segments": np.ones_like(tokens),
        f"{stream}positions": np.broadcast_to(
            np.arange(tokens.shape[1], dtype=np.int32), tokens.shape
        ),
    }
