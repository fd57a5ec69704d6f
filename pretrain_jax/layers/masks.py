"""Which positions a position may look at.

A mask stays structured until attention needs it, so that a fused kernel can take the structure;
`dense` gives the array. Two documents of three and two tokens in one causal row of five:

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

    attention: "causal" (no later position), "prefix" (causal, but every position of the prefix,
    with which a segment begins, is in view of its own segment) or "full".
    """

    segments: jax.Array
    """int32 [B, L]; positions of different segments never see one another; 0 = padding."""
    prefix: jax.Array | None
    """bool [B, L], for attention = "prefix" alone."""
    attention: str = struct.field(pytree_node=False)
    one_text: bool = struct.field(pytree_node=False, default=False)
    """Every row is one segment from end to end, so that nobody need compare them."""

    @property
    def by_order(self) -> bool:
        """Whether the order of the places alone says what is seen: "causal" says it all."""
        return self.one_text and self.attention == "causal"

    @property
    def keys(self) -> jax.Array:
        """int32 [B, L]: the segments of what is looked at."""
        return self.segments

    def added(self) -> jax.Array:
        """float32 [B, 1, L, L]: what to add to the scores, 0 where `dense` is true, else -inf.

        B is 1 where rows do not differ, as in `dense`.
        """
        return jnp.where(self.dense(), 0.0, -jnp.inf)

    def seen(self) -> jax.Array:
        """`dense`: here every query looks at something."""
        return self.dense()

    def dense(self) -> jax.Array:
        """bool [B, 1, L, L]: query i (third axis) may look at key j (fourth axis).

        Padding looks at padding, so that no row is empty and softmax never divides by zero.
        """
        length = self.segments.shape[1]
        order = jnp.arange(length)
        seen = order[:, None] >= order[None, :]
        if self.by_order:
            return seen[None, None]
        same = self.segments[:, :, None] == self.segments[:, None, :]
        if self.attention == "full":
            return same[:, None]
        if self.prefix is not None:
            seen = seen[None] | self.prefix[:, None, :]
        return (same & seen)[:, None]


class CrossMask(struct.PyTreeNode):
    """A stream's view of its memory: an example sees all of its own, and of no other.

    Two examples, with three and one tokens of memory and two and one of stream, then padding:

    segments = [1, 1, 2, 0], memory_segments = [1, 1, 1, 2, 0]     dense = 1 1 1 0 0
                                                                           1 1 1 0 0
                                                                           0 0 0 1 0
                                                                           0 0 0 0 0
    """

    segments: jax.Array
    """int32 [B, L] of the stream; 0 = padding."""
    memory_segments: jax.Array
    """int32 [B, M], numbered alike."""
    attention: ClassVar[str] = "full"
    by_order: ClassVar[bool] = False

    @property
    def keys(self) -> jax.Array:
        """int32 [B, M]: the segments of what is looked at."""
        return self.memory_segments

    def dense(self) -> jax.Array:
        """bool [B, 1, L, M]: query i of the stream may look at key j of the memory.

        Padding sees nothing and is not seen, so that rows may be empty.
        """
        query, key = self.segments[:, :, None], self.memory_segments[:, None, :]
        return ((query == key) & (key > 0))[:, None]

    def blind(self) -> jax.Array:
        """bool [B, L]: queries that may look at nothing."""
        return ~self.dense().any(axis=(1, 3))

    def seen(self) -> jax.Array:
        """bool [B, 1, L, M]: `dense`, but a blind query looks everywhere, to be forgotten later:
        the softmax of nothing is no number."""
        return self.dense() | self.blind()[:, None, :, None]

    def added(self) -> jax.Array:
        """float32 [B, 1, L, M]: what to add to the scores, 0 where `seen` is true, else -inf."""
        return jnp.where(self.seen(), 0.0, -jnp.inf)
