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
from pretrain_jax.errors import ConfigError
from pretrain_jax.objectives import Objective
from pretrain_jax.objectives.span_corruption import denoised, span_metrics

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
    example: dict[str, np.ndarray],
    rng: np.random.Generator,
    vocab: Any,
    *,
    shape: Form,
    rate: float,
    spans: int,
    longest: int,
) -> dict[str, np.ndarray]:
    """The fields of {"tokens": int32 [n]}, and "marks": uint8 [n] where the data has marks."""
    tokens = example["tokens"]
    n = len(tokens)
    if "marks" in example:
        starts, stops = salient.marked(example["marks"])
    else:
        starts, stops = salient.found(tokens, vocab)
    short = stops - starts <= longest
    starts, stops = starts[short], stops[short]
    if len(starts) == 0:
        starts = rng.integers(max(n - FALLBACK, 0) + 1, size=1)
        stops = np.minimum(starts + FALLBACK, n)
    count = int(most_noise(n, rate, longest))
    return denoised(tokens, salient.draw(starts, stops, n, count, spans, rng), vocab, shape)
