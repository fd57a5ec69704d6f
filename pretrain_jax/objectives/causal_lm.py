"""Causal language modelling: each position predicts the next token.

A document is begin + text + end, cut into chunks of L + 1 tokens that share one token with their
neighbour, so that every token of the text is predicted exactly once an epoch.
"""

from typing import Any

import numpy as np

from pretrain_jax.objectives import Objective


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


def shift(example: dict[str, np.ndarray], rng: Any, vocab: Any) -> dict[str, np.ndarray]:
    """Input and answer, one apart: [1, 5, 6, 2] -> tokens [1, 5, 6], targets [5, 6, 2].

    Nothing is drawn: rng and vocab are unused, as in every objective without noise.
    """
    del rng, vocab
    raw = example["tokens"]
    weights = np.ones(len(raw) - 1, np.float32)
    return {"tokens": raw[:-1], "targets": raw[1:], "weights": weights}
