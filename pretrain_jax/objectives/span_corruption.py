"""Span corruption: sentinels replace spans of a text, and the model predicts these spans.

T5's objective (arXiv 1910.10683, sections 3.1.4 and 3.3.4; t5/data/preprocessors.py
`span_corruption`). With <X>, <Y> the first sentinels and </s> the end, as in the paper's figure 2
(the released code does not write its last sentinel, <Z>):

    text       Thank you for inviting me to your party last week .
    inputs     Thank you <X> me to your party <Y> week . </s>
    targets    <X> for inviting <Y> last </s>

A row of 512 inputs holds a text of 568 tokens and gives 114 targets, end tokens included. Of n
tokens, round(0.15 n) are noise, in round(noise / 3) spans, at least one of each; so every length is
known before anything is drawn. As in T5, a text starts with a kept token and ends with noise. A
text of one token is all noise (T5 keeps it, with empty targets).

So a short text always has the same noise: the last 3 of 20 tokens, the last 4 of 29; texts of 30
tokens or more have two spans. With place="random" a text may start with noise and end without it:
the one span of 20 tokens starts at any of the positions 0 to 17.
"""

from functools import partial
from typing import Any

import numpy as np

from pretrain_jax import registry
from pretrain_jax.corruption import noise
from pretrain_jax.corruption.uniform import Uniform
from pretrain_jax.objectives import Objective
from pretrain_jax.objectives._layout import Layout, pick_layout
from pretrain_jax.objectives._spans import span_fields, span_metrics, span_prompt
from pretrain_jax.ragged import Fields

PLACES = ("t5", "random")
SINGLE_SPANS = 0.2
"""Share of examples with one span above which a run warns."""


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
    mean_span    average tokens per span
    place        "t5": text precedes every span and none follows the last; "random": spans anywhere
    inputs       "memory" (encoder-decoder), "prefix" or "stream" (objectives/_layout.py)
    mode         number of the mode token before the inputs, 0 for none. UL2's mixture has
                 (rate, mean_span) = (0.15, 3) and (0.15, 8) in one mode; (0.5, 3), (0.5, 8),
                 (0.15, 64) and (0.5, 64) in another; its third mode is prefix_lm.
    """
    registry.check_name(place, PLACES, "objective.place")
    layout = pick_layout(inputs)
    added = 1 + (mode > 0)

    def lengths(n: Any) -> dict[str, Any]:
        count, spans = noise_of(n, rate, mean_span)
        return layout.lengths(n - count + spans + added, count + spans + 1)

    chunks = layout.chunks(lengths)

    def sentinels(seq_len: int) -> int:
        _, spans = noise_of(chunks["arrange"](seq_len)["raw_length"], rate, mean_span)
        return int(spans) + mode

    return Objective(
        **chunks,
        corrupt=partial(
            corrupt, layout=layout, rate=rate, mean_span=mean_span, place=place, mode=mode
        ),
        special_tokens=(*layout.special_tokens, "eos"),
        sentinels=sentinels,
        baselines=("uniform", "unigram"),
        metrics=span_metrics,
        prompt=partial(span_prompt, layout=layout, mode=mode),
        data_warning=partial(data_warning, rate=rate, mean_span=mean_span, place=place),
    )


def noise_of(n: Any, rate: float, mean_span: float) -> tuple[Any, Any]:
    """(tokens of noise, spans) in a text of n tokens, at least one of each; n may be an array.

    568 at 0.15 and 3 -> (85, 28).
    """
    count, spans = noise.noise_and_span_counts(n, rate, mean_span)
    return count + (n == 1), spans + (n == 1)


def corrupt(
    examples: Fields,
    uniform: Uniform,
    vocab: Any,
    *,
    layout: Layout,
    rate: float,
    mean_span: float,
    place: str,
    mode: int,
) -> Fields:
    """The fields of {"tokens": int32 texts}."""
    texts = examples["tokens"]
    counts, spans = noise_of(texts.splits.sizes, rate, mean_span)
    anywhere = place == "random"
    drawn = noise.random_spans(texts.splits, counts, spans, uniform, anywhere)
    return span_fields(texts, drawn, vocab, layout, mode)


def data_warning(examples: Any, vocab: Any, *, rate: float, mean_span: float, place: str) -> str:
    """Warns where many examples have one span, which is then always their end; see Objective. No
    warning if the longest example also has one span: then the options ask for it."""
    del vocab
    _, most = noise_of(examples.options["raw_length"], rate, mean_span)
    _, spans = noise_of(examples.length, rate, mean_span)
    share = np.mean(spans == 1)
    if place != "t5" or most == 1 or share <= SINGLE_SPANS:
        return ""
    return (
        f"{share:.0%} of the examples are so short that they have one span of noise, which T5 "
        "always puts at their end. objective.place=random puts it anywhere"
    )
