"""Salient span masking: names and dates of a text give way to sentinels, and are predicted.

REALM's noise (arXiv 2002.08909, section 3.4) as T5 learnt from it (Roberts et al. 2020, arXiv
2002.08910, "How much knowledge can you pack into the parameters of a language model?"):

    text       The Declaration was signed in Philadelphia on July 4 , 1776 .
    inputs     The Declaration was signed in <X> on <Y> . </s>
    targets    <X> Philadelphia <Y> July 4 , 1776 </s>

The spans are those that the data marks, or else those that corruption/salient.py finds by its rule.
Some of them are taken, in random order, as long as they fit. **An example without a salient span
gets a random span of three tokens**, since what a row has room for is planned before the text is
looked at.
"""

from functools import partial
from typing import Any

import numpy as np

from pretrain_jax.corruption import salient
from pretrain_jax.corruption.forms import Form, check_rate, form
from pretrain_jax.corruption.uniform import Uniform, whole
from pretrain_jax.errors import ConfigError
from pretrain_jax.objectives import Objective
from pretrain_jax.objectives.span_corruption import denoised, span_metrics
from pretrain_jax.ragged import Fields, Ragged

FALLBACK = 3
"""Tokens of the random span where nothing is salient: T5's mean span."""


def build(
    *, rate: float = 0.15, spans: int = 32, longest: int = 16, inputs: str = "memory"
) -> Objective:
    """The objective of salient span masking.

    rate       most of the text that is masked; one span of `longest` tokens may be in any case
    spans      most spans that are masked in an example; REALM masks 1
    longest    tokens of the longest span that is masked; longer ones stay
    inputs     "memory" (encoder-decoder), "prefix" or "stream" (corruption/forms.py)
    """
    check_rate(rate)
    if spans < 1 or longest < 1:
        raise ConfigError(
            "objective.spans and objective.longest must be at least 1; received "
            f"{spans} and {longest}"
        )
    shape = form(inputs)

    def lengths(n: Any) -> dict[str, Any]:
        count = most_noise(n, rate, longest)
        groups = np.minimum(count, spans)
        return shape.lengths(n + 1, count + groups + 1, both=n + 2 * groups + 2)

    chunks = shape.chunks(lengths)

    def sentinels(seq_len: int) -> int:
        n = chunks["arrange"](seq_len)["raw_length"]
        return min(spans, int(most_noise(n, rate, longest)))

    return Objective(
        **chunks,
        corrupt=partial(corrupt, shape=shape, rate=rate, spans=spans, longest=longest),
        needs=(*shape.needs, "eos"),
        sentinels=sentinels,
        marks="spans",
        yardsticks=("uniform", "unigram"),
        metrics=span_metrics,
    )


def most_noise(n: Any, rate: float, longest: int) -> Any:
    """Most tokens that are masked in a text of n; n may be an array. 512 at 0.15 and 16 -> 77."""
    share = np.rint(n * rate).astype(np.int64)
    return np.maximum(np.maximum(share, np.minimum(longest, n)), np.minimum(FALLBACK, n))


def corrupt(
    examples: Fields,
    uniform: Uniform,
    vocab: Any,
    *,
    shape: Form,
    rate: float,
    spans: int,
    longest: int,
) -> Fields:
    """The fields of {"tokens": int32 texts}, and "marks": uint8 alike where the data has marks."""
    texts = examples["tokens"]
    if "marks" in examples:
        found = [salient.marked(marks) for marks in examples["marks"].split()]
    else:
        found = [salient.found(tokens, vocab) for tokens in texts.split()]
    sizes = texts.parts.sizes
    begin = whole(uniform(np.ones_like(sizes)), np.maximum(sizes - FALLBACK, 0) + 1)
    end = np.minimum(begin + FALLBACK, sizes)
    chosen = []
    for i, (starts, stops) in enumerate(found):
        short = stops - starts <= longest
        some = short.any()
        chosen.append((starts[short], stops[short]) if some else (begin[i : i + 1], end[i : i + 1]))
    starts, stops = (Ragged.joined(edge, np.int64) for edge in zip(*chosen, strict=True))
    counts = most_noise(sizes, rate, longest)
    drawn = salient.draw(texts.parts, starts, stops, counts, spans, uniform)
    return denoised(texts, drawn, vocab, shape)
