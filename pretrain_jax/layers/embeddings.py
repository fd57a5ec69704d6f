"""Token embeddings, and the read-out: the output projection to the vocabulary."""

from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import struct

from pretrain_jax.layers.axes import constrain, num_shards, with_axes
from pretrain_jax.layers.factories import Factory
from pretrain_jax.layers.positions import sinusoids
from pretrain_jax.rounding import round_up

VOCABULARY_MULTIPLE = 128
"""Vocabulary matrices have a multiple of this many rows, for the hardware and for the mesh."""


def padded_size(vocab_size: int, pad_vocab_to: int = VOCABULARY_MULTIPLE) -> int:
    """Rounds up to a multiple of `pad_vocab_to`: padded_size(50257) is 50304."""
    return round_up(vocab_size, pad_vocab_to)


def padded_rows(init: Any, rows: int) -> Any:
    """Returns an initializer: `init` for the first `rows` rows, zeros for the rows after them."""

    def initialise(key, shape, dtype=jnp.float32):
        values = init(key, (rows, *shape[1:]), dtype)
        return jnp.pad(values, ((0, shape[0] - rows), *((0, 0) for _ in shape[1:])))

    return initialise


class Readout(struct.PyTreeNode):
    """Turns hidden states [.., D] into logits [.., V]; losses.py computes them chunk by chunk."""

    table: jax.Array
    """[V padded, D]; only the first `vocab_size` rows are used."""
    bias: jax.Array | None
    scale: float = struct.field(pytree_node=False)
    vocab_size: int = struct.field(pytree_node=False)
    shards: int = struct.field(pytree_node=False, default=1)
    """Number of shards of the logits over the mesh."""
    z_loss: float = struct.field(pytree_node=False, default=0.0)
    """Coefficient of (log Z)^2, added to the cross entropy: one pass computes both gradients."""


def vocabulary_matrix(
    module: nn.Module, name: str, init: Any, vocab_size: int, rows: int, width: int
) -> jax.Array:
    """Returns the parameter `name` [rows, width]; only its first `vocab_size` rows are used."""
    padded_init = with_axes(padded_rows(init, vocab_size), "vocabulary", "width")
    return module.param(name, padded_init, (rows, width), jnp.float32)


class Embedding(nn.Module):
    """tokens, positions, types int32 [B, L] -> [B, L, D].

    The sum of the token embedding (times `scale`) and, where configured, a learned or sinusoidal
    position embedding and a segment type embedding; then the norm and dropout.
    """

    vocab_size: int
    width: int
    table_init: Any
    scale: float = 1.0
    """sqrt(D) in the 2017 Transformer."""
    max_length: int = 0
    """Rows of the table of learned positions; 0 = no table."""
    first_position: int = 0
    """Unused rows of the position table before position 0 (RoBERTa: 2)."""
    position_init: Any = None
    sinusoidal: bool = False
    """Whether to add fixed sines and cosines (Vaswani et al. 2017, section 3.5)."""
    types: int = 0
    """Rows of the table of segment types; without `types` in the batch, every token has type 0."""
    norm: Factory | None = None
    dropout: float = 0.0
    dtype: Any = jnp.float32
    pad_vocab_to: int = VOCABULARY_MULTIPLE

    def setup(self):
        self.drop = nn.Dropout(self.dropout)
        rows = padded_size(self.vocab_size, self.pad_vocab_to)
        self.tokens = vocabulary_matrix(
            self, "tokens", self.table_init, self.vocab_size, rows, self.width
        )
        if self.max_length:
            init = with_axes(self.position_init, "positions", "width")
            shape = (self.first_position + self.max_length, self.width)
            self.positions = self.param("positions", init, shape, jnp.float32)
        if self.types:
            init = with_axes(self.table_init, "types", "width")
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
        x: Any = self.look_up_tokens(tokens) * self.scale
        if self.max_length:
            position_rows = positions + self.first_position
            x = x + look_up(self.positions, position_rows, "positions", self.dtype)
        if self.sinusoidal:
            x = x + sinusoids(positions, self.width).astype(self.dtype)
        if self.types:
            types = jnp.zeros_like(tokens) if types is None else types
            x = x + look_up(self.segment_types, types, "types", self.dtype)
        if self.norm is not None:
            x = self.embedding_norm(x)
        return constrain(self.drop(x, deterministic=not train), "batch", "length", "hidden")

    def look_up_tokens(self, tokens: jax.Array) -> jax.Array:
        """int32 [B, L] -> [B, L, D]."""
        return look_up(self.tokens, tokens, "vocabulary", self.dtype)

    def readout(self) -> Readout:
        """A read-out tied to the token embedding (Press and Wolf 2017)."""
        return Readout(self.tokens, None, 1.0, self.vocab_size, num_shards("batch", "vocabulary"))


MAX_ONE_HOT_ROWS = 514
"""The gradient of a table of at most this many rows is a product with one-hot rows: a scatter with
many hits per row is slow, and on GPUs its order is not deterministic."""


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def look_up(table: jax.Array, rows: jax.Array, axis: str, dtype: Any) -> jax.Array:
    """Takes rows of a table whose first axis is named `axis`: [V, D], int [B, L] -> [B, L, D].

    It first gathers the table along its width: the result is split by batch and not by width, and
    without this the compiler would replicate the result on every device.

    The table's gradient is summed in the table's own dtype: in bfloat16 a sum of ones stops at
    256, and a frequent token occurs more often than that in a batch.
    """
    full_width = constrain(table.astype(dtype), axis, "hidden")
    return constrain(jnp.take(full_width, rows, axis=0), "batch", "length", "hidden")


def _look_up_backward(
    axis: str, dtype: Any, saved: tuple[jax.Array, jax.Array], g_BLD: jax.Array
) -> tuple[jax.Array, None]:
    table, rows = saved
    g_BLD = constrain(g_BLD, "batch", "length", "hidden")
    g, at = g_BLD.reshape(-1, table.shape[-1]), rows.reshape(-1)
    if len(table) <= MAX_ONE_HOT_ROWS:
        hits = jax.nn.one_hot(at, len(table), dtype=g.dtype, axis=0)
        d_table = jnp.matmul(hits, g, preferred_element_type=table.dtype)
    else:
        d_table = jnp.zeros_like(table).at[at].add(g.astype(table.dtype))
    return constrain(d_table, axis, "hidden"), None


look_up.defvjp(
    lambda table, rows, axis, dtype: (look_up(table, rows, axis, dtype), (table, rows)),
    _look_up_backward,
)
