"""Decoding with a cache: the keys and values of all earlier positions are kept, not recomputed.

    logits, cache = prefill(params, rows, decoder=decoder, slots=64)     all prompts at once
    logits, cache = step(params, cache, position, decoder)               one token of every row

Slot s of the cache holds position s of its row. Prompts are padded on the right, and every row
goes on at its own length. The prompts "a b c" and "a" with two more tokens each, in 6 slots:

    slots       0  1  2  3  4  5
    row 0       a  b  c  d  e  .
    row 1       a  d  e  .  .  .
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from pretrain_jax import losses
from pretrain_jax.layers.attention import KEPT, NEW, PAST
from pretrain_jax.rounding import round_up

SMALLEST = 32
"""Slots of the smallest cache, and tokens of the smallest padded prompt."""


@dataclass(frozen=True)
class Decoder:
    """The static part of inference: a program is compiled once for equal ones."""

    apply_cached: Callable[..., tuple[Any, dict[str, Any]]]
    """`composition.placement.Placement.apply_cached`."""
    ids: int
    """Ids of the tokenizer. The model may have more; these are never generated."""


class Cache(struct.PyTreeNode):
    """What decoding knows of B rows of S slots."""

    tokens: jax.Array
    """int32 [B, S]: the prompt and the tokens after it."""
    past: Any
    """Keys and values by layer, [B, G, S, K]; {} for a model without attention, which reads the
    row again for every token."""
    kept: Any
    """What stays the same: the keys and values of the memory, and Transformer-XL's distances."""
    memory: Mapping[str, jax.Array]
    """`memory_segments` [B, M] of an encoder-decoder."""


def bucket(length: int, limit: int = 0) -> int:
    """The padded length of a prompt, or the slots of a cache: 32, 48, 64, 96, 128, 192, ...

    Programs are compiled for these lengths only. limit: the largest length that is allowed; 0 for
    none.

    >>> bucket(20), bucket(33), bucket(100), bucket(100, limit=120)
    (32, 48, 128, 120)
    """
    size = SMALLEST
    while size < length:
        size = size * 3 // 2 if size & (size - 1) == 0 else size // 3 * 4
    return min(size, limit) if limit else size


def divide(count: int, batch_size: int, ways: int) -> tuple[int, list[slice]]:
    """The rows of every batch, and the part of `count` prompts that each has.

    ways: rows are a multiple of this, the parts into which a mesh splits a batch.

    >>> divide(5, 2, 1)
    (2, [slice(0, 2, None), slice(2, 4, None), slice(4, 5, None)])
    """
    size = round_up(max(min(batch_size, count), 1), ways)
    return size, [slice(first, min(first + size, count)) for first in range(0, count, size)]


def to_rows(
    prompts: Sequence[Mapping[str, np.ndarray]], rows: int, limit: int = 0
) -> dict[str, np.ndarray]:
    """The fields [rows, ...] of a batch with one prompt per row, padded on the right.

    prompts: fields of the contract without a batch axis: tokens [n], and memory_tokens or prefix.
    Rows without a prompt repeat the last one. limit: see `bucket`.
    """
    filled = [*prompts, *[prompts[-1]] * (rows - len(prompts))]
    batch: dict[str, np.ndarray] = {}
    for name in prompts[0]:
        stream = "memory_" if name.startswith("memory_") else ""
        lengths = np.array([len(prompt[name]) for prompt in filled])
        order = np.arange(bucket(int(lengths.max()), 0 if stream else limit))
        inside = order < lengths[:, None]
        values = np.zeros(inside.shape, prompts[0][name].dtype)
        values[inside] = np.concatenate([prompt[name] for prompt in filled])
        batch[name] = values
        batch[f"{stream}segments"] = inside.astype(np.int32)
        batch[f"{stream}positions"] = np.where(inside, order, 0).astype(np.int32)
    return batch


@partial(jax.jit, static_argnames=("decoder", "slots"))
def prefill(
    params: Any, batch: Mapping[str, jax.Array], *, decoder: Decoder, slots: int
) -> tuple[jax.Array, Cache]:
    """Reads the prompts of `to_rows`: the logits float32 [B, ids] after each, and the cache."""
    at = jnp.sum(batch["segments"], axis=1) - 1
    read = {**batch, "slots": jnp.arange(slots)}
    output, written = decoder.apply_cached(params, read, {}, (NEW, KEPT))
    cache = Cache(
        tokens=to_slots(batch["tokens"], slots, axis=-1),
        past=jax.tree.map(lambda x: to_slots(x, slots, axis=-2), written.get(NEW, {})),
        kept=written.get(KEPT, {}),
        memory={name: x for name, x in batch.items() if name == "memory_segments"},
    )
    return next_logits(output, at, decoder), cache


def step(
    params: Any, cache: Cache, position: jax.Array, decoder: Decoder
) -> tuple[jax.Array, Cache]:
    """Reads the token at `position` int32 [B] of each row: the logits float32 [B, ids] of the next
    token, and the cache with its keys and values."""
    slots = cache.tokens.shape[1]
    if not cache.past:
        return reread(params, cache, position, decoder), cache
    batch = {
        "tokens": jnp.take_along_axis(cache.tokens, position[:, None], axis=1),
        "positions": position[:, None],
        "slots": jnp.arange(slots),
        **cache.memory,
    }
    read = {PAST: cache.past, KEPT: cache.kept}
    output, written = decoder.apply_cached(params, batch, read, (NEW,))
    logits = next_logits(output, jnp.zeros_like(position), decoder)
    write = partial(write_slot, position=wait_for(logits, position))
    return logits, cache.replace(past=jax.tree.map(write, cache.past, written[NEW]))


def wait_for(logits: jax.Array, position: jax.Array) -> jax.Array:
    """`position` [B], as a number that depends on the logits [B, ids].

    What is written there is then written after all layers have read the cache, and in place.
    Without a dependency, XLA copies the cache of every layer to write one slot of the copy, also
    with an optimization barrier in between (docs/performance.md).
    """
    return jnp.where(jnp.isnan(logits[:, 0]), 0, position)


def reread(params: Any, cache: Cache, position: jax.Array, decoder: Decoder) -> jax.Array:
    """`step` of a model that keeps nothing: reads every row from its first token."""
    order = jnp.broadcast_to(jnp.arange(cache.tokens.shape[1]), cache.tokens.shape)
    inside = order <= position[:, None]
    batch = {
        "tokens": cache.tokens,
        "segments": inside.astype(jnp.int32),
        "positions": jnp.where(inside, order, 0),
    }
    output, _ = decoder.apply_cached(params, batch, {}, ())
    return next_logits(output, position, decoder)


def next_logits(output: Any, at: jax.Array, decoder: Decoder) -> jax.Array:
    """Logits float32 [B, ids] of the position `at` int32 [B] of each row."""
    hidden = jnp.take_along_axis(output.hidden, at[:, None, None], axis=1)[:, 0]
    return losses.compute_logits(hidden, output.readout)[:, : decoder.ids]


def to_slots(x: jax.Array, slots: int, axis: int) -> jax.Array:
    """`x`, extended to `slots` with zeros along an axis."""
    padding = [(0, 0)] * x.ndim
    padding[axis] = (0, slots - x.shape[axis])
    return jnp.pad(x, padding)


def write_slot(past: jax.Array, new: jax.Array, position: jax.Array) -> jax.Array:
    """`past` [..., B, G, S, K] with `new` [..., B, G, 1, K] at the slot `position` of each row."""

    def write(row: jax.Array, value: jax.Array, at: jax.Array) -> jax.Array:
        return jax.lax.dynamic_update_slice_in_dim(row, value.astype(row.dtype), at, axis=-2)

    return jax.vmap(write, in_axes=(-4, -4, 0), out_axes=past.ndim - 4)(past, new, position)
