"""Masked language modeling over two texts, and whether the second follows the first.

BERT (Devlin et al. 2018, section 3.1; google-research/bert create_pretraining_data.py and
run_pretraining.py): [CLS] A [SEP] B [SEP] with segment types 0 and 1; the hidden state at [CLS]
says whether B follows A in its document (label 0) or was taken from another one (label 1), as in
the released code. The two losses, each a mean over its own predictions, are added.

A = "a b" followed by B = "c", with b predicted, [CLS] = 5, [SEP] = 6, [MASK] = 4, a = 10 .. c = 12:

    tokens      5 10  4  6 12  6
    types       0  0  0  0  1  1
    predict_at  2
    targets     11
    weights     1
    example_at  0
    labels      0
    label_weights  1
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pretrain_jax import losses
from pretrain_jax.errors import ConfigError
from pretrain_jax.layers.heads import PooledClassifier
from pretrain_jax.layers.initializers import TruncatedNormal
from pretrain_jax.layers.makers import maker
from pretrain_jax.objectives import Objective
from pretrain_jax.objectives.masked_lm import (
    FIELDS,
    NEEDS,
    YARDSTICKS,
    Fields,
    Masking,
    answers,
    chosen,
    room,
    singly,
)

SPECIALS = 3
"""[CLS] A [SEP] B [SEP]."""
TOKENS_A_LABEL = 8
"""A row has room for one pair in every 8 of its tokens: 64 in 512."""
HEAD = maker(PooledClassifier, classes=2, kernel_init=TruncatedNormal(0.02))


def build(
    *,
    rate: float = 0.15,
    noise: str = "tokens",
    replaced: float = 0.8,
    random: float = 0.1,
    copies: int = 0,
    short: float = 0.1,
) -> Objective:
    """The objective of BERT. The options are masked_lm's, and

    short   probability that a pair is cut for a shorter length, drawn between 2 and the longest

    A span of noise="spans" may run from A over the [SEP] into B; the [SEP] stays as it is.
    """
    if not 0 <= short <= 1:
        raise ConfigError(
            "objective.short is the probability of a short pair and must lie between 0 and 1; "
            f"received {short}; BERT's is 0.1"
        )
    how = chosen(rate, noise, replaced, random, copies)
    return Objective(
        fields=(*FIELDS, "types", "example_at", "labels", "label_weights"),
        attention="full",
        arrangement="pairs",
        arrange=lambda seq_len: {
            "raw_length": room(seq_len, SPECIALS, least=2),
            "short": short,
        },
        lengths=lambda n: {"L": n + SPECIALS, "P": how.count(n + SPECIALS), "E": 1},
        budgets=lambda seq_len: {
            "L": seq_len,
            "P": how.budget(seq_len),
            "E": -(-seq_len // TOKENS_A_LABEL),
        },
        corrupt=partial(corrupt, how=how),
        yardsticks=YARDSTICKS,
        needs=NEEDS,
        copies=how.copies,
        heads=(("next_sentence", HEAD),),
        loss=loss,
        coefficients={"loss": 1.0, "next_sentence": 1.0},
        metrics=metrics,
        probes=probes,
    )


def corrupt(example: Fields, rng: np.random.Generator, vocab: Any, *, how: Masking) -> Fields:
    """{"first": [a], "second": [b], "is_next": [1]} -> tokens, types [a + b + 3], answers."""
    text, first = joined(example)
    starts = vocab.word_starts[text]
    starts[first] = True  # a word does not run from one text into the other
    hidden, drawn = how.hide(text, starts, len(text) + SPECIALS, rng, vocab)
    label = 1 - example["is_next"]
    return predicted(text, first, label, hidden, np.flatnonzero(drawn), vocab)


def predicted(
    text: np.ndarray, first: int, label: np.ndarray, hidden: np.ndarray, at: np.ndarray, vocab: Any
) -> Fields:
    """The fields of a pair of which the model reads `hidden` [a + b] and predicts places `at`.

    text int32 [a + b]; first = a; label int32 [1].
    """
    tokens = np.empty(len(text) + SPECIALS, hidden.dtype)
    tokens[0], tokens[first + 1], tokens[-1] = vocab.cls, vocab.sep, vocab.sep
    tokens[1 : first + 1], tokens[first + 2 : -1] = hidden[:first], hidden[first:]
    types = np.zeros(len(tokens), np.int32)
    types[first + 2 :] = 1
    return {
        "tokens": tokens,
        **answers(text, at, at + 1 + (at >= first)),
        "types": types,
        "example_at": np.zeros(1, np.int32),
        "labels": label,
        "label_weights": np.ones(1, np.float32),
    }


def joined(example: Fields) -> tuple[np.ndarray, int]:
    """Both texts as one [a + b], and a."""
    return np.concatenate([example["first"], example["second"]]), len(example["first"])


def probes(example: Fields, vocab: Any) -> list[Fields]:
    """One pair for each token of both texts, in which that token alone is masked and predicted."""
    text, first = joined(example)
    label = 1 - example["is_next"]
    return [predicted(text, first, label, hidden, at, vocab) for hidden, at in singly(text, vocab)]


def loss(
    apply: Any, params: Any, batch: dict[str, jax.Array], rng: Any, train: bool
) -> losses.Sums:
    """`losses.token_loss`, and next_sentence: the cross entropy of the labels."""
    output = apply(params, batch, rng, train)
    weights = batch["label_weights"]
    nll = -jnp.take_along_axis(
        jax.nn.log_softmax(output.heads["next_sentence"]), batch["labels"][..., None], axis=-1
    )
    return {
        **losses.token_terms(output, batch),
        "next_sentence": (jnp.sum(nll[..., 0] * weights), jnp.sum(weights)),
    }


def metrics(
    apply: Any, params: Any, batch: dict[str, jax.Array], rng: Any, special: jax.Array
) -> losses.Sums:
    """`losses.token_metrics`, next_sentence_accuracy, and that of always saying "random"."""
    output = apply(params, batch, rng, False)
    weights, labels = batch["label_weights"], batch["labels"]
    hits = jnp.argmax(output.heads["next_sentence"], axis=-1) == labels
    count = jnp.sum(weights)
    return {
        **losses.text_metrics(output, batch, special),
        "next_sentence_accuracy": (jnp.sum(hits * weights), count),
        "yardstick/always_random": (jnp.sum(labels * weights), count),
    }
