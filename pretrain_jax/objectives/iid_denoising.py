"""Denoising of single tokens: a share of a text is corrupted, each token for itself.

The objectives that the T5 paper compares before it settles on spans (arXiv 1910.10683, table 3;
sections 3.3.1 and 3.3.2). With "for inviting" and "last" drawn, <M> = <X> the first sentinel:

    text        Thank you for inviting me to your party last week .
    "all"       Thank you <M> <M> me to your party apple week .   ->   the whole text
    "spans"     Thank you <X> me to your party <Y> week .         ->   <X> for inviting <Y> last
    "tokens"    Thank you me to your party week .                 ->   for inviting last

"all" with replaced=0.9 and random=0.1 is "BERT-style", with 1 and 0 "MASS-style"; "spans" is
"replace spans" and "tokens" is "drop tokens". Inputs and targets each end with the end token.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from pretrain_jax import registry
from pretrain_jax.corruption import Uniform, masking, noise, render
from pretrain_jax.corruption.forms import Form, check_rate, form
from pretrain_jax.errors import ConfigError
from pretrain_jax.objectives import Objective
from pretrain_jax.objectives.masked_lm import text_ids
from pretrain_jax.ragged import Fields, Ragged, around


@dataclass(frozen=True)
class Style:
    """What becomes of `count` corrupted tokens among n, which lie in `runs` runs at most."""

    bounds: Callable[[Any, Any, Any], tuple[Any, Any]]
    """(n, count, runs) -> most tokens of inputs and of targets, without their ends."""
    sentinels: Callable[[int], int]
    """runs -> sentinels that an example may take."""
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

    rate        share of the text that is corrupted: round(rate n) tokens of n, at least 1
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
        read, written = style.bounds(n, *noise_of(n, rate))
        return shape.lengths(read + 1, written + 1)

    chunks = shape.chunks(lengths)

    def sentinels(seq_len: int) -> int:
        _, runs = noise_of(chunks["arrange"](seq_len)["raw_length"], rate)
        return style.sentinels(int(runs))

    write = partial(style.write, replaced=replaced, random=random)
    return Objective(
        **chunks,
        corrupt=partial(corrupt, shape=shape, rate=rate, write=write),
        needs=(*shape.needs, "eos"),
        sentinels=sentinels,
        yardsticks=("uniform", "unigram"),
    )


def noise_of(n: Any, rate: float) -> tuple[Any, Any]:
    """Corrupted tokens in a text of n, and the most runs that they can lie in; n may be an array.

    568 at 0.15 -> (85, 85); 4 at 0.75 -> (3, 2).
    """
    count = np.maximum(np.rint(n * rate).astype(np.int64), 1)
    return count, np.minimum(count, n - count + 1)


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
    counts, _ = noise_of(texts.parts.sizes, rate)
    drawn = noise.random_tokens(texts.parts, counts, uniform)
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
    """The text with a sentinel for each run of noise, and the runs behind their sentinels."""
    del uniform, replaced, random  # of "all" alone
    runs = noise.given(texts.parts, drawn > 0)
    return render.with_sentinels(texts, runs, vocab.sentinels)


def alone(texts, drawn, vocab, uniform, replaced, random):
    """The text without the noise, and the noise."""
    del vocab, uniform, replaced, random  # of "all" alone
    return render.drop(texts, drawn), texts.where(drawn > 0)


STYLES = {
    "all": Style(lambda n, count, runs: (n, n), lambda runs: 1, masked),
    "spans": Style(
        lambda n, count, runs: (n - count + runs, count + runs), lambda runs: runs, spans
    ),
    "tokens": Style(lambda n, count, runs: (n - count, count), lambda runs: 0, alone),
}
