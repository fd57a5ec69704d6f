"""Masked language modeling over two texts, and whether the second follows the first.

BERT (Devlin et al. 2018, section 3.1; google-research/bert create_pretraining_data.py and
run_pretraining.py): [CLS] A [SEP] B [SEP] with segment types 0 and 1. The hidden state at [CLS]
predicts whether B follows A in its document (label 0) or comes from another document (label 1), as
in the released code. The two losses, each a mean over its own predictions, are added.

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
from pretrain_jax.corruption.render import unit_weights
from pretrain_jax.corruption.uniform import Uniform
from pretrain_jax.layers.factories import factory
from pretrain_jax.layers.heads import PooledClassifier
from pretrain_jax.layers.initializers import TruncatedNormal
from pretrain_jax.objectives import Objective, _encoder
from pretrain_jax.objectives._encoder import Masking
from pretrain_jax.ragged import Fields, Ragged, RowSplits, concatenate_rows
from pretrain_jax.rounding import ceil_div

NEXT_RATE = 0.5
"""Probability that B follows A (create_pretraining_data.py)."""
SPECIALS = 3
"""[CLS] A [SEP] B [SEP]."""
TOKENS_PER_PAIR = 8
"""A row has room for one pair per 8 of its tokens: 64 in 512."""
HEAD = factory(PooledClassifier, classes=2, kernel_init=TruncatedNormal(0.02))


def build(
    *,
    rate: float = 0.15,
    noise: str = "tokens",
    replaced: float = 0.8,
    random: float = 0.1,
    copies: int = 0,
    short: float = 0.1,
) -> Objective:
    """The objective of BERT.

    rate, noise, replaced, random, copies   see masked_lm. A span of noise="spans" may run from A
            over the [SEP] into B; the [SEP] itself does not change.
    short   probability that a pair is cut to a shorter length, drawn between 2 and the maximum
    """
    how = _encoder.build_masking(rate, noise, replaced, random, copies)
    return Objective(
        fields=(*_encoder.FIELDS, "types", "example_at", "labels", "label_weights"),
        attention="full",
        arrangement="pairs",
        arrange=lambda seq_len: {
            "raw_length": _encoder.text_length(seq_len, SPECIALS, least=2),
            "next_rate": NEXT_RATE,
            "short": short,
        },
        lengths=lambda n: {"L": n + SPECIALS, "P": how.count(n + SPECIALS), "E": 1},
        budgets=lambda seq_len: {
            "L": seq_len,
            "P": how.budget(seq_len),
            "E": ceil_div(seq_len, TOKENS_PER_PAIR),
        },
        corrupt=partial(corrupt, how=how),
        baselines=_encoder.BASELINES,
        special_tokens=_encoder.SPECIAL_TOKENS,
        copies=how.copies,
        heads=(("next_sentence", HEAD),),
        loss=loss,
        coefficients={"loss": 1.0, "next_sentence": 1.0},
        metrics=metrics,
        pll_examples=pll_examples,
        prompt=_encoder.prompt,
        data_warning=how.data_warning,
    )


def corrupt(examples: Fields, uniform: Uniform, vocab: Any, *, how: Masking) -> Fields:
    """{"first": texts of a, "second": texts of b, "is_next": 1 of each} -> tokens and types,
    a + b + 3 of each; predict_at, targets, weights, P of each; labels."""
    texts, first = join_pairs(examples)
    starts = vocab.word_starts[texts.values]
    starts[texts.splits.starts + first] = True  # no word runs from one text into the other
    hidden, drawn = how.hide(texts, starts, SPECIALS, uniform, vocab)
    labels = 1 - examples["is_next"].values
    return pair_fields(texts, first, labels, hidden, drawn.nonzero()[0], vocab)


def pair_fields(
    texts: Ragged,
    first: np.ndarray,
    labels: np.ndarray,
    hidden: np.ndarray,
    at: np.ndarray,
    vocab: Any,
) -> Fields:
    """The fields of pairs of texts.

    texts   the two texts of each pair as one, a + b tokens
    first   int [E], the a of each pair
    labels  int32 [E]
    hidden  int32 [T], the tokens that the model reads in place of `texts`
    at      indices of the predicted tokens in `texts`
    """
    in_second = texts.splits.offsets >= texts.splits.broadcast(first)
    streams = RowSplits(texts.splits.sizes + SPECIALS)
    tokens = np.full(streams.total, vocab.sep, hidden.dtype)
    tokens[np.arange(len(hidden)) + texts.splits.row_ids * SPECIALS + 1 + in_second] = hidden
    tokens[streams.starts] = vocab.cls
    types = streams.offsets > streams.broadcast(first + 1)
    one = RowSplits(np.ones(len(streams), np.int64))
    return {
        "tokens": Ragged(tokens, streams),
        **_encoder.predictions(texts, at, texts.splits.offsets[at] + 1 + in_second[at]),
        "types": Ragged(types.astype(np.int32), streams),
        "example_at": Ragged(np.zeros(len(one), np.int32), one),
        "labels": Ragged(labels, one),
        "label_weights": unit_weights(one),
    }


def join_pairs(examples: Fields) -> tuple[Ragged, np.ndarray]:
    """(the two texts of each pair as one, the number of tokens in the first, int [E])."""
    first = examples["first"]
    return concatenate_rows(first, examples["second"]), first.splits.sizes


def pll_examples(example: Fields, positions: np.ndarray, vocab: Any) -> Fields:
    """One pair per position in both texts; each masks and predicts the token there alone."""
    text, first = join_pairs(example)
    copies, hidden, at = _encoder.mask_one_each(text, positions, vocab)
    labels = 1 - example["is_next"].values
    n = len(copies.splits)
    return pair_fields(copies, first.repeat(n), labels.repeat(n), hidden, at, vocab)


def loss(
    apply: Any, params: Any, batch: dict[str, jax.Array], rng: Any, train: bool
) -> losses.Sums:
    """`losses.token_loss`, and "next_sentence": the cross entropy of the labels."""
    output = apply(params, batch, rng, train)
    weights = batch["label_weights"]
    nll = losses.class_nll(output.heads["next_sentence"], batch["labels"])
    return {
        **losses.token_terms(output, batch),
        "next_sentence": (jnp.sum(nll * weights), jnp.sum(weights)),
    }


def metrics(
    apply: Any, params: Any, batch: dict[str, jax.Array], rng: Any, special: jax.Array
) -> losses.Sums:
    """`losses.token_metrics`, next_sentence_accuracy, and the accuracy of always answering
    "random"."""
    output = apply(params, batch, rng, False)
    weights, labels = batch["label_weights"], batch["labels"]
    hits = jnp.argmax(output.heads["next_sentence"], axis=-1) == labels
    count = jnp.sum(weights)
    return {
        **losses.text_metrics(output, batch, special),
        "next_sentence_accuracy": (jnp.sum(hits * weights), count),
        "yardstick/always_random": (jnp.sum(labels * weights), count),
    }
