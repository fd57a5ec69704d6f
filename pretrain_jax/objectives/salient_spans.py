"""Salient span masking: sentinels replace names and dates of a text, and the model predicts them.

REALM's noise (arXiv 2002.08909, section 3.4) in T5's form (Roberts et al. 2020, arXiv 2002.08910,
"How much knowledge can you pack into the parameters of a language model?"):

    text       The Declaration was signed in Philadelphia on July 4 , 1776 .
    inputs     The Declaration was signed in <X> on <Y> . </s>
    targets    <X> Philadelphia <Y> July 4 , 1776 </s>

The candidates are the annotated spans of the data, or without annotations those that a rule finds
(corruption/salient.py). They are taken in random order as long as they fit. **An example without a
salient span gets a random span of three tokens**, because rows are planned from lengths alone,
before the text is read.
"""

from functools import partial
from typing import Any

import numpy as np

from pretrain_jax.corruption import salient
from pretrain_jax.corruption.uniform import Uniform, to_int
from pretrain_jax.objectives import Objective
from pretrain_jax.objectives._layout import Layout, pick_layout
from pretrain_jax.objectives._spans import span_fields, span_metrics, span_prompt
from pretrain_jax.ragged import Fields, Ragged

FALLBACK = 3
"""Tokens of the random span in a text without salient spans: T5's mean span."""


def build(
    *, rate: float = 0.15, spans: int = 32, longest: int = 16, inputs: str = "memory"
) -> Objective:
    """The objective of salient span masking.

    rate       maximum share of the text that is masked; one span of `longest` tokens is always
               allowed
    spans      maximum number of spans that are masked in an example; REALM masks 1
    longest    maximum number of tokens in a masked span; longer spans are not masked
    inputs     "memory" (encoder-decoder), "prefix" or "stream" (objectives/_layout.py)
    """
    layout = pick_layout(inputs)

    def lengths(n: Any) -> dict[str, Any]:
        count = most_noise(n, rate, longest)
        groups = np.minimum(count, spans)
        return layout.lengths(n + 1, count + groups + 1, both=n + 2 * groups + 2)

    chunks = layout.chunks(lengths)

    def sentinels(seq_len: int) -> int:
        n = chunks["arrange"](seq_len)["raw_length"]
        return min(spans, int(most_noise(n, rate, longest)))

    return Objective(
        **chunks,
        corrupt=partial(corrupt, layout=layout, rate=rate, spans=spans, longest=longest),
        special_tokens=(*layout.special_tokens, "eos"),
        sentinels=sentinels,
        annotation_kind="spans",
        baselines=("uniform", "unigram"),
        metrics=span_metrics,
        prompt=partial(span_prompt, layout=layout),
    )


def most_noise(n: Any, rate: float, longest: int) -> Any:
    """The most masked tokens in a text of n; n may be an array. 512 at 0.15 and 16 -> 77."""
    share = np.rint(n * rate).astype(np.int64)
    return np.maximum(np.maximum(share, np.minimum(longest, n)), np.minimum(FALLBACK, n))


def corrupt(
    examples: Fields,
    uniform: Uniform,
    vocab: Any,
    *,
    layout: Layout,
    rate: float,
    spans: int,
    longest: int,
) -> Fields:
    """The fields of {"tokens": int32 texts}; annotated data adds
    "annotations", uint8 with the same splits."""
    texts = examples["tokens"]
    if "annotations" in examples:
        candidates = [salient.annotated_spans(values) for values in examples["annotations"].split()]
    else:
        candidates = [salient.find_spans(tokens, vocab) for tokens in texts.split()]
    sizes = texts.splits.sizes
    begin = to_int(uniform(np.ones_like(sizes)), np.maximum(sizes - FALLBACK, 0) + 1)
    end = np.minimum(begin + FALLBACK, sizes)
    chosen = []
    for i, (starts, stops) in enumerate(candidates):
        short = stops - starts <= longest
        fallback = begin[i : i + 1], end[i : i + 1]
        chosen.append((starts[short], stops[short]) if short.any() else fallback)
    starts, stops = (Ragged.concatenate(edge, np.int64) for edge in zip(*chosen, strict=True))
    counts = most_noise(sizes, rate, longest)
    drawn = salient.choose_spans(texts.splits, starts, stops, counts, spans, uniform)
    return span_fields(texts, drawn, vocab, layout)
