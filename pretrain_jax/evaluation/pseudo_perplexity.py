"""Pseudo-perplexity of an encoder: every token masked alone, with all the others in view.

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

BLOCK = 64
"""Probes that are made at once: each is as long as the text."""


def perplexity(
    design: Design, feed: Feed, params: Any, special: jax.Array
) -> dict[str, float | None]:
    """{"valid/pseudo_perplexity": exp of the mean nats}, over `eval.pseudo_tokens` tokens.

    Empty where it is not asked for. special: bool [V], ids that no score counts.
    """
    if not design.spec.eval.pseudo_tokens:
        return {}
    function = jax.jit(partial(pll_step, program=design.update.program))
    total = tokens = 0.0
    for rows in batches(design, feed):
        batch = design.placement.rows.to_global(rows, feed.eval_batch_size)
        nats, count = jax.device_get(function(params, batch, special))
        total, tokens = total + float(nats), tokens + float(count)
    mean = total / tokens if tokens else None
    return {"valid/pseudo_perplexity": None if mean is None else math.exp(min(mean, 700.0))}


def batches(design: Design, feed: Feed) -> Iterator[Batch]:
    """Rows that each mask one token of a held-out example: the first tokens of the first source."""
    pll_examples = design.task.objective.pll_examples
    if pll_examples is None:
        raise ValueError("only encoders have a pseudo-perplexity")
    budgets = design.task.budgets(design.spec.phases.eval_seq_len)
    padding = {
        k: a[0] for k, a in pack.empty_batch(1, design.task.objective.fields, budgets).items()
    }
    made = probed(feed, design.spec.phases.eval_seq_len, pll_examples, budgets)
    rows = list(itertools.islice(made, design.spec.eval.pseudo_tokens))
    size = feed.eval_batch_size
    rows += [padding] * (-len(rows) % size)
    for first in range(0, len(rows), size):
        mine = [rows[first + place] for place in design.placement.rows.local_rows(size)]
        yield {name: np.stack([row[name] for row in mine]) for name in padding}


def probed(feed: Feed, seq_len: int, probes: Any, budgets: Mapping[str, int]) -> Iterator[Batch]:
    """The probes of one held-out example after the other, each a row of its own."""
    member = feed.stream("valid", seq_len).members[0]
    for row in range(len(member.rows)):
        for example in member.rows[row]:
            raw = member.examples.take(np.array([example]))
            count = int(member.examples.length[example])
            for places in np.split(np.arange(count), range(BLOCK, count, BLOCK)):
                found = probes(raw, places, feed.tokenizer)
                batch = pack.pack(found, np.ones_like(places), budgets=budgets)
                for i in range(len(places)):
                    yield {name: array[i] for name, array in batch.items()}
