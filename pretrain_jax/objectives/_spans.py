"""Spans that sentinels replace, and metrics of their prediction."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pretrain_jax import losses
from pretrain_jax.batch import is_text
from pretrain_jax.corruption import render
from pretrain_jax.objectives._layout import Layout, mode_tokens
from pretrain_jax.ragged import Fields, Ragged, wrap


def span_fields(
    texts: Ragged, drawn: np.ndarray, vocab: Any, layout: Layout, mode: int = 0
) -> Fields:
    """The fields of texts with this noise: a sentinel replaces each noise group.

    drawn: int32 [T], the noise map (corruption/). mode: see `mode_tokens`.
    """
    inputs, targets = render.with_sentinels(texts, drawn, vocab.sentinels)
    end = (vocab.eos,)
    return layout.write(wrap(inputs, mode_tokens(mode, vocab), end), wrap(targets, (), end), vocab)


def span_prompt(
    ids: np.ndarray, vocab: Any, *, layout: Layout, mode: int = 0
) -> dict[str, np.ndarray]:
    """The inputs of `span_fields` for a text that has sentinels; see Objective.prompt."""
    return layout.prompt(ids, vocab, mode_tokens(mode, vocab), (vocab.eos,))


def span_metrics(
    apply: Any, params: Any, batch: dict[str, jax.Array], rng: Any, special: jax.Array
) -> dict[str, tuple[jax.Array, jax.Array]]:
    """`losses.token_metrics`, and "span_exact_match": the share of target spans in which every
    token is the likeliest, given the tokens before it. Its weight is the number of spans.
    """
    output = apply(params, batch, rng, False)
    text = is_text(batch, special)
    nll, hits = losses.nll_and_hits(output, batch["targets"])
    return {**losses.text_sums(nll, hits, text), "span_exact_match": exact_spans(text, hits)}


def exact_spans(text: jax.Array, hits: jax.Array) -> tuple[jax.Array, jax.Array]:
    """(spans without a miss, all spans), float32 counts; a span is a maximal run of `text`.

    text: bool [B, P], the targets that are text; sentinels and end tokens separate spans.
    hits: bool [B, P], the targets that are the likeliest token.

    text 0 1 1 0 1 0 with hits 0 1 1 0 0 0 -> (1, 2).
    """
    edge = jnp.zeros_like(text[:, :1])
    first = text & ~jnp.concatenate([edge, text[:, :-1]], axis=1)
    last = text & ~jnp.concatenate([text[:, 1:], edge], axis=1)
    missed = (text & ~hits).astype(jnp.int32)
    so_far = jnp.cumsum(missed, axis=1)
    before = jax.lax.cummax(jnp.where(first, so_far - missed, 0), axis=1)
    exact = last & (so_far == before)
    return jnp.sum(exact).astype(jnp.float32), jnp.sum(last).astype(jnp.float32)
