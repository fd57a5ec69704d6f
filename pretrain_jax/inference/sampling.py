"""Samples a continuation of a prompt.

Simple and slow: every token runs the model over the full window, without a cache. It only needs the
model's `apply`, so it works for every single-stack decoder, causal or prefix, on any mesh.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pretrain_jax import losses, seeds
from pretrain_jax.step import Program


def sample(
    params: Any,
    program: Program,
    prompt: np.ndarray,
    tokens: int,
    *,
    ids: int,
    window: int,
    rows: int = 1,
    seed: int = 0,
    temperature: float = 1.0,
    top_k: int = 0,
    prefix: bool = False,
) -> np.ndarray:
    """int32 [tokens] sampled after `prompt` int32 [n].

    ids: number of the tokenizer's ids; the model may have more.
    window: sequence length of the model; beyond it, the oldest tokens are dropped.
    rows: identical rows that run together, because a batch must divide over the mesh.
    temperature: 0 takes the likeliest token.
    top_k: samples among the k likeliest ids; 0 = all.
    prefix: whether the prompt is a prefix, with full attention within it.
    """
    kept = np.asarray(prompt, np.int32)[-(window - 1) :]
    start = np.zeros(window, np.int32)
    start[: len(kept)] = kept
    sampled = _sample_tokens(
        params,
        jnp.asarray(start),
        len(kept),
        seeds.random_key(seed),
        jnp.float32(temperature),
        program=program,
        tokens=tokens,
        ids=ids,
        rows=rows,
        top_k=min(top_k, ids),
        prefix=prefix,
    )
    return np.asarray(sampled)


@partial(jax.jit, static_argnames=("program", "tokens", "ids", "rows", "top_k", "prefix"))
def _sample_tokens(
    params, start, length, key, temperature, *, program, tokens, ids, rows, top_k, prefix
):
    """`sample` for a padded prompt `start` int32 [window] of `length` tokens."""
    window = start.shape[0]
    positions = jnp.broadcast_to(jnp.arange(window), (rows, window))

    def next_token(carry, number):
        text, length, prefix_length = carry
        batch = {
            "tokens": jnp.broadcast_to(text, (rows, window)),
            "segments": jnp.ones((rows, window), jnp.int32),
            "positions": positions,
        }
        if prefix:
            batch["prefix"] = positions < prefix_length
        output = program.apply(params, batch, jax.random.key(0), False)
        last = output.hidden[:1, length - 1]
        logits = losses.compute_logits(last, output.readout)[0, :ids]
        if top_k:
            least = jax.lax.top_k(logits, top_k)[0][-1]
            logits = jnp.where(logits < least, -jnp.inf, logits)
        drawn = jax.random.categorical(
            jax.random.fold_in(key, number), logits / jnp.maximum(temperature, 1e-6)
        )
        token = jnp.where(temperature > 0, drawn, jnp.argmax(logits)).astype(jnp.int32)
        full = length == window
        text = jnp.where(full, jnp.roll(text, -1), text)
        length = jnp.where(full, length - 1, length)
        prefix_length = jnp.where(full, prefix_length - 1, prefix_length)
        return (text.at[length].set(token), length + 1, prefix_length), token

    carry = (start, jnp.int32(length), jnp.int32(length))
    _, sampled = jax.lax.scan(next_token, carry, jnp.arange(tokens))
    return sampled
