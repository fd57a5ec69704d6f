"""Token embeddings, and the read-out back to the vocabulary."""

from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import struct

from pretrain_jax.layers.axes import constrain, named, ways
from pretrain_jax.layers.makers import Maker
from pretrain_jax.layers.positions import sines

VOCABULARY_MULTIPLE = 128
"""Rows of the vocabulary matrices are padded to this, for the hardware and for the mesh."""


def padded_size(vocab_size: int, multiple: int = VOCABULARY_MULTIPLE) -> int:
    """The next multiple of 128: 50257 -> 50304."""
    return -(-vocab_size // multiple) * multiple


def padded_rows(init: Any, rows: int) -> Any:
    """`init` for the true rows, zeros below: the padding takes no part in anything."""

    def initialise(key, shape, dtype=jnp.float32):
        true = init(key, (rows, *shape[1:]), dtype)
        return jnp.pad(true, ((0, shape[0] - rows), *((0, 0) for _ in shape[1:])))

    return initialise


class Readout(struct.PyTreeNode):
    """How hidden states [.., D] become logits [.., V]; losses.py multiplies, chunk by chunk."""

    table: jax.Array
    """[V padded, D], of which the first `vocab_size` rows count."""
    bias: jax.Array | None
    scale: float = struct.field(pytree_node=False)
    vocab_size: int = struct.field(pytree_node=False)
    shards: int = struct.field(pytree_node=False, default=1)
    """Into how many parts the logits are split over the mesh."""
    z_loss: float = struct.field(pytree_node=False, default=0.0)
    """The coefficient of (log Z)^2 beside the nats: one reading gives the gradient of both."""


def table(
    module: nn.Module, name: str, init: Any, vocab_size: int, rows: int, width: int
) -> jax.Array:
    """The parameter `name` [rows, width] of `module`; its first `vocab_size` rows count."""
    filled = named(padded_rows(init, vocab_size), "vocabulary", "width")
    return module.param(name, filled, (rows, width), jnp.float32)


class Embedding(nn.Module):
    """tokens, positions, types int32 [B, L] -> [B, L, D].

    The sum of a token's row (times `scale`), its position's, learned or sinusoidal, and its segment
    type's, as far as there are such tables, then the norm and dropout.
    """

    vocab_size: int
    width: int
    table_init: Any
    scale: float = 1.0
    """sqrt(D) in the 2017 Transformer."""
    max_length: int = 0
    """Learned positions; 0 = none."""
    first_position: int = 0
    """Rows of the position table that stand before position 0 (RoBERTa: 2)."""
    position_init: Any = None
    sinusoidal: bool = False
    """Fixed sines and cosines instead of learned positions (Vaswani et al. 2017, section 3.5)."""
    types: int = 0
    """Rows of the table of segment types; batches without `types` are all of type 0."""
    norm: Maker | None = None
    dropout: float = 0.0
    dtype: Any = jnp.float32
    multiple: int = VOCABULARY_MULTIPLE

    def setup(self):
        self.drop = nn.Dropout(self.dropout)
        rows = padded_size(self.vocab_size, self.multiple)
        self.tokens = table(self, "tokens", self.table_init, self.vocab_size, rows, self.width)
        if self.max_length:
            init = named(self.position_init, "positions", "width")
            shape = (self.first_position + self.max_length, self.width)
            self.positions = self.param("positions", init, shape, jnp.float32)
        if self.types:
            init = named(self.table_init, "types", "width")
            self.segment_types = self.param("types", init, (self.types, self.width), jnp.float32)
        if self.norm is not None:
            self.embedding_norm = self.norm(name="norm")

    def __call__(
        self,
        tokens: jax.Array,
        positions: jax.Array,
        train: bool,
        types: jax.Array | None = None,
    ) -> jax.Array:
        x: Any = look_up(self.tokens, tokens, "vocabulary", self.dtype)
        x = x * self.scale
        if self.max_length:
            places = positions + self.first_position
            x = x + look_up(self.positions, places, "positions", self.dtype)
        if self.sinusoidal:
            x = x + sines(positions, self.width).astype(self.dtype)
        if self.types:
            kinds = jnp.zeros_like(tokens) if types is None else types
            x = x + look_up(self.segment_types, kinds, "types", self.dtype)
        if self.norm is not None:
            x = self.embedding_norm(x)
        return constrain(self.drop(x, deterministic=not train), "batch", "length", "hidden")

    def readout(self) -> Readout:
        """The same table, read backwards (Press and Wolf 2017)."""
        return Readout(self.tokens, None, 1.0, self.vocab_size, ways("batch", "vocabulary"))


FEW_ROWS = 514
"""Up to so many rows, the gradient of a table is a product with one-hot rows: a scatter of rows
that are hit many times over is slow, and on GPU its order is not fixed."""


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def look_up(table: jax.Array, rows: jax.Array, axis: str, dtype: Any) -> jax.Array:
    """Rows of a table whose first axis is called `axis`: [V, D], int [B, L] -> [B, L, D].

    The table is brought together along its width first: the rows that come out are split by batch
    and not by width, and without this the compiler would copy all of them everywhere.

    Its gradient is summed up in the table's own dtype: in bfloat16 a sum of ones ends at 256, and
    a frequent token occurs more often than that in a batch.
    """
    whole = constrain(table.astype(dtype), axis, "hidden")
    return constrain(jnp.take(whole, rows, axis=0), "batch", "length", "hidden")


def _look_up_backward(
    axis: str, dtype: Any, saved: tuple[jax.Array, jax.Array], g_BLD: jax.Array
) -> tuple[jax.Array, None]:
    table, rows = saved
    g_BLD = constrain(g_BLD, "batch", "length", "hidden")
    g, at = g_BLD.reshape(-1, table.shape[-1]), rows.reshape(-1)
    if len(table) <= FEW_ROWS:
        hits = jax.nn.one_hot(at, len(table), dtype=g.dtype, axis=0)
        d_table = jnp.matmul(hits, g, preferred_element_type=table.dtype)
    else:
        d_table = jnp.zeros_like(table).at[at].add(g.astype(table.dtype))
    return constrain(d_table, axis, "hidden"), None


look_up.defvjp(
    lambda table, rows, axis, dtype: (look_up(table, rows, axis, dtype), (table, rows)),
    _look_up_backward,
)
