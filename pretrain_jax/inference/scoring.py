"""Log-likelihoods of texts under a model.

A decoder or an encoder-decoder predicts each token from those before it. An encoder predicts each
token from all others, with it masked: the pseudo-likelihood of Salazar et al. 2020.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import numpy as np

from pretrain_jax import losses
from pretrain_jax.inference.decoding import Decoder, divide, to_rows
from pretrain_jax.inference.generation import Generator

MASKED_ROWS = 8
"""Copies of a text, each with another token masked, that run together."""


@dataclass(frozen=True)
class Score:
    """How well a model predicts one text."""

    nats: float
    """Sum of -log p over the scored tokens."""
    tokens: int
    """Number of scored tokens: all but unknown and special ones, and without an id that begins
    documents also the first, which nothing precedes."""
    bytes: int
    """UTF-8 bytes of these tokens."""
    log_probabilities: np.ndarray
    """float32 [n]: of every token of the text; NaN where it is not scored."""

    @property
    def bits_per_byte(self) -> float:
        """nats / ln 2 / bytes; NaN if nothing is scored."""
        return self.nats / math.log(2) / self.bytes if self.bytes else math.nan

    @property
    def perplexity(self) -> float:
        """exp(nats / tokens); NaN if nothing is scored."""
        return math.exp(self.nats / self.tokens) if self.tokens else math.nan


def score_continuations(
    generator: Generator,
    prompts: Sequence[Mapping[str, np.ndarray]],
    texts: Sequence[np.ndarray],
    batch_size: int,
) -> Iterator[Score]:
    """The score of each text, int32 [n], after its prompt (Objective.prompt)."""
    rows = [follow(prompt, text) for prompt, text in zip(prompts, texts, strict=True)]
    firsts = [len(prompt["tokens"]) - 1 for prompt in prompts]
    size, parts = divide(len(rows), batch_size, generator.ways)
    for part in parts:
        log_p = log_probabilities(generator, rows[part], size)
        for row, first, text in zip(log_p, firsts[part], texts[part], strict=False):
            known = row[max(first, 0) : first + len(text)]
            yield make_score(generator, text, np.pad(known, (len(text) - len(known), 0)), first < 0)


def follow(prompt: Mapping[str, np.ndarray], text: np.ndarray) -> dict[str, np.ndarray]:
    """The fields of the row of a prompt and a text after it, with `targets`."""
    stream = np.concatenate([prompt["tokens"], text])
    prefix = np.arange(len(stream)) < len(prompt["tokens"])
    return {
        **prompt,
        "tokens": stream[:-1],
        "targets": stream[1:],
        **({"prefix": prefix[:-1]} if "prefix" in prompt else {}),
    }


def score_masked(
    generator: Generator,
    prompt: Mapping[str, np.ndarray],
    text: np.ndarray,
    mask: int,
    method: str,
) -> Score:
    """The score of a text, int32 [n], in the row that an encoder reads: each token masked alone."""
    row = prompt["tokens"]
    first = next(i for i in range(len(row)) if np.array_equal(row[i : i + len(text)], text))
    size, parts = divide(len(text), MASKED_ROWS, generator.ways)
    log_p = np.zeros(len(text), np.float32)
    for part in parts:
        at = np.arange(len(text))[part]
        masked = [np.where(np.arange(len(row)) == first + i, mask, row) for i in at]
        rows = [{"tokens": tokens.astype(np.int32), "targets": row} for tokens in masked]
        log_p[at] = log_probabilities(generator, rows, size, method)[at - part.start, first + at]
    return make_score(generator, text, log_p, False)


def make_score(
    generator: Generator, text: np.ndarray, log_p: np.ndarray, without_first: bool
) -> Score:
    """The score of a text from the log-probability of each token."""
    tokenizer = generator.tokenizer
    scored = ~tokenizer.unscored[text]
    scored[:1] &= not without_first
    lead = tokenizer.lead_bytes if scored[:1].all() else 0
    return Score(
        nats=-float(log_p[scored].sum(dtype=np.float64)),
        tokens=int(scored.sum()),
        bytes=max(int(tokenizer.token_bytes[text][scored].sum()) - lead, 0),
        log_probabilities=np.where(scored, log_p, np.nan).astype(np.float32),
    )


def log_probabilities(
    generator: Generator,
    rows: Sequence[Mapping[str, np.ndarray]],
    size: int,
    method: str = "__call__",
) -> np.ndarray:
    """float32 [size, L]: the log-probability of each of the `targets` of the rows."""
    batch = to_rows(rows, size, generator.context)
    static = {"decoder": generator.decoder, "method": method}
    return generator.to_host(_log_probabilities(generator.params, batch, **static))


@partial(jax.jit, static_argnames=("decoder", "method"))
def _log_probabilities(params: Any, batch: Any, *, decoder: Decoder, method: str) -> jax.Array:
    targets = batch["targets"]
    read = {name: x for name, x in batch.items() if name != "targets"}
    output, _ = decoder.apply_cached(params, read, {}, (), method=method)
    return -losses.nll_and_hits(output, targets)[0]
