"""Denoising of single tokens: every token of a text is corrupted independently, with probability
`rate`.

The objectives that the T5 paper compares before it chooses spans (arXiv 1910.10683, table 3;
sections 3.3.1 and 3.3.2). With "for inviting" and "last" drawn, <M> = <X> the first sentinel:

    text        Thank you for inviting me to your party last week .
    "all"       Thank you <M> <M> me to your party apple week .   ->   the full text
    "spans"     Thank you <X> me to your party <Y> week .         ->   <X> for inviting <Y> last <Z>
    "tokens"    Thank you me to your party week .                 ->   for inviting last

In the paper's terms, "all" with replaced=0.9 and random=0.1 is "BERT-style", with 1 and 0
"MASS-style"; "spans" is "replace spans"; "tokens" is "drop tokens". Inputs and targets each end
with the end token.

The noise is T5's iid_noise_mask: a text of 511 tokens has 77 corrupted tokens on average, with a
standard deviation of 8. Rows are planned before anything is drawn, so the number stays within
SPREAD = 2.5 standard deviations of its mean, 56 to 97 of 511; without this bound, 1.2 % of the
texts would have other numbers. A short text may have none.

In "spans", each sentinel in the targets replaces a stretch of kept text, as in T5's
nonnoise_span_to_unique_sentinel. A text that ends in noise has no closing sentinel. The targets of
a text that begins with noise begin without a sentinel; the noise after their first sentinel is then
that of the second sentinel of the inputs.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from pretrain_jax import registry
from pretrain_jax.corruption import masking, noise, render
from pretrain_jax.corruption.uniform import Uniform
from pretrain_jax.errors import ConfigError
from pretrain_jax.objectives import Objective
from pretrain_jax.objectives._layout import Layout, pick_layout
from pretrain_jax.ragged import Fields, Ragged, wrap

SPREAD = 2.5
"""In standard deviations. With 2.5, T5's 100 sentinels suffice for "spans" of 512 inputs."""


@dataclass(frozen=True)
class Style:
    """How inputs and targets are written for n tokens with `fewest` to `most` corrupted ones."""

    bounds: Callable[[Any, Any, Any], tuple[Any, Any, Any]]
    """bounds(n, fewest, most) -> most tokens of inputs, targets and both, without end tokens."""
    sentinels: Callable[[int, int], int]
    """sentinels(n, most) -> the most sentinels that an example may use."""
    write: Callable[..., tuple[Ragged, Ragged]]
    """write(texts, noise, vocab, uniform, replaced, random) -> inputs and targets, without end
    tokens."""


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
    replaced    with targets="all", the share of corrupted tokens that becomes the first sentinel
    random      with targets="all", the share of corrupted tokens that becomes a random token; the
                rest stays unchanged
    targets     what is predicted: "all", the full text; "spans", the corrupted spans, each after
                its sentinel; "tokens", the corrupted tokens alone
    inputs      "memory" (encoder-decoder), "prefix" or "stream" (objectives/_layout.py)
    """
    style = registry.pick(STYLES, targets, "objective.targets")
    if replaced + random > 1:
        raise ConfigError(
            "objective.replaced + objective.random, shares of the corrupted tokens, must be at "
            f"most 1; received {replaced} and {random}; T5's are 0.9 and 0.1"
        )
    layout = pick_layout(inputs)

    def lengths(n: Any) -> dict[str, Any]:
        most_inputs, most_targets, both = style.bounds(n, *noise_bounds(n, rate))
        return layout.lengths(most_inputs + 1, most_targets + 1, both=both + 2)

    chunks = layout.chunks(lengths)

    def sentinels(seq_len: int) -> int:
        n = chunks["arrange"](seq_len)["raw_length"]
        _, most = noise_bounds(n, rate)
        return style.sentinels(n, int(most))

    write = partial(style.write, replaced=replaced, random=random)
    return Objective(
        **chunks,
        corrupt=partial(corrupt, layout=layout, rate=rate, write=write),
        special_tokens=(*layout.special_tokens, "eos"),
        sentinels=sentinels,
        prompt=lambda ids, vocab: layout.prompt(ids, vocab, end=(vocab.eos,)),
        baselines=("uniform", "unigram"),
    )


def noise_bounds(n: Any, rate: float) -> tuple[Any, Any]:
    """(fewest, most) corrupted tokens in a text of n; n may be an array.

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
    layout: Layout,
    rate: float,
    write: Callable[..., tuple[Ragged, Ragged]],
) -> Fields:
    """The fields of {"tokens": int32 texts}."""
    texts = examples["tokens"]
    bounds = noise_bounds(texts.splits.sizes, rate)
    drawn = noise.independent_tokens(texts.splits, rate, *bounds, uniform)
    end = (vocab.eos,)
    inputs, targets = (wrap(side, (), end) for side in write(texts, drawn, vocab, uniform))
    return layout.write(inputs, targets, vocab)


def write_all(texts, drawn, vocab, uniform, replaced, random):
    """Inputs: the text with sentinels and random tokens. Targets: the full text."""
    hidden = masking.mask_tokens(
        texts.values,
        drawn,
        texts.splits,
        uniform,
        mask=vocab.sentinel(0),
        replaced=replaced,
        random=random,
        candidates=masking.text_ids(vocab),
    )
    return texts._replace(values=hidden), texts


def write_spans(texts, drawn, vocab, uniform, replaced, random):
    """Inputs: the text with a sentinel for each run of noise. Targets: the text with a sentinel for
    each run of kept tokens."""
    del uniform, replaced, random  # only "all" uses them
    inputs, targets = (
        render.with_sentinels(texts, noise.from_mask(texts.splits, hidden), vocab.sentinels)[0]
        for hidden in (drawn > 0, drawn == 0)
    )
    return inputs, targets


def write_tokens(texts, drawn, vocab, uniform, replaced, random):
    """Inputs: the text without the noise. Targets: the noise."""
    del vocab, uniform, replaced, random  # only "all" uses them
    return render.drop_noise(texts, drawn), texts.boolean_mask(drawn > 0)


def span_bounds(n: Any, fewest: Any, most: Any) -> tuple[Any, Any, Any]:
    """`Style.bounds` of "spans": k corrupted tokens form at most k runs, between at most k + 1 runs
    of kept tokens, and no text has more runs than tokens."""
    runs = np.minimum(2 * most + 1, n)
    return np.minimum(n, 2 * (n - fewest) + 1), runs, n + runs


STYLES = {
    "all": Style(lambda n, fewest, most: (n, n, 2 * n), lambda n, most: 1, write_all),
    "spans": Style(span_bounds, lambda n, most: min(most + 1, (n + 1) // 2), write_spans),
    "tokens": Style(lambda n, fewest, most: (n - fewest, most, n), lambda n, most: 0, write_tokens),
}
