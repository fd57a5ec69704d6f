"""Choosing the next token: temperature, top-k, top-p, min-p and the repetition penalty.

The order and the definitions are those of Hugging Face's transformers: repetition penalty,
temperature, top-k, top-p, min-p, then a draw. For the probabilities 0.5, 0.3, 0.15, 0.05:

    top_k=2       keeps 0.5 and 0.3
    top_p=0.8     keeps 0.5 and 0.3: the fewest likeliest tokens whose sum is at least 0.8
    min_p=0.2     keeps those of at least 0.2 x 0.5: 0.5, 0.3 and 0.15
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from pretrain_jax.errors import ConfigError
from pretrain_jax.registry import Range

RANGES = {
    "temperature": Range(0, 1e6),
    "top_k": Range(0, 2**31 - 1),
    "top_p": Range(0, 1, open="least"),
    "min_p": Range(0, 1),
    "repetition_penalty": Range(0, 1e6, open="least"),
}


def check_ranges(options: Any, ranges: Mapping[str, Range]) -> None:
    """Raises ConfigError for an attribute of `options` out of its range."""
    for name, allowed in ranges.items():
        value = getattr(options, name)
        if not allowed.contains(value):
            raise ConfigError(f"{name} must be {allowed}; received {value}")


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How the next token is chosen. Raises ConfigError for a number out of its range."""

    temperature: float = 1.0
    """Divides the logits: below 1, likely tokens become likelier; 0 takes the likeliest token."""
    top_k: int = 0
    """Number of likeliest tokens to choose among; 0 = all."""
    top_p: float = 1.0
    """Probability of the tokens to choose among: the fewest likeliest ones that reach it."""
    min_p: float = 0.0
    """Least probability of a token, as a share of the likeliest one's."""
    repetition_penalty: float = 1.0
    """Divides positive logits of tokens that the row has, and multiplies negative ones (Keskar et
    al. 2019, CTRL)."""

    def __post_init__(self):
        check_ranges(self, RANGES)

    @property
    def filters(self) -> "Filters":
        return Filters(
            greedy=self.temperature == 0,
            ranked=self.top_k > 0 or self.top_p < 1 or self.min_p > 0,
            penalised=self.repetition_penalty != 1,
        )

    @property
    def strengths(self) -> "Strengths":
        return Strengths(
            temperature=np.float32(self.temperature or 1.0),
            top_k=np.int32(self.top_k or RANGES["top_k"].most),
            top_p=np.float32(self.top_p),
            min_p=np.float32(self.min_p),
            repetition_penalty=np.float32(self.repetition_penalty),
        )


@dataclass(frozen=True)
class Filters:
    """What a program computes: a static argument. Other strengths compile nothing new."""

    greedy: bool
    ranked: bool
    """Whether top_k, top_p or min_p exclude tokens, for which the logits are sorted."""
    penalised: bool


class Strengths(struct.PyTreeNode):
    """The numbers of `Sampling` as arrays: numpy's, which take no program to make."""

    temperature: Any
    top_k: Any
    top_p: Any
    min_p: Any
    repetition_penalty: Any


def draw(
    logits: jax.Array,
    seen: jax.Array | None,
    keys: jax.Array,
    strengths: Strengths,
    filters: Filters,
) -> tuple[jax.Array, jax.Array]:
    """Tokens int32 [B], and the log-probability of each, float32 [B], under the model itself.

    logits: float32 [B, V]. seen: bool [B, V], the tokens that a row has; only for a penalty. keys:
    one random key per row.
    """
    log_probabilities = jax.nn.log_softmax(logits)
    if filters.penalised and seen is not None:
        logits = penalise(logits, seen, strengths.repetition_penalty)
    if filters.greedy:
        tokens = jnp.argmax(logits, axis=-1)
    else:
        scores = logits / strengths.temperature
        scores = filter_scores(scores, strengths) if filters.ranked else scores
        tokens = jax.vmap(jax.random.categorical)(keys, scores)
    tokens = tokens.astype(jnp.int32)
    return tokens, jnp.take_along_axis(log_probabilities, tokens[:, None], axis=1)[:, 0]


def seen_tokens(tokens: jax.Array, position: jax.Array, ids: int) -> jax.Array:
    """bool [B, ids]: the ids that each row of `tokens` [B, S] has up to its position [B]."""
    # The places of an adapter have negative ids.
    inside = (jnp.arange(tokens.shape[1]) <= position[:, None]) & (tokens >= 0)
    rows = jnp.arange(len(tokens))[:, None]
    return jnp.zeros((len(tokens), ids), bool).at[rows, tokens].max(inside)


def penalise(logits: jax.Array, seen: jax.Array, penalty: jax.Array | float) -> jax.Array:
    """Logits [B, V] with the penalty for tokens that are `seen`, bool [B, V]."""
    return jnp.where(seen, jnp.where(logits < 0, logits * penalty, logits / penalty), logits)


def filter_scores(scores: jax.Array, strengths: Strengths) -> jax.Array:
    """Scores [B, V] with -inf for every token that top_k, top_p or min_p exclude.

    Each filter sees the probabilities that remain after the one before it. The likeliest token
    always stays.
    """
    order = jnp.argsort(-scores, axis=-1)
    ranked = jnp.take_along_axis(scores, order, axis=-1)
    rank = jnp.arange(scores.shape[-1])
    least = jnp.take(ranked, jnp.minimum(strengths.top_k, scores.shape[-1]) - 1, axis=-1)
    kept = ranked >= least[:, None]  # tokens that tie with the last one stay, as in transformers
    probabilities = jax.nn.softmax(jnp.where(kept, ranked, -jnp.inf))
    before = jnp.cumsum(probabilities, axis=-1) - probabilities
    # The sum of all probabilities may round to 1 before the last token.
    kept &= (before < strengths.top_p) | (strengths.top_p >= 1) | (rank == 0)
    probabilities = jax.nn.softmax(jnp.where(kept, ranked, -jnp.inf))
    kept &= probabilities >= strengths.min_p * probabilities[:, :1]
    inverse = jnp.argsort(order, axis=-1)
    return jnp.where(jnp.take_along_axis(kept, inverse, axis=-1), scores, -jnp.inf)
