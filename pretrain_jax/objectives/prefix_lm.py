"""Prefix language modeling: the end of a text is predicted from its beginning.

T5's objective (arXiv 1910.10683, section 3.3.1; t5/data/preprocessors.py `prefix_lm`) and UL2's
S-denoiser. An encoder-decoder reads and writes, with 1 the end token and 0 the start of a decoder,
where "a b c d e" (10 .. 14) is cut behind b:

    memory_tokens   10 11  1
    tokens           0 12 13 14
    targets         12 13 14  1

In one stream the text runs on: nothing stands between the parts, a document has its own begin and
end, and chunks share a token as in causal_lm.

The parts' lengths are drawn after rows are planned, so a row keeps room for the longest of each.
With split="uniform" at rate 0.5, T5's, these are n and n: half of all slots stay empty, as in T5.
At rate 0.25, UL2's, they are n and n / 2, and a third stays empty. With split="fixed" nothing is
drawn and none need be. One stream has no such loss, only unused predictions.
"""

from functools import partial
from typing import Any

import numpy as np

from pretrain_jax import registry
from pretrain_jax.corruption.forms import Form, check_mode, check_rate, form, mode_tokens
from pretrain_jax.corruption.uniform import Uniform, whole
from pretrain_jax.objectives import Objective
from pretrain_jax.ragged import Fields, around


def build(
    *, rate: float = 0.5, split: str = "uniform", inputs: str = "memory", mode: int = 0
) -> Objective:
    """The prefix LM objective.

    rate     share of the text that is predicted; with "uniform" the mean share, at most 0.5
    split    "uniform": between 1 and n - 1 tokens are inputs, and at least (1 - 2 rate) of them;
             every number equally likely. "fixed": the last round(rate n) tokens are the targets.
    inputs   "memory" (encoder-decoder), "prefix" or "stream" (corruption/forms.py)
    mode     number of a mode token in front of the inputs, 0 for none
    """
    registry.check_name(split, SPLITS, "objective.split")
    check_rate(rate, most=0.5 if split == "uniform" else 1.0)
    check_mode(mode)
    shape = form(inputs)
    ended = 0 if shape.one_stream else 1

    def lengths(n: Any) -> dict[str, Any]:
        fewest, most = SPLITS[split](n, rate)
        moded = most + (mode > 0)
        return shape.lengths(moded + ended, n - fewest + ended, both=n + (mode > 0))

    cut = {"overlap": 1, "begin": "bos", "end": "eos"} if shape.one_stream else {}
    return Objective(
        **shape.chunks(lengths, **cut),
        corrupt=partial(corrupt, shape=shape, rate=rate, split=split, mode=mode),
        needs=shape.needs if shape.one_stream else (*shape.needs, "eos"),
        sentinels=lambda seq_len: mode,
        yardsticks=("uniform", "unigram"),
    )


def uniform_split(n: Any, rate: float) -> tuple[Any, Any]:
    """(fewest, most) tokens of a text of n that are inputs: T5's random_prefix_noise_mask."""
    least = np.rint((1 - 2 * rate) * (n - 1)).astype(np.int64)
    return np.minimum(np.maximum(least, 1), n - 1), n - 1


def fixed_split(n: Any, rate: float) -> tuple[Any, Any]:
    """The one number of tokens that are inputs, twice: at least one token is a target."""
    targets = np.maximum(np.rint(n * rate).astype(np.int64), 1)
    kept = n - np.minimum(targets, np.maximum(n - 1, 1))
    return kept, kept


SPLITS = {"uniform": uniform_split, "fixed": fixed_split}


def corrupt(
    examples: Fields,
    uniform: Uniform,
    vocab: Any,
    *,
    shape: Form,
    rate: float,
    split: str,
    mode: int,
) -> Fields:
    """The fields of {"tokens": int32 texts}, of at least 2 tokens in one stream.

    In memory form a text of one token is a target with nothing but the end before it, as in T5.
    """
    texts = examples["tokens"]
    parts = texts.parts
    fewest, most = SPLITS[split](parts.sizes, rate)
    cut = fewest + whole(uniform(np.ones_like(parts.sizes)), most - fewest + 1)
    is_input = parts.place < parts.each(cut)
    end = () if shape.one_stream else (vocab.eos,)
    inputs = around(texts.where(is_input), mode_tokens(mode, vocab), end)
    return shape.write(inputs, around(texts.where(~is_input), (), end), vocab)
