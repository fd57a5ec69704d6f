"""Denoising of single tokens: each token of a text is corrupted with one probability, for itself.

The objectives that the T5 paper compares before it settles on spans (arXiv 1910.10683, table 3;
sections 3.3.1 and 3.3.2). With "for inviting" and "last" drawn, <M> = <X> the first sentinel:

    text        Thank you for inviting me to your party last week .
    "all"       Thank you <M> <M> me to your party apple week .   ->   the whole text
    "spans"     Thank you <X> me to your party <Y> week .         ->   <X> for inviting <Y> last <Z>
    "tokens"    Thank you me to your party week .                 ->   for inviting last

"all" with replaced=0.9 and random=0.1 is "BERT-style", with 1 and 0 "MASS-style"; "spans" is
"replace spans" and "tokens" is "drop tokens". Inputs and targets each end with the end token.

The noise is T5's iid_noise_mask: a text of 511 tokens has 77 corrupted ones on average, with a
standard deviation of 8. What a row has room for is planned before anything is drawn, so the number
is held within SPREAD = 2.5 standard deviations of its mean, 56 to 97 of 511; 1.2 % of texts would
have had others. A short text may have none. In "spans", sentinels in the targets stand for what is
between the spans, and so number it: T5's nonnoise_span_to_unique_sentinel. A text that ends in
noise has no closing sentinel. One that begins with noise begins its targets without a sentinel:
behind the first one they have what the second one of the inputs stands for.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from pretrain_jax import registry
from pretrain_jax.corruption import masking, noise, render
from pretrain_jax.corruption.forms import Form, check_rate, form
from pretrain_jax.corruption.uniform import Uniform
from pretrain_jax.errors import ConfigError
from pretrain_jax.objectives import Objective
from pretrain_jax.objectives.masked_lm import text_ids
from pretrain_jax.ragged import Fields, Ragged, around

SPREAD = 2.5
"""Standard deviations: at T5's 512 inputs, its 100 sentinels are enough for "spans"."""


@dataclass(frozen=True)
class Style:
    """What becomes of the corrupted tokens among n, of which there are `fewest` to `most`."""

    bounds: Callable[[Any, Any, Any], tuple[Any, Any, Any]]
    """(n, fewest, most) -> most tokens of inputs, of targets and of both, without their ends."""
    sentinels: Callable[[int, int], int]
    """(n, most) -> sentinels that an example may take."""
    write: Callable[..., tuple[Ragged, Ragged]]
    """(texts, noise, vocab, uniform, replaced, random) -> inputs and targets, without ends."""


def build(
    *,
    rate: float = 0.15,
    replaced: float = 0.9,
    random: float = 0.1,
    targets: str = "all",
    inputs: str = "memory",
) -> Objective:
    """i.i.d. denoising.

    rate        probability that a token is corrupted
    replaced    share of these that becomes the first sentinel, where targets="all"
    random      share of these that becomes a random token, where targets="all"; what both leave
                stays as it is
    targets     "all", the whole text; "spans", the corrupted spans behind their sentinels;
                "tokens", the corrupted tokens alone
    inputs      "memory" (encoder-decoder), "prefix" or "stream" (corruption/forms.py)
    """
    check_rate(rate)
    style = registry.pick(STYLES, targets, "objective.targets")
    if not all(0 <= share <= 1 for share in (replaced, random, replaced + random)):
        raise ConfigError(
            "objective.replaced and objective.random are shares of the corrupted tokens, from 0 to "
            f"1, also together; received {replaced} and {random}; T5's are 0.9 and 0.1"
        )
    shape = form(inputs)

    def lengths(n: Any) -> dict[str, Any]:
        read, written, both = style.bounds(n, *noise_of(n, rate))
        return shape.lengths(read + 1, written + 1, both=both + 2)

    chunks = shape.chunks(lengths)

    def sentinels(seq_len: int) -> int:
        n = chunks["arrange"](seq_len)["raw_length"]
        _, most = noise_of(n, rate)
        return style.sentinels(n, int(most))

    write = partial(style.write, replaced=replaced, random=random)
    return Objective(
        **chunks,
        corrupt=partial(corrupt, shape=shape, rate=rate, write=write),
        needs=(*shape.needs, "eos"),
        sentinels=sentinels,
        yardsticks=("uniform", "unigram"),
    )


def noise_of(n: Any, rate: float) -> tuple[Any, Any]:
    """The fewest and the most corrupted tokens in a text of n; n may be an array.

    511 at 0.15 -> (56, 97); 4 at 0.15 -> (0, 3).
    """
    mean = n * rate
    spread = SPREAD * np.sqrt(mean * (1 - rate))
    fewest = np.maximum(np.floor(mean - spread), 0).astype(np.int64)
    return fewest, np.minimum(np.ceil(mean + spread).astype(np.int64), n)


def corrupt(
    examples: Fields,
    uniform: Uniform,
    vocab: Any,
    *,
    shape: Form,
    rate: float,
    write: Callable[..., tuple[Ragged, Ragged]],
) -> Fields:
    """The fields of {"tokens": int32 texts}."""
    texts = examples["tokens"]
    bounds = noise_of(texts.parts.sizes, rate)
    drawn = noise.independent_tokens(texts.parts, rate, *bounds, uniform)
    end = (vocab.eos,)
    inputs, targets = (around(each, (), end) for each in write(texts, drawn, vocab, uniform))
    return shape.write(inputs, targets, vocab)


def masked(texts, drawn, vocab, uniform, replaced, random):
    """The text with sentinels and random tokens in it, and the whole text."""
    hidden = masking.mask_tokens(
        texts.values,
        drawn,
        texts.parts,
        uniform,
        mask=vocab.sentinel(0),
        replaced=replaced,
        random=random,
        candidates=text_ids(vocab),
    )
    return texts._replace(values=hidden), texts


def spans(texts, drawn, vocab, uniform, replaced, random):
    """The text with a sentinel for each run of noise, and with one for each run of the rest."""
    del uniform, replaced, random  # of "all" alone
    inputs, targets = (
        render.with_sentinels(texts, noise.given(texts.parts, hidden), vocab.sentinels)[0]
        for hidden in (drawn > 0, drawn == 0)
    )
    return inputs, targets


def alone(texts, drawn, vocab, uniform, replaced, random):
    """The text without the noise, and the noise."""
    del vocab, uniform, replaced, random  # of "all" alone
    return render.drop(texts, drawn), texts.where(drawn > 0)


def bounds_of_spans(n: Any, fewest: Any, most: Any) -> tuple[Any, Any, Any]:
    """`Style.bounds` of "spans": noise of k tokens lies in k runs at most, between k + 1 runs of
    the rest, and no text has more runs than tokens."""
    runs = np.minimum(2 * most + 1, n)
    return np.minimum(n, 2 * (n - fewest) + 1), runs, n + runs


STYLES = {
    "all": Style(lambda n, fewest, most: (n, n, 2 * n), lambda n, most: 1, masked),
    "spans": Style(bounds_of_spans, lambda n, most: min(most + 1, (n + 1) // 2), spans),
    "tokens": Style(lambda n, fewest, most: (n - fewest, most, n), lambda n, most: 0, alone),
}
