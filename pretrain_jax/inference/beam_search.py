"""Beam search: the likeliest continuations as a whole, instead of the likeliest token each time.

Of every prompt, N unfinished continuations (beams) grow together. Each step extends every beam by
every token, and keeps the best 2 N candidates: those that end are finished, the best N others are
the next beams. A finished continuation of n tokens, its end token included, scores

    sum of log-probabilities / n^length_penalty

so a larger penalty prefers longer ones. The numbers and the stopping rule are those of Hugging
Face's transformers (early_stopping=False): a search ends when N continuations are finished and the
best beam, at its present length, scores below all of them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from pretrain_jax.inference import sampling
from pretrain_jax.inference.decoding import Cache, Decoder, prefill, step
from pretrain_jax.inference.sampling import penalise, seen_tokens
from pretrain_jax.registry import Range

RANGES = {
    "beams": Range(1, 1000),
    "length_penalty": Range(-1000, 1000),
    "repetition_penalty": sampling.RANGES["repetition_penalty"],
}
BY_ROW = ("keys", "values")
"""Names of the kept arrays with one entry per row; all rows share the others."""


@dataclass(frozen=True, kw_only=True)
class BeamSearch:
    """The options of a search. Raises ConfigError for a number out of its range."""

    beams: int
    length_penalty: float = 1.0
    repetition_penalty: float = 1.0
    """See `sampling.Sampling`; here it acts on log-probabilities, as in transformers."""

    def __post_init__(self):
        sampling.check_ranges(self, RANGES)


class Candidates(struct.PyTreeNode):
    """N continuations of each of B prompts, best first."""

    tokens: jax.Array
    """int32 [B, N, S]: prompt and continuation, by position."""
    log_probabilities: jax.Array
    """float32 [B, N, S]: of the continuation's tokens."""
    scores: jax.Array
    """float32 [B, N]; -inf for a continuation that does not exist."""
    position: jax.Array
    """int32 [B, N]: of the last token."""


class Search(struct.PyTreeNode):
    """The state of a search."""

    cache: Cache
    """Of B x N rows, the N beams of each prompt next to each other."""
    running: Candidates
    finished: Candidates
    done: jax.Array
    """bool [B]."""
    count: jax.Array
    """int32 scalar: tokens generated so far."""


@partial(jax.jit, static_argnames=("slots", "decoder", "beams", "end", "penalised"))
def search(
    params: Any,
    batch: Mapping[str, jax.Array],
    last: jax.Array,
    length_penalty: jax.Array | float,
    repetition_penalty: jax.Array | float,
    *,
    slots: int,
    decoder: Decoder,
    beams: int,
    end: int | None,
    penalised: bool,
) -> Candidates:
    """The `beams` best continuations of each prompt (decoding.to_rows), best first.

    last: int32 [B], the position at which a continuation ends at the latest. end: the end token.
    penalised: whether there is a repetition penalty.
    """
    start = jnp.sum(batch["segments"], axis=1)
    logits, cache = prefill(params, batch, decoder=decoder, slots=slots)
    first = jnp.where(jnp.arange(beams) == 0, 0.0, -jnp.inf)
    tokens = jnp.repeat(cache.tokens[:, None], beams, axis=1)
    running = Candidates(
        tokens=tokens,
        log_probabilities=jnp.zeros(tokens.shape),
        scores=jnp.broadcast_to(first, tokens.shape[:2]),
        position=jnp.broadcast_to(start[:, None] - 1, tokens.shape[:2]),
    )
    none = running.replace(scores=jnp.full_like(running.scores, -jnp.inf))
    state = Search(
        cache=repeat_rows(cache, beams),
        running=running,
        finished=none,
        done=jnp.zeros(len(start), bool),
        count=jnp.int32(0),
    )
    rules = partial(
        extend,
        last=last,
        length_penalty=length_penalty,
        repetition_penalty=repetition_penalty if penalised else None,
        end=end,
    )

    def body(state: Search) -> Search:
        position = state.running.position.reshape(-1)
        logits, cache = step(params, state.cache, position, decoder)
        return rules(state.replace(cache=cache), logits)

    state = rules(state, jnp.repeat(logits, beams, axis=0))
    return jax.lax.while_loop(lambda state: ~state.done.all(), body, state).finished


def extend(
    state: Search,
    logits: jax.Array,
    *,
    last: jax.Array,
    length_penalty: jax.Array | float,
    repetition_penalty: jax.Array | float | None,
    end: int | None,
) -> Search:
    """One step of the search: `logits` float32 [B N, V] of the next token of every beam."""
    running, beams = state.running, state.running.scores.shape[1]
    log_p = jax.nn.log_softmax(logits)
    weighed = log_p
    if repetition_penalty is not None:
        seen = seen_tokens(state.cache.tokens, running.position.reshape(-1), log_p.shape[1])
        weighed = penalise(log_p, seen, repetition_penalty)
    candidates, parents = best_candidates(running, log_p, weighed, 2 * beams)
    ends = candidates.position >= last[:, None]
    if end is not None:
        ends |= at_position(candidates.tokens, candidates.position) == end

    chosen = jax.lax.top_k(jnp.where(ends, -jnp.inf, candidates.scores), beams)[1]
    going_on = take(candidates, chosen)
    alive = ~jnp.take_along_axis(ends, chosen, axis=1)
    going_on = going_on.replace(scores=jnp.where(alive, going_on.scores, -jnp.inf))

    count = state.count + 1
    length = count.astype(jnp.float32) ** length_penalty
    complete = ends & (jnp.arange(2 * beams) < beams) & ~state.done[:, None]
    ended = candidates.replace(scores=jnp.where(complete, candidates.scores / length, -jnp.inf))
    both = jax.tree.map(lambda a, b: jnp.concatenate([a, b], axis=1), state.finished, ended)
    finished = take(both, jax.lax.top_k(both.scores, beams)[1])

    hopeless = going_on.scores[:, 0] / length <= finished.scores[:, -1]
    cache = take_rows(state.cache, jnp.take_along_axis(parents, chosen, axis=1))
    return Search(
        cache=cache.replace(tokens=going_on.tokens.reshape(cache.tokens.shape)),
        running=going_on,
        finished=finished,
        done=state.done | hopeless | ends.all(axis=1),
        count=count,
    )


def best_candidates(
    running: Candidates, log_p: jax.Array, weighed: jax.Array, count: int
) -> tuple[Candidates, jax.Array]:
    """The best `count` beams with one more token, and the beam int32 [B, count] that each extends.

    log_p: float32 [B N, V] of the next token. weighed: the same with the penalty, which scores add.
    """
    (rows, beams), ids = running.scores.shape, log_p.shape[1]
    total = running.scores[:, :, None] + weighed.reshape(rows, beams, ids)
    scores, index = jax.lax.top_k(total.reshape(rows, -1), min(count, beams * ids))
    parents, drawn = index // ids, (index % ids).astype(jnp.int32)
    added = jnp.take_along_axis(log_p.reshape(rows, -1), index, axis=1)
    kept = take(running, parents)
    position = kept.position + 1
    return (
        Candidates(
            tokens=set_position(kept.tokens, position, drawn),
            log_probabilities=set_position(kept.log_probabilities, position, added),
            scores=scores,
            position=position,
        ),
        parents,
    )


def take(candidates: Candidates, index: jax.Array) -> Candidates:
    """The candidates at `index` int32 [B, K] of each prompt."""
    return jax.tree.map(
        lambda x: jnp.take_along_axis(x, index.reshape(*index.shape, *(1,) * (x.ndim - 2)), axis=1),
        candidates,
    )


def at_position(x: jax.Array, position: jax.Array) -> jax.Array:
    """x [B, N, S] at the position [B, N] of each: [B, N]."""
    return jnp.take_along_axis(x, position[:, :, None], axis=2)[:, :, 0]


def set_position(x: jax.Array, position: jax.Array, values: jax.Array) -> jax.Array:
    """x [B, N, S] with values [B, N] at the position [B, N] of each; none beyond the last slot."""
    return jnp.where(jnp.arange(x.shape[2]) == position[:, :, None], values[:, :, None], x)


def repeat_rows(cache: Cache, times: int) -> Cache:
    """A cache with every row `times` times."""

    def repeat(path: Any, x: jax.Array) -> jax.Array:
        return jnp.repeat(x, times, axis=-4) if path[-1].key in BY_ROW else x

    return Cache(
        tokens=jnp.repeat(cache.tokens, times, axis=0),
        past=jax.tree.map(lambda x: jnp.repeat(x, times, axis=-4), cache.past),
        kept=jax.tree_util.tree_map_with_path(repeat, cache.kept),
        memory=jax.tree.map(lambda x: jnp.repeat(x, times, axis=0), cache.memory),
    )


def take_rows(cache: Cache, parents: jax.Array) -> Cache:
    """The cache with the keys and values of the beam that each beam extends, int32 [B, N].

    What is kept and the memory are the same for all beams of a prompt.
    """
    rows, beams = parents.shape
    index = (jnp.arange(rows)[:, None] * beams + parents).reshape(-1)
    return cache.replace(past=jax.tree.map(lambda x: jnp.take(x, index, axis=-4), cache.past))
