"""Attention masks: which positions a position may attend to.

A mask stays structured until attention uses it, so that a fused kernel can take the structure;
`dense` returns the array. Two documents of three and two tokens in one causal row of five:

    segments = [1, 1, 1, 2, 2]      dense = 1 0 0 0 0
                                            1 1 0 0 0
                                            1 1 1 0 0
                                            0 0 0 1 0
                                            0 0 0 1 1
"""

from typing import ClassVar

import jax
import jax.numpy as jnp
from flax import struct


class Mask(struct.PyTreeNode):
    """Self attention over one stream.

    attention: "causal" (no later position), "prefix" (causal, but all positions of a segment also
    see the whole prefix at its beginning) or "full".
    """

    segments: jax.Array
    """int32 [B, L]; positions of different segments never attend to one another; 0 = padding."""
    prefix: jax.Array | None
    """bool [B, L], only for attention="prefix"."""
    attention: str = struct.field(pytree_node=False)
    single_segment: bool = struct.field(pytree_node=False, default=False)
    """Whether every row is one segment from end to end, so that segments need no comparison."""

    @property
    def is_purely_causal(self) -> bool:
        """Whether the order of positions alone decides: causal attention over one segment."""
        return self.single_segment and self.attention == "causal"

    @property
    def keys(self) -> jax.Array:
        """int32 [B, L]: the segments of the keys."""
        return self.segments

    def additive(self) -> jax.Array:
        """float32 [B, 1, L, L] to add to the scores: 0 where `dense` is true, else -inf.

        B is 1 when all rows have the same mask, as in `dense`.
        """
        return jnp.where(self.dense(), 0.0, -jnp.inf)

    def visible(self) -> jax.Array:
        """Returns `dense`: in self attention no query is empty."""
        return self.dense()

    def dense(self) -> jax.Array:
        """bool [B, 1, L, L]: whether query i (third axis) may attend to key j (fourth axis).

        Padding attends to padding, so that no query is empty and softmax never divides by zero.
        """
        length = self.segments.shape[1]
        order = jnp.arange(length)
        earlier = order[:, None] >= order[None, :]
        if self.is_purely_causal:
            return earlier[None, None]
        same = self.segments[:, :, None] == self.segments[:, None, :]
        if self.attention == "full":
            return same[:, None]
        if self.prefix is not None:
            earlier = earlier[None] | self.prefix[:, None, :]
        return (same & earlier)[:, None]


class CrossMask(struct.PyTreeNode):
    """Cross attention from a stream to its memory: each example sees all of its own memory only.

    The first example has three tokens of memory and two of the stream, the second has one of each,
    and padding follows:

        segments        = [1, 1, 2, 0]          dense = 1 1 1 0 0
        memory_segments = [1, 1, 1, 2, 0]               1 1 1 0 0
                                                        0 0 0 1 0
                                                        0 0 0 0 0
    """

    segments: jax.Array
    """int32 [B, L] of the stream; 0 = padding."""
    memory_segments: jax.Array
    """int32 [B, M], with the same numbers."""
    attention: ClassVar[str] = "full"
    is_purely_causal: ClassVar[bool] = False

    @property
    def keys(self) -> jax.Array:
        """int32 [B, M]: the segments of the keys."""
        return self.memory_segments

    def dense(self) -> jax.Array:
        """bool [B, 1, L, M]: whether query i of the stream may attend to key j of the memory.

        Padding attends to nothing and nothing attends to it, so queries may be empty.
        """
        query, key = self.segments[:, :, None], self.memory_segments[:, None, :]
        return ((query == key) & (key > 0))[:, None]

    def empty_queries(self) -> jax.Array:
        """bool [B, L]: queries that may attend to nothing."""
        return ~self.dense().any(axis=(1, 3))

    def visible(self) -> jax.Array:
        """bool [B, 1, L, M]: `dense`, but empty queries attend everywhere.

        Softmax over nothing is NaN; CrossAttention sets the output of empty queries to zero later.
        """
        return self.dense() | self.empty_queries()[:, None, :, None]

    def additive(self) -> jax.Array:
        """float32 [B, 1, L, M] to add to the scores: 0 where `visible` is true, else -inf."""
        return jnp.where(self.visible(), 0.0, -jnp.inf)


class PastMask(struct.PyTreeNode):
    """Causal attention of new positions to a cache of earlier ones, and to one another.

    Slot s of the cache holds position s of the row, so slots from the first new position on are
    empty. A cache of five slots, and two new positions after three earlier ones:

        positions = [3, 4]      dense = 1 1 1 0 0  1 0
                                        1 1 1 0 0  1 1
    """

    positions: jax.Array
    """int32 [B, N], consecutive in each row."""
    slots: int = struct.field(pytree_node=False)
    """S, the number of slots."""
    attention: ClassVar[str] = "causal"

    def distances(self) -> jax.Array:
        """int32 [B, N, S + N]: the position of each query minus that of each key."""
        slots = jnp.broadcast_to(jnp.arange(self.slots), (len(self.positions), self.slots))
        keys = jnp.concatenate([slots, self.positions], axis=1)
        return self.positions[:, :, None] - keys[:, None, :]

    def dense(self) -> jax.Array:
        """bool [B, 1, N, S + N]: whether a new position may attend to each slot and new key."""
        count = self.positions.shape[1]
        filled = jnp.arange(self.slots) < self.positions[:, :1]
        past = jnp.broadcast_to(filled[:, None], (*self.positions.shape, self.slots))
        new = jnp.broadcast_to(jnp.tri(count, dtype=bool), (len(past), count, count))
        return jnp.concatenate([past, new], axis=-1)[:, None]
