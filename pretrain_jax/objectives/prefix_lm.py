"""Prefix language modeling: the end of a text is predicted from its beginning.

T5's objective (arXiv 1910.10683, section 3.3.1; t5/data/preprocessors.py `prefix_lm`) and UL2's
S-denoiser. For an encoder-decoder, with 1 the end token, 0 the start of a decoder, and "a b c d e"
(10 .. 14) split after b:

    memory_tokens   10 11  1
    tokens           0 12 13 14
    targets         12 13 14  1

In one stream, nothing separates the two parts. Documents have begin and end tokens, and chunks
share one token as in causal_lm.

The lengths of the parts are drawn after rows are planned, so a row reserves the longest of each.
With split="uniform" at T5's rate of 0.5 these are n and n: half of all positions stay empty, as in
T5. At UL2's rate of 0.25 they are n and n / 2, and a third stays empty. split="fixed" draws nothing
and wastes nothing. One stream wastes no positions, only unused predictions.
"""

from functools import partial
from typing import Any

import numpy as np

from pretrain_jax import registry
from pretrain_jax.corruption.uniform import Uniform, to_int
from pretrain_jax.errors import ConfigError
from pretrain_jax.objectives import Objective
from pretrain_jax.objectives._layout import Layout, mode_tokens, pick_layout
from pretrain_jax.ragged import Fields, wrap


def build(
    *, rate: float = 0.5, split: str = "uniform", inputs: str = "memory", mode: int = 0
) -> Objective:
    """The prefix LM objective.

    rate     share of the text that is predicted; with "uniform" the mean share, at most 0.5
    split    "uniform": the number of inputs is uniform from (1 - 2 rate) n, at least 1, to n - 1.
             "fixed": the last round(rate n) tokens are the targets.
    inputs   "memory" (encoder-decoder), "prefix" or "stream" (objectives/_layout.py)
    mode     number of the mode token before the inputs, 0 for none
    """
    registry.check_name(split, SPLITS, "objective.split")
    if split == "uniform" and rate > 0.5:
        raise ConfigError(
            "objective.rate, the mean share of the text that is predicted, must be at most 0.5 "
            f"with objective.split=uniform; received {rate}; objective.split=fixed takes more"
        )
    layout = pick_layout(inputs)
    ends = 0 if layout.one_stream else 1

    def lengths(n: Any) -> dict[str, Any]:
        fewest, most = SPLITS[split](n, rate)
        modes = int(mode > 0)
        return layout.lengths(most + modes + ends, n - fewest + ends, both=n + modes)

    cut = {"overlap": 1, "begin": "bos", "end": "eos"} if layout.one_stream else {}
    return Objective(
        **layout.chunks(lengths, **cut),
        corrupt=partial(corrupt, layout=layout, rate=rate, split=split, mode=mode),
        special_tokens=layout.special_tokens
        if layout.one_stream
        else (*layout.special_tokens, "eos"),
        sentinels=lambda seq_len: mode,
        prompt=partial(prompt, layout=layout, mode=mode),
        baselines=("uniform", "unigram"),
    )


def uniform_split(n: Any, rate: float) -> tuple[Any, Any]:
    """(fewest, most) inputs in a text of n tokens: T5's random_prefix_noise_mask."""
    least = np.rint((1 - 2 * rate) * (n - 1)).astype(np.int64)
    return np.minimum(np.maximum(least, 1), n - 1), n - 1


def fixed_split(n: Any, rate: float) -> tuple[Any, Any]:
    """The number of inputs in a text of n tokens, twice; at least one token is a target."""
    targets = np.maximum(np.rint(n * rate).astype(np.int64), 1)
    kept = n - np.minimum(targets, np.maximum(n - 1, 1))
    return kept, kept


SPLITS = {"uniform": uniform_split, "fixed": fixed_split}


def prompt(ids: np.ndarray, vocab: Any, *, layout: Layout, mode: int) -> dict[str, np.ndarray]:
    """The inputs of `corrupt` for a text whose continuation is wanted."""
    start = () if vocab.bos is None or not layout.one_stream else (vocab.bos,)
    end = () if layout.one_stream else (vocab.eos,)
    return layout.prompt(ids, vocab, (*mode_tokens(mode, vocab), *start), end)


def corrupt(
    examples: Fields,
    uniform: Uniform,
    vocab: Any,
    *,
    layout: Layout,
    rate: float,
    split: str,
    mode: int,
) -> Fields:
    """The fields of {"tokens": int32 texts}; in one stream, of at least 2 tokens each.

    In the memory layout, a text of one token is a target, and its inputs are the end token alone,
    as in T5.
    """
    texts = examples["tokens"]
    parts = texts.splits
    fewest, most = SPLITS[split](parts.sizes, rate)
    cut = fewest + to_int(uniform(np.ones_like(parts.sizes)), most - fewest + 1)
    is_input = parts.offsets < parts.broadcast(cut)
    end = () if layout.one_stream else (vocab.eos,)
    inputs = wrap(texts.boolean_mask(is_input), mode_tokens(mode, vocab), end)
    return layout.write(inputs, wrap(texts.boolean_mask(~is_input), (), end), vocab)
