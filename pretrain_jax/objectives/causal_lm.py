"""Causal language modelling: each position predicts the next token.

A document is begin + text + end, cut into chunks of L + 1 tokens that share one token with their
neighbour, so that every token of the text is predicted exactly once an epoch.
"""

from typing import Any

import numpy as np

from pretrain_jax.corruption.render import ones
from pretrain_jax.objectives import Objective
from pretrain_jax.ragged import Fields, Parts, Ragged


def build() -> Objective:
    """The objective of GPT. It has no options."""
    return Objective(
        fields=("tokens", "targets", "weights"),
        attention="causal",
        arrangement="chunks",
        arrange=lambda seq_len: {
            "raw_length": seq_len + 1,
            "overlap": 1,
            "begin": "bos",
            "end": "eos",
        },
        lengths=lambda n: {"L": n - 1},
        budgets=lambda seq_len: {"L": seq_len},
        corrupt=shift,
        yardsticks=("uniform", "unigram", "bigram"),
        crosses=True,
        covers_text=True,
    )


def shift(examples: Fields, uniform: Any, vocab: Any) -> Fields:
    """Input and answer, one apart: [1, 5, 6, 2] -> tokens [1, 5, 6], targets [5, 6, 2].

    Nothing is drawn: uniform and vocab are unused, as in every objective without noise.
    """
    del uniform, vocab
    texts = examples["tokens"]
    parts = Parts(texts.parts.sizes - 1)
    first, last = np.ones((2, len(texts.values)), np.bool_)
    first[texts.parts.starts] = False
    last[texts.parts.starts + parts.sizes] = False
    return {
        "tokens": Ragged(texts.values[last], parts),
        "targets": Ragged(texts.values[first], parts),
        "weights": ones(parts),
    }
