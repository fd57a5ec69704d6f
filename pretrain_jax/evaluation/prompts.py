"""Chooses the held-out prompt of samples: text whose continuation a person can judge."""

import contextlib
import itertools
from collections.abc import Iterable, Iterator
from operator import itemgetter

import numpy as np

from pretrain_jax.composition.feed import Feed
from pretrain_jax.data.pipeline import Batch
from pretrain_jax.tokenizers import Tokenizer

PROMPT_TOKENS = 32
MAX_BATCHES = 16
"""Evaluation batches that are searched for a prompt."""
MIN_WORD_SHARE = 0.7
"""Share of letters and white space in text that is mostly words."""


def choose_prompt(feed: Feed) -> np.ndarray:
    """int32 [n]: the start of a readable held-out example; n is at most PROMPT_TOKENS and half a
    row."""
    row = feed.design.task.budgets(feed.design.spec.phases.eval_seq_len)["L"]
    with contextlib.closing(feed.eval_batches()) as batches:
        return find_readable(batches, feed.tokenizer)[: min(PROMPT_TOKENS, max(1, row // 2))]


def find_readable(batches: Iterable[Batch], tokenizer: Tokenizer) -> np.ndarray:
    """int32 [n]: the first example that starts a text, fills at least half a row and is mostly
    words; if the first MAX_BATCHES have none, the example that comes closest."""
    candidates = rank_examples(itertools.islice(batches, MAX_BATCHES), tokenizer)
    return min(candidates, key=itemgetter(0))[1]


def rank_examples(
    batches: Iterable[Batch], tokenizer: Tokenizer
) -> Iterator[tuple[tuple[bool, ...], np.ndarray]]:
    """(faults, example) of each example up to the first without faults.

    faults: (mostly not words, shorter than half a row, not the start of a text).
    """
    for batch in batches:
        for row, segments in zip(batch["tokens"], batch["segments"], strict=True):
            for number in range(1, int(segments.max()) + 1):
                example = row[segments == number]
                text = tokenizer.decode(example)
                words = sum(c.isalpha() or c.isspace() for c in text)
                begins = tokenizer.bos in (None, example[0])
                faults = (
                    words < MIN_WORD_SHARE * len(text),
                    len(example) < len(row) // 2,
                    not begins,
                )
                yield faults, example
                if not any(faults):
                    return
