"""The held-out text that a sample continues: one whose continuation a person can judge."""

import contextlib
import itertools
from collections.abc import Iterable, Iterator
from operator import itemgetter

import numpy as np

from pretrain_jax.composition.feed import Feed
from pretrain_jax.data.pipeline import Batch
from pretrain_jax.tokenizers import Tokenizer

MOST_BATCHES = 16
"""Of evaluation, in which a prompt is looked for."""
WORDS = 0.7
"""Share of characters that are letters or white space in a text that is mostly words."""


def prompt(feed: Feed, tokens: int = 32) -> np.ndarray:
    """int32 [up to `tokens`]: the beginning of a readable held-out example, at most half a row."""
    row = feed.design.task.budgets(feed.design.spec.phases.eval_seq_len)["L"]
    with contextlib.closing(feed.eval_batches()) as batches:
        return readable(batches, feed.tokenizer)[: min(tokens, max(1, row // 2))]


def readable(batches: Iterable[Batch], tokenizer: Tokenizer) -> np.ndarray:
    """int32 [n]: the first example that begins a text, is at least half a row and mostly words.

    Where none of the first batches has one, that which lacks least of this.
    """
    looked_at = lacking(itertools.islice(batches, MOST_BATCHES), tokenizer)
    return min(looked_at, key=itemgetter(0))[1]


def lacking(
    batches: Iterable[Batch], tokenizer: Tokenizer
) -> Iterator[tuple[tuple[bool, ...], np.ndarray]]:
    """What each example lacks to be a prompt, the worst first, up to one that lacks nothing."""
    for batch in batches:
        for row, segments in zip(batch["tokens"], batch["segments"], strict=True):
            for number in range(1, int(segments.max()) + 1):
                example = row[segments == number]
                text = tokenizer.decode(example)
                words = sum(c.isalpha() or c.isspace() for c in text)
                begins = tokenizer.bos in (None, example[0])
                lacks = (words < WORDS * len(text), len(example) < len(row) // 2, not begins)
                yield lacks, example
                if not any(lacks):
                    return
