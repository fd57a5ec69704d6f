"""Causal language modeling: each position predicts the next token.

A document is begin + text + end. It is cut into chunks of L + 1 tokens; neighbors share one token,
so that every token of the text is predicted exactly once per epoch.
"""

from typing import Any

import numpy as np

from pretrain_jax.corruption.render import unit_weights
from pretrain_jax.objectives import Objective
from pretrain_jax.ragged import Fields, Ragged, RowSplits


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
        baselines=("uniform", "unigram", "bigram"),
        prompt=prompt,
        supports_cross_document=True,
        covers_text=True,
    )


def prompt(ids: np.ndarray, vocab: Any) -> dict[str, np.ndarray]:
    """The text after the id that begins documents, if there is one."""
    begin = () if vocab.bos is None else (vocab.bos,)
    return {"tokens": np.array([*begin, *ids], np.int32)}


def shift(examples: Fields, uniform: Any, vocab: Any) -> Fields:
    """Inputs and targets, shifted by one: [1, 5, 6, 2] -> tokens [1, 5, 6], targets [5, 6, 2].

    It draws nothing: uniform and vocab are unused, as in every objective without noise.
    """
    del uniform, vocab
    texts = examples["tokens"]
    parts = RowSplits(texts.splits.sizes - 1)
    first, last = np.ones((2, len(texts.values)), np.bool_)
    first[texts.splits.starts] = False
    last[texts.splits.starts + parts.sizes] = False
    return {
        "tokens": Ragged(texts.values[last], parts),
        "targets": Ragged(texts.values[first], parts),
        "weights": unit_weights(parts),
    }
