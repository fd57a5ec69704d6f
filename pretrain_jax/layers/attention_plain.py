"""Attention in the plain form: for any device, mask, bias and dtype, and with dropout."""

from typing import Any

import jax
import jax.numpy as jnp

from pretrain_jax.layers.masks import CrossMask, Mask


def view(mask: Mask | CrossMask) -> Mask | CrossMask:
    """The mask as it stands: compared where it is used, it is fused and takes no memory."""
    return mask


def refusal(mask: Mask | CrossMask, bias: jax.Array | None, q_BLHK: jax.Array) -> str:
    """Nothing is refused."""
    return ""


def attend(
    q_BLHK: jax.Array,
    k_BMHK: jax.Array,
    v_BMHK: jax.Array,
    view: Mask | CrossMask,
    bias: jax.Array | None = None,
    causal: bool = False,
    scale: float = 1.0,
    drop: Any = lambda p: p,
) -> jax.Array:
    """softmax(scale q k' + bias, where seen) v: [B, L, H, K].

    The bias is [H, L, M] (T5's) or [B, H, L, M] (Transformer-XL's). drop: of probabilities.
    Masked probabilities are exactly 0, so a packed row gives each of its examples what it would
    get alone.
    """
    scores = jnp.einsum("blhk,bmhk->bhlm", q_BLHK, k_BMHK, preferred_element_type=jnp.float32)
    scores = scores * scale
    if bias is not None:
        scores = scores + bias
    scores = jnp.where(view.seen(), scores, -jnp.inf)
    probabilities = drop(jax.nn.softmax(scores, axis=-1).astype(v_BMHK.dtype))
    return jnp.einsum("bhlm,bmhk->blhk", probabilities, v_BMHK)
