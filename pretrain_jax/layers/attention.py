"""Multi-head attention (Vaswani et al. 2017): scores and softmax in float32.

A backend computes softmax(scale q k' + bias) v. It is a module with

    make_kernel_mask(mask)               the mask in the backend's own format, made once per stack
    unsupported_reason(mask, bias, q)    why it cannot compute this attention; "" if it can
    attend(q, k, v, kernel_mask, bias, causal, scale)  -> [B, L, H, K]

Keys and values [B, M, G, K] may have fewer heads than queries [B, L, H, K]: query head h = g R + r
shares key head g, with R = H / G (Ainslie et al. 2023).

All backends compute the same numbers up to rounding.

For generation, layers write to and read from three collections of variables, next to "params":

    NEW     the keys and values of the positions of this call, [B, G, L, K]; layers write them
    PAST    those of earlier positions, by slot, [B, G, S, K]; layers read them
    KEPT    what stays the same from call to call, such as the keys and values of the memory

The caller copies NEW into PAST (inference/decoding.py). A layer writes only to collections that
the caller makes mutable, so training writes nothing.
"""

import logging
from collections.abc import Callable
from functools import cache
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from pretrain_jax import registry
from pretrain_jax.layers import attention_cpu, attention_gpu, attention_plain, attention_tpu
from pretrain_jax.layers.axes import constrain, with_axes
from pretrain_jax.layers.context import Context
from pretrain_jax.layers.dense import add_bias
from pretrain_jax.layers.factories import Factory
from pretrain_jax.layers.masks import PastMask
from pretrain_jax.layers.positions import rotate, shift_distances, take_distances

log = logging.getLogger(__name__)
PAST, NEW, KEPT = CACHES = ("past", "new", "kept")
BACKENDS: dict[str, Any] = {
    "plain": attention_plain,
    "cpu": attention_cpu,
    "gpu": attention_gpu,
    "tpu": attention_tpu,
}


def choose_backend(platform: str = "", *, attention_backend: str = "auto") -> str:
    """A key of BACKENDS.

    attention_backend: how attention is computed: "auto" = the backend of the platform; "plain" and
        "cpu" run on every platform, "gpu" (cuDNN) only on GPUs and "tpu" (Pallas) only on TPUs
    """
    legal = ["auto", "plain", "cpu", *({platform} & {"gpu", "tpu"})]
    registry.check_name(attention_backend, legal, "model.attention_backend")
    if attention_backend != "auto":
        return attention_backend
    return platform if platform in BACKENDS else "plain"


class SelfAttention(nn.Module):
    """x [B, L, D] -> [B, L, D].

    `scale` multiplies q . k: 1/sqrt(K) in most models, 1 in T5. `dropout` acts on the attention
    probabilities. Rotary positions and position biases come from the context.
    """

    heads: int
    head_width: int
    scale: float
    dense: Factory
    dense_out: Factory
    dropout: Factory
    query_init: Any = None
    """Initializer of the query kernel, if not the one of `dense` (T5)."""
    kv_heads: int = 0
    """Heads of keys and values, which divide `heads`; 0 = heads."""

    @nn.compact
    def __call__(self, x: jax.Array, context: Context) -> jax.Array:
        q, k, v = self.project_query(x), self.project_in(x, "key"), self.project_in(x, "value")
        q, k, bias = self.add_positions(q, k, context)
        k, v = self.place_keys(k, v, context)
        if context.mask.attention != "full":  # an encoder's positions are never extended
            self.write(NEW, "keys", heads_first(k))
            self.write(NEW, "values", heads_first(v))
        if isinstance(context.mask, PastMask):
            past = self.get_variable(PAST, "keys"), self.get_variable(PAST, "values")
            parts, mask = [past, (heads_first(k), heads_first(v))], context.mask.dense()
            y = attention_plain.attend_cached(q, parts, mask, bias, self.scale)
        else:
            k, v = gather_keys(k), gather_keys(v)
            y = self.attend(context, (q, k, v), context.mask, context.kernel_mask, bias)
        return self.project_out(y, x.shape[-1])

    def write(self, collection: str, name: str, value: jax.Array) -> None:
        """Writes to a collection if the caller made it mutable; does nothing in `init`."""
        if not self.is_initializing():
            replace: Any = lambda _, new: new  # noqa: E731
            self.sow(collection, name, value, init_fn=lambda: None, reduce_fn=replace)

    def keep(self, name: str, compute: Callable[[], jax.Array]) -> jax.Array:
        """The value that an earlier call wrote to KEPT; otherwise computes and writes it."""
        if self.has_variable(KEPT, name):
            return self.get_variable(KEPT, name)
        value = compute()
        self.write(KEPT, name, value)
        return value

    def attend(
        self, context: Context, qkv: Any, mask: Any, kernel_mask: Any, bias: Any = None
    ) -> jax.Array:
        """Returns [B, L, H, K], computed by the context's backend.

        Falls back to the plain backend for what that backend does not support.
        """
        q, k, v = qkv
        drop = self.dropout(name="dropout", deterministic=not context.train)
        backend, causal = BACKENDS[context.attention_backend], mask.attention == "causal"
        dropped = context.train and drop.rate > 0
        reason = (
            "probabilities are dropped" if dropped else backend.unsupported_reason(mask, bias, q)
        )
        if reason or backend is attention_plain:  # the plain backend reads the mask itself
            log_fallback(context.attention_backend, reason)
            return attention_plain.attend(q, k, v, mask, bias, causal, self.scale, drop)
        return backend.attend(q, k, v, kernel_mask, bias, causal, self.scale)

    def add_positions(self, q: jax.Array, k: jax.Array, context: Context) -> tuple[Any, Any, Any]:
        """Returns q and k [B, L, H, K] with positions applied, and the bias of the scores."""
        if context.rotation is not None:
            q, k = rotate(q, *context.rotation), rotate(k, *context.rotation)
        return q, k, context.bias

    def place_keys(self, k: jax.Array, v: jax.Array, context: Context) -> tuple[Any, Any]:
        """Returns keys and values [B, L, G, K]; an adapter may set those of some places."""
        return k, v

    def project_query(self, x: jax.Array) -> jax.Array:
        """[B, L, D] -> [B, L, H, K]."""
        overrides = {} if self.query_init is None else {"kernel_init": self.query_init}
        return self.project_in(x, "query", self.heads, **overrides)

    def project_in(self, x: jax.Array, name: str, heads: int = 0, **overrides: Any) -> jax.Array:
        """[B, L, D] -> [B, L, heads, K]; `overrides` are arguments of `dense`.

        heads: 0 = those of keys and values. All heads share one axis name, so that a mesh splits
        queries and the keys that they share in the same way.
        """
        heads = heads or self.kv_heads or self.heads
        outputs, axes = (heads, self.head_width), ("width", "heads", "head_width")
        y = self.dense(inputs=x.shape[-1:], outputs=outputs, axes=axes, name=name, **overrides)(x)
        return constrain(y, "batch", "length", "heads", "head_width")

    def project_out(self, y: jax.Array, width: int) -> jax.Array:
        """[B, L, H, K] -> [B, L, D]."""
        inputs, axes = (self.heads, self.head_width), ("heads", "head_width", "width")
        return self.dense_out(inputs=inputs, outputs=(width,), axes=axes, name="out")(y)


def heads_first(x_BLHK: jax.Array) -> jax.Array:
    """[B, L, G, K] -> [B, G, L, K]: the layout of caches."""
    return jnp.swapaxes(x_BLHK, 1, 2)


def gather_keys(keys_BMHK: jax.Array) -> jax.Array:
    """Gathers keys or values of all positions.

    When devices share a row, each has only its own queries but needs all keys and values.
    """
    return constrain(keys_BMHK, "batch", "keys", "heads", "head_width")


@cache
def log_fallback(backend: str, reason: str) -> None:
    """Logs once that the plain backend replaces another one, and why."""
    if backend != "plain":
        log.info("attention uses the plain backend, not the %s one: %s", backend.upper(), reason)


class CrossAttention(SelfAttention):
    """x [B, L, D] attends to the context's memory [B, M, D] -> [B, L, D].

    The output is zero for a query that may attend to nothing (padding, or an example without
    memory).
    """

    @nn.compact
    def __call__(self, x: jax.Array, context: Context) -> jax.Array:
        mask, memory = context.memory_mask, context.memory
        cached = isinstance(context.mask, PastMask)
        if mask is None or (memory is None and not cached):
            raise ValueError(
                "CrossAttention needs context.memory and context.memory_mask; received None. "
                "Use it in the decoder of an EncoderDecoder"
            )
        q = self.project_query(x)
        if memory is None:
            part = self.get_variable(KEPT, "keys"), self.get_variable(KEPT, "values")
            y = attention_plain.attend_cached(q, [part], mask.visible(), None, self.scale)
        else:
            k, v = (self.project_in(memory, name) for name in ("key", "value"))
            self.write(KEPT, "keys", heads_first(k))
            self.write(KEPT, "values", heads_first(v))
            qkv = q, gather_keys(k), gather_keys(v)
            y = self.attend(context, qkv, mask, context.memory_kernel_mask)
        return self.project_out(jnp.where(mask.empty_queries()[..., None, None], 0, y), x.shape[-1])


class RelativeAttention(SelfAttention):
    """Self attention with Transformer-XL's relative positions (Dai et al. 2019, section 3.3).

    score(i, j) = scale x ((q_i + u) . k_j + (q_i + v) . W r_(i-j)), with vectors u, v [H, K] and
    a projection W [D, H, K] of the distances' sinusoids in every layer. Attention must be causal,
    because distances are never negative. Gopher and Chinchilla use it.
    """

    def add_positions(self, q: jax.Array, k: jax.Array, context: Context) -> tuple[Any, Any, Any]:
        if context.distances is None:
            raise ValueError(
                "RelativeAttention needs context.distances; received None. "
                "Add positions.Distances to the model's positions"
            )
        shape, axes = (self.heads, self.head_width), ("heads", "head_width")
        zeros = with_axes(nn.initializers.zeros, *axes)
        content = self.param("content_bias", zeros, shape)
        position = self.param("position_bias", zeros, shape)
        mask, distances = context.mask, context.distances[None]
        r_DHK = self.keep(
            "r", lambda: self.project_in(distances, "distances", self.heads, bias=False)[0]
        )
        # A call that fills a cache keeps the distances of all its slots, and uses those of its own.
        r_DHK = r_DHK if isinstance(mask, PastMask) else r_DHK[: q.shape[1]]
        q_position = add_bias(q, position) * self.scale
        by_distance = jnp.einsum("blhk,dhk->bhld", q_position, r_DHK)
        if isinstance(mask, PastMask):
            bias = take_distances(by_distance, mask.distances())
        else:
            bias = shift_distances(by_distance)
        return add_bias(q, content), k, bias
