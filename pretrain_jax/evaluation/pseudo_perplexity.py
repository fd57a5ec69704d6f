"""Pseudo-perplexity of an encoder: each token is masked alone and predicted from all others.

Salazar et al. 2020, "Masked Language Model Scoring", section 2.
"""

import itertools
import math
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import jax
import numpy as np

from pretrain_jax.composition.build import Design
from pretrain_jax.composition.feed import Feed
from pretrain_jax.data import pack
from pretrain_jax.data.pipeline import Batch
from pretrain_jax.step import pll_step

MASKED_COPIES = 64
"""Copies of an example that are made at once, each with another token masked."""


def evaluate(
    design: Design, feed: Feed, params: Any, special: jax.Array
) -> dict[str, float | None]:
    """{"valid/pseudo_perplexity": exp(mean nats)} over `eval.pseudo_tokens` tokens; {} if 0.

    special: bool [V], ids that no score counts.
    """
    if not design.spec.eval.pseudo_tokens:
        return {}
    function = jax.jit(partial(pll_step, program=design.update.program))
    total = tokens = 0.0
    for rows in masked_batches(design, feed):
        batch = design.placement.rows.to_global(rows, feed.eval_batch_size)
        nats, count = jax.device_get(function(params, batch, special))
        total, tokens = total + float(nats), tokens + float(count)
    mean = total / tokens if tokens else None
    return {"valid/pseudo_perplexity": None if mean is None else math.exp(min(mean, 700.0))}


def masked_batches(design: Design, feed: Feed) -> Iterator[Batch]:
    """Rows that each mask one token: the first `eval.pseudo_tokens` held-out tokens of the first
    source."""
    pll_examples = design.task.objective.pll_examples
    if pll_examples is None:
        raise ValueError("only encoders have a pseudo-perplexity")
    budgets = design.task.budgets(design.spec.phases.eval_seq_len)
    padding = {
        k: a[0] for k, a in pack.empty_batch(1, design.task.objective.fields, budgets).items()
    }
    masked = masked_rows(feed, design.spec.phases.eval_seq_len, pll_examples, budgets)
    rows = list(itertools.islice(masked, design.spec.eval.pseudo_tokens))
    size = feed.eval_batch_size
    rows += [padding] * (-len(rows) % size)
    for first in range(0, len(rows), size):
        local = [rows[first + index] for index in design.placement.rows.local_rows(size)]
        yield {name: np.stack([row[name] for row in local]) for name in padding}


def masked_rows(
    feed: Feed, seq_len: int, pll_examples: Any, budgets: Mapping[str, int]
) -> Iterator[Batch]:
    """One row for each token of each held-out example of the first source, with it masked."""
    member = feed.stream("valid", seq_len).members[0]
    for row in range(len(member.rows)):
        for example in member.rows[row]:
            raw = member.examples.take(np.array([example]))
            count = int(member.examples.length[example])
            for indices in np.split(np.arange(count), range(MASKED_COPIES, count, MASKED_COPIES)):
                examples = pll_examples(raw, indices, feed.tokenizer)
                batch = pack.pack(examples, np.ones_like(indices), budgets=budgets)
                for i in range(len(indices)):
                    yield {name: array[i] for name, array in batch.items()}
