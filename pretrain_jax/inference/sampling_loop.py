"""Draws the tokens of a batch of rows, one after another, on the device.

    state = begin(params, rows, ..., slots=64)     reads the prompts, draws the first token of each
    state = advance(params, state, 8, ...)         until there are 8 tokens, or all rows have ended

Both are compiled once for the shapes of a batch; how many tokens to draw is no part of a program.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from pretrain_jax.inference import sampling
from pretrain_jax.inference.decoding import Cache, Decoder, prefill, step
from pretrain_jax.inference.sampling import Filters, Strengths


class State(struct.PyTreeNode):
    """B rows while they are generated."""

    cache: Cache
    start: jax.Array
    """int32 [B]: the position of the first generated token."""
    position: jax.Array
    """int32 [B]: the position of the last generated token, which the model has not read yet."""
    last: jax.Array
    """int32 [B]: the position at which a row ends at the latest."""
    log_probabilities: jax.Array
    """float32 [B, S]: of the generated tokens, by slot."""
    ended: jax.Array
    """bool [B]."""
    keys: jax.Array
    """A random key per row."""
    count: jax.Array
    """int32 scalar: tokens generated for the rows that have not ended."""


STATIC = ("decoder", "filters", "end")


@partial(jax.jit, static_argnames=("slots", *STATIC))
def begin(
    params: Any,
    batch: Mapping[str, jax.Array],
    last: jax.Array,
    key: jax.Array,
    numbers: jax.Array,
    strengths: Strengths,
    *,
    slots: int,
    decoder: Decoder,
    filters: Filters,
    end: int | None,
) -> State:
    """Reads the prompts and draws the first token of each row.

    The draws of a row depend on the key and the row's number, int32 [B].
    """
    logits, cache = prefill(params, batch, decoder=decoder, slots=slots)
    start = jnp.sum(batch["segments"], axis=1)
    state = State(
        cache=cache,
        start=start,
        position=start - 1,
        last=last,
        log_probabilities=jnp.zeros(cache.tokens.shape),
        ended=jnp.zeros(len(start), bool),
        keys=jax.vmap(jax.random.fold_in, (None, 0))(key, numbers),
        count=jnp.int32(0),
    )
    return append(state, logits, strengths, filters, end)


@partial(jax.jit, static_argnames=STATIC, donate_argnames="state")
def advance(
    params: Any,
    state: State,
    until: jax.Array | int,
    strengths: Strengths,
    *,
    decoder: Decoder,
    filters: Filters,
    end: int | None,
) -> State:
    """Draws tokens until there are `until`, or all rows have ended."""

    def unfinished(state: State) -> jax.Array:
        return (state.count < until) & ~state.ended.all()

    def body(state: State) -> State:
        logits, cache = step(params, state.cache, state.position, decoder)
        return append(state.replace(cache=cache), logits, strengths, filters, end)

    return jax.lax.while_loop(unfinished, body, state)


def append(
    state: State, logits: jax.Array, strengths: Strengths, filters: Filters, end: int | None
) -> State:
    """The state with one more token in every row that has not ended."""
    rows, tokens = jnp.arange(len(logits)), state.cache.tokens
    keys = jax.vmap(jax.random.fold_in)(state.keys, state.position - state.start + 1)
    seen = None
    if filters.penalised:
        seen = sampling.seen_tokens(tokens, state.position, logits.shape[1])
    drawn, log_probability = sampling.draw(logits, seen, keys, strengths, filters)
    position = jnp.where(state.ended, state.position, state.position + 1)

    def write(x: jax.Array, values: jax.Array) -> jax.Array:
        return x.at[rows, position].set(jnp.where(state.ended, x[rows, position], values))

    ends = (position >= state.last) | (False if end is None else drawn == end)
    return state.replace(
        cache=state.cache.replace(tokens=write(tokens, drawn)),
        position=position,
        log_probabilities=write(state.log_probabilities, log_probability),
        ended=state.ended | ends,
        count=state.count + 1,
    )
