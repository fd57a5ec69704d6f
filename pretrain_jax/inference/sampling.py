"""Sampling a continuation, for people to read.

Plain and slow: every token runs the model over the whole window. It needs nothing but the model's
`apply`, so it works for any decoder in one stack, causal or with a prefix, on any mesh.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pretrain_jax import losses, seeds
from pretrain_jax.step import Program


def continuation(
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

    ids: ids that the tokenizer has; the model may have more.
    window: tokens the model sees at once (its sequence length); beyond it the oldest are dropped.
    rows: rows that run together, since a mesh wants its share of a batch; they are all the same.
    top_k: sample among the k likeliest of the ids there are; 0 = all.
    temperature: 0 takes the likeliest.
    prefix: whether the prompt is a prefix, all of which its tokens see.
    """
    kept = np.asarray(prompt, np.int32)[-(window - 1) :]
    start = np.zeros(window, np.int32)
    start[: len(kept)] = kept
    made = _sample(
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
    return np.asarray(made)


@partial(jax.jit, static_argnames=("program", "tokens", "ids", "rows", "top_k", "prefix"))
def _sample(params, start, length, key, temperature, *, program, tokens, ids, rows, top_k, prefix):
    window = start.shape[0]
    positions = jnp.broadcast_to(jnp.arange(window), (rows, window))

    def next_token(carry, number):
        text, length, seen = carry
        batch = {
            "tokens": jnp.broadcast_to(text, (rows, window)),
            "segments": jnp.ones((rows, window), jnp.int32),
            "positions": positions,
        }
        if prefix:
            batch["prefix"] = positions < seen
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
        seen = jnp.where(full, seen - 1, seen)
        return (text.at[length].set(token), length + 1, seen), token

    carry = (start, jnp.int32(length), jnp.int32(length))
    _, made = jax.lax.scan(next_token, carry, jnp.arange(tokens))
    return made
