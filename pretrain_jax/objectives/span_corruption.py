"""Span corruption: spans of a text give way to sentinels, and are predicted behind them.

T5's objective (arXiv 1910.10683, sections 3.1.4 and 3.3.4; t5/data/preprocessors.py
`span_corruption`). With <X>, <Y> the first sentinels and </s> the end, as in the paper's figure 2
(whose last sentinel <Z> the released code does not write):

    text       Thank you for inviting me to your party last week .
    inputs     Thank you <X> me to your party <Y> week . </s>
    targets    <X> for inviting <Y> last </s>

A row of 512 inputs holds a text of 568 tokens and gives 114 targets, ends included. Of n tokens
round(0.15 n) are noise, in round(noise / 3) spans, at least one each, so every length is known
before anything is drawn. A text starts with a token that is kept and ends with noise, as T5's do;
a text of one token is all noise (T5 leaves it whole, and its targets empty).

So a short text always has the same noise: of 20 tokens the last 3, of 29 the last 4, and from 30
tokens on there are two spans. place="random" lets a text begin with noise and end without it: the
one span of 20 tokens begins at any of the places 0 to 17.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pretrain_jax import losses, registry
from pretrain_jax.batch import is_text
from pretrain_jax.corruption import noise, render
from pretrain_jax.corruption.forms import Form, check_mode, check_rate, form, mode_tokens
from pretrain_jax.corruption.uniform import Uniform
from pretrain_jax.errors import ConfigError
from pretrain_jax.objectives import Objective
from pretrain_jax.ragged import Fields, Ragged, around

PLACES = ("t5", "random")
SHORT = 0.2
"""Share of examples with one span above which a run says so."""


def build(
    *,
    rate: float = 0.15,
    mean_span: float = 3.0,
    place: str = "t5",
    inputs: str = "memory",
    mode: int = 0,
) -> Objective:
    """The objective of T5.

    rate         share of the text that is noise
    mean_span    tokens of an average span
    place        "t5", text in front of every span and none behind the last, or "random", anywhere
    inputs       "memory" (encoder-decoder), "prefix" or "stream" (corruption/forms.py)
    mode         number of a mode token in front of the inputs, 0 for none. UL2's mixture has
                 (rate, mean_span) = (0.15, 3), (0.15, 8), (0.5, 3), (0.5, 8), (0.15, 64) and
                 (0.5, 64), the first two of one mode, the others of another; its third is
                 prefix_lm.
    """
    check_rate(rate)
    check_mode(mode)
    registry.check_name(place, PLACES, "objective.place")
    if mean_span < 1:
        raise ConfigError(
            f"objective.mean_span must be at least 1 token; received {mean_span}; T5's is 3"
        )
    shape = form(inputs)
    added = 1 + (mode > 0)

    def lengths(n: Any) -> dict[str, Any]:
        count, spans = noise_of(n, rate, mean_span)
        return shape.lengths(n - count + spans + added, count + spans + 1)

    chunks = shape.chunks(lengths)

    def sentinels(seq_len: int) -> int:
        _, spans = noise_of(chunks["arrange"](seq_len)["raw_length"], rate, mean_span)
        return int(spans) + mode

    return Objective(
        **chunks,
        corrupt=partial(
            corrupt, shape=shape, rate=rate, mean_span=mean_span, place=place, mode=mode
        ),
        needs=(*shape.needs, "eos"),
        sentinels=sentinels,
        yardsticks=("uniform", "unigram"),
        metrics=span_metrics,
        caution=partial(caution, rate=rate, mean_span=mean_span, place=place),
    )


def noise_of(n: Any, rate: float, mean_span: float) -> tuple[Any, Any]:
    """Tokens of noise in a text of n, and their spans; n may be an array. At least one of each.

    568 at 0.15 and 3 -> (85, 28).
    """
    count, spans = noise.spans_of_length(n, rate, mean_span)
    return count + (n == 1), spans + (n == 1)


def corrupt(
    examples: Fields,
    uniform: Uniform,
    vocab: Any,
    *,
    shape: Form,
    rate: float,
    mean_span: float,
    place: str,
    mode: int,
) -> Fields:
    """The fields of {"tokens": int32 texts}."""
    texts = examples["tokens"]
    counts, spans = noise_of(texts.parts.sizes, rate, mean_span)
    anywhere = place == "random"
    drawn = noise.random_spans(texts.parts, counts, spans, uniform, anywhere)
    return denoised(texts, drawn, vocab, shape, mode)


def caution(examples: Any, vocab: Any, *, rate: float, mean_span: float, place: str) -> str:
    """Says how many examples have one span, which is always their end; see Objective. Nothing where
    the longest example has no more either: the options then ask for one span."""
    del vocab
    _, most = noise_of(examples.options["raw_length"], rate, mean_span)
    _, spans = noise_of(examples.length, rate, mean_span)
    share = np.mean(spans == 1)
    if place != "t5" or most == 1 or share <= SHORT:
        return ""
    return (
        f"{share:.0%} of the examples are so short that they have one span of noise, and in T5's "
        "arithmetic that is always their end. objective.place=random puts it anywhere"
    )


def denoised(texts: Ragged, drawn: np.ndarray, vocab: Any, shape: Form, mode: int = 0) -> Fields:
    """The fields of texts whose noise is drawn, a sentinel for each group of it."""
    inputs, targets = render.with_sentinels(texts, drawn, vocab.sentinels)
    end = (vocab.eos,)
    return shape.write(
        around(inputs, mode_tokens(mode, vocab), end), around(targets, (), end), vocab
    )


def span_metrics(
    apply: Any, params: Any, batch: dict[str, jax.Array], rng: Any, special: jax.Array
) -> dict[str, tuple[jax.Array, jax.Array]]:
    """Those of every objective, and "span_exact_match".

    That is the share of target spans of which every token is the likeliest, the tokens before it
    given. Its weight is the number of spans.
    """
    output = apply(params, batch, rng, False)
    text = is_text(batch, special)
    nll, hits = losses.nll_and_hits(output, batch["targets"])
    return {**losses.text_sums(nll, hits, text), "span_exact_match": exact_spans(text, hits)}


def exact_spans(text: jax.Array, hits: jax.Array) -> tuple[jax.Array, jax.Array]:
    """(spans without a miss, spans), float32; spans are the maximal runs of `text`.

    text: bool [B, P], targets that are text: sentinels and end tokens stand between spans.
    hits: bool [B, P], targets that are the likeliest token.

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
