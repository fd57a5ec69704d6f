"""Multi-head attention (Vaswani et al. 2017): scores and softmax in float32.

How the products are computed is a form, a module with

    view(mask)                                  the mask as it wants it, made once for a stack
    refusal(mask, bias, q)                      what it cannot do of this, in words; "" if it can
    attend(q, k, v, view, bias, causal, scale)  [B, L, H, K]: softmax(scale q k' + bias) v

The numbers of all forms are the same but for rounding.
"""

import logging
from functools import cache
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from pretrain_jax.layers import attention_cpu, attention_gpu, attention_plain, attention_tpu
from pretrain_jax.layers.axes import constrain, named
from pretrain_jax.layers.context import Context
from pretrain_jax.layers.dense import add_bias
from pretrain_jax.layers.makers import Maker
from pretrain_jax.layers.positions import rotate, shift_distances

log = logging.getLogger(__name__)
FORMS: dict[str, Any] = {
    "plain": attention_plain,
    "cpu": attention_cpu,
    "gpu": attention_gpu,
    "tpu": attention_tpu,
}


class SelfAttention(nn.Module):
    """x [B, L, D] -> [B, L, D].

    `scale` multiplies q . k: 1/sqrt(K) nearly everywhere, 1 in T5. `dropout` acts on the
    attention probabilities. Rotary positions and position biases come with the context.
    """

    heads: int
    head_width: int
    scale: float
    dense: Maker
    dense_out: Maker
    dropout: Maker
    query_init: Any = None
    """First values of the queries' kernel where they are not those of `dense` (T5)."""

    @nn.compact
    def __call__(self, x: jax.Array, context: Context) -> jax.Array:
        q, k, v = self.project_query(x), self.project_in(x, "key"), self.project_in(x, "value")
        q, k, bias = self.place(q, k, context)
        k, v = whole(k), whole(v)
        y = self.look(context, (q, k, v), context.mask, context.view, bias)
        return self.project_out(y, x.shape[-1])

    def look(self, context: Context, qkv: Any, mask: Any, view: Any, bias: Any = None) -> jax.Array:
        """[B, L, H, K]: attention in the form of the context, or in the plain one where that form
        refuses what is asked of it."""
        q, k, v = qkv
        drop = self.dropout(name="dropout", deterministic=not context.train)
        form, causal = FORMS[context.form], mask.attention == "causal"
        dropped = context.train and drop.rate > 0
        why = "probabilities are dropped" if dropped else form.refusal(mask, bias, q)
        if why or form is attention_plain:  # which reads the mask itself, and needs no view
            instead(context.form, why)
            return attention_plain.attend(q, k, v, mask, bias, causal, self.scale, drop)
        return form.attend(q, k, v, view, bias, causal, self.scale)

    def place(self, q: jax.Array, k: jax.Array, context: Context) -> tuple[Any, Any, Any]:
        """Queries and keys [B, L, H, K] with positions in them, and what is added to the scores."""
        if context.rotation is not None:
            q, k = rotate(q, *context.rotation), rotate(k, *context.rotation)
        return q, k, context.bias

    def project_query(self, x: jax.Array) -> jax.Array:
        """[B, L, D] -> [B, L, H, K]."""
        own = {} if self.query_init is None else {"kernel_init": self.query_init}
        return self.project_in(x, "query", **own)

    def project_in(self, x: jax.Array, name: str, **more: Any) -> jax.Array:
        """[B, L, D] -> [B, L, H, K]."""
        outputs, axes = (self.heads, self.head_width), ("width", "heads", "head_width")
        y = self.dense(inputs=x.shape[-1:], outputs=outputs, axes=axes, name=name, **more)(x)
        return constrain(y, "batch", "length", "heads", "head_width")

    def project_out(self, y: jax.Array, width: int) -> jax.Array:
        """[B, L, H, K] -> [B, L, D]."""
        inputs, axes = (self.heads, self.head_width), ("heads", "head_width", "width")
        return self.dense_out(inputs=inputs, outputs=(width,), axes=axes, name="out")(y)


def whole(keys_BMHK: jax.Array) -> jax.Array:
    """Keys or values of all places: where devices share a row, each has queries of its own part
    and gathers these."""
    return constrain(keys_BMHK, "batch", "keys", "heads", "head_width")


@cache
def instead(form: str, why: str) -> None:
    """Says once that attention is computed in the plain form and not in another, and why."""
    if form != "plain":
        log.info("attention in the plain form instead of that for %s: %s", form.upper(), why)


class CrossAttention(SelfAttention):
    """x [B, L, D], whose queries read the context's memory [B, M, D] -> [B, L, D].

    A query that may look at nothing (padding, or an example without memory) reads zeros.
    """

    @nn.compact
    def __call__(self, x: jax.Array, context: Context) -> jax.Array:
        if context.memory is None or context.memory_mask is None:
            raise ValueError("CrossAttention reads context.memory; it belongs in an EncoderDecoder")
        q = self.project_query(x)
        k, v = (whole(self.project_in(context.memory, name)) for name in ("key", "value"))
        mask = context.memory_mask
        y = self.look(context, (q, k, v), mask, context.memory_view)
        return self.project_out(jnp.where(mask.blind()[..., None, None], 0, y), x.shape[-1])


class RelativeAttention(SelfAttention):
    """Self attention with Transformer-XL's relative positions (Dai et al. 2019, section 3.3).

    score(i, j) = scale x ((q_i + u) . k_j + (q_i + v) . W r_(i-j)), with vectors u, v [H, K] and
    a projection W [D, H, K] of the distances' sinusoids in every layer. Causal attention alone:
    a distance is never negative. Gopher and Chinchilla use it.
    """

    def place(self, q: jax.Array, k: jax.Array, context: Context) -> tuple[Any, Any, Any]:
        if context.distances is None:
            raise ValueError("RelativeAttention reads context.distances; add layers.Distances")
        shape, axes = (self.heads, self.head_width), ("heads", "head_width")
        zeros = named(nn.initializers.zeros, *axes)
        content = self.param("content_bias", zeros, shape)
        position = self.param("position_bias", zeros, shape)
        r_DHK = self.project_in(context.distances[None], "distances", bias=False)[0]
        q_position = add_bias(q, position) * self.scale
        by_distance = jnp.einsum("blhk,dhk->bhld", q_position, r_DHK)
        return add_bias(q, content), k, shift_distances(by_distance)
