"""Masked spans, predicted by their own places and by the two tokens around them.

SpanBERT (Joshi et al. 2019, sections 3.1 and 3.2; facebookresearch/SpanBERT masking.py,
pair_bert.py, spanbert_loss.py, and the command of its README). Spans of 1 to 10 words, with lengths
from Geometric(0.2), hide 15 % of the tokens: [MASK] 80 %, random tokens 10 %, unchanged 10 %, drawn
once for a span. The boundary predicts the first 15 tokens of a span that has text on both of its
sides: as in the released code, [CLS] and [SEP] are no boundaries, and the tokens of a span that
begins or ends the text are predicted by masked language modeling alone. The two losses, each a mean
over its own targets, are added. The number of predictions is masked_lm's; the released code takes
ceil(rate n) of the n tokens of the text, at most one more or less.

Text "a b c d e" with b and c predicted, [CLS] = 5, [SEP] = 6, [MASK] = 4, a = 10 .. e = 14:

    tokens          5 10  4  4 13 14  6
    predict_at      2  3
    targets        11 12
    weights         1  1
    left_at         1  1
    right_at        4  4
    span_positions  0  1
    span_weights    1  1
"""

from functools import partial
from typing import Any

import jax
import numpy as np

from pretrain_jax import losses
from pretrain_jax.corruption import noise
from pretrain_jax.corruption.uniform import Uniform
from pretrain_jax.errors import ConfigError
from pretrain_jax.layers.heads import SpanBoundary
from pretrain_jax.layers.initializers import Normal
from pretrain_jax.layers.makers import maker
from pretrain_jax.objectives import Objective, masked_lm
from pretrain_jax.objectives.masked_lm import FIELDS, SPECIALS, Masking
from pretrain_jax.ragged import Fields, Parts, Ragged

POSITION_WIDTH = 200
INIT = Normal(0.02)
"""Not truncated, in the released code (pair_bert.py, init_bert_weights)."""


def build(
    *,
    rate: float = 0.15,
    p: float = 0.2,
    longest: int = 10,
    boundary_positions: int = 15,
) -> Objective:
    """The objective of SpanBERT.

    p                   of the geometric distribution of span lengths
    longest             words in a span; of text without spaces, stretches (words.cut_words)
    boundary_positions  tokens of a span that its boundary predicts
    """
    if not 0 < p < 1 or longest < 1 or boundary_positions < 1:
        raise ConfigError(
            "objective.p must lie between 0 and 1, objective.longest and "
            f"objective.boundary_positions must be 1 or more; received {p}, {longest} and "
            f"{boundary_positions}; SpanBERT's are 0.2, 10 and 15"
        )
    draw = partial(noise.geometric_spans, p=p, longest=longest)
    how = Masking(rate, draw, replaced=0.8, random=0.1, by_words=True)
    head = maker(
        SpanBoundary,
        positions=boundary_positions,
        position_width=POSITION_WIDTH,
        kernel_init=INIT,
    )
    return Objective(
        **masked_lm.single_text(how),
        fields=(*FIELDS, "left_at", "right_at", "span_positions", "span_weights"),
        corrupt=partial(corrupt, how=how, boundary_positions=boundary_positions),
        heads=(("span_boundary", head),),
        loss=loss,
        coefficients={"loss": 1.0, "span_boundary": 1.0},
        metrics=metrics,
        probes=probes,
    )


def corrupt(
    examples: Fields,
    uniform: Uniform,
    vocab: Any,
    *,
    how: Masking,
    boundary_positions: int,
) -> Fields:
    """{"tokens": texts of n} -> tokens, n + 2 of each, and, P of each, predictions and bounds."""
    texts = examples["tokens"]
    starts = vocab.word_starts[texts.values]
    hidden, drawn = how.hide(texts, starts, SPECIALS, uniform, vocab)
    at = drawn.nonzero()[0]
    return {
        **masked_lm.predicted(texts, hidden, at, vocab),
        **boundaries(texts.parts, drawn, at, boundary_positions),
    }


def boundaries(texts: Parts, drawn: np.ndarray, at: np.ndarray, most: int) -> Fields:
    """The span of each prediction: noise [T] of the texts, of which places `at` are predicted.

    0 in all four fields where the boundary predicts nothing.
    """
    begins = noise.firsts(texts, drawn)[at]
    span = begins.cumsum() - 1  # of each prediction
    ends = np.roll(begins, -1)
    first, last = (texts.place[at[edge]][span] for edge in (begins, ends))
    inside = texts.place[at] - first
    bounded = (first > 0) & (last < texts.sizes[texts.of[at]] - 1) & (inside < most)
    parts = texts.counts(at)
    return {
        "left_at": Ragged(first * bounded, parts),  # outside of the span; [CLS] shifts by 1
        "right_at": Ragged((last + 2) * bounded, parts),
        "span_positions": Ragged(inside * bounded, parts),
        "span_weights": Ragged(bounded.astype(np.float32), parts),
    }


def probes(example: Fields, places: np.ndarray, vocab: Any) -> Fields:
    """masked_lm's, in which the boundaries predict nothing."""
    copies, hidden, at = masked_lm.singly(example["tokens"], places, vocab)
    drawn = np.zeros(len(hidden), np.int32)
    drawn[at] = 1
    nothing = boundaries(copies.parts, drawn, at, most=0)
    return {**masked_lm.predicted(copies, hidden, at, vocab), **nothing}


def loss(
    apply: Any, params: Any, batch: dict[str, jax.Array], rng: Any, train: bool
) -> losses.Sums:
    """`losses.token_loss`, and span_boundary: the cross entropy of the boundary's predictions."""
    output = apply(params, batch, rng, train)
    of_spans = {**batch, "weights": batch["span_weights"]}
    return {
        **losses.token_terms(output, batch),
        "span_boundary": losses.token_terms(output.heads["span_boundary"], of_spans)["loss"],
    }


def metrics(
    apply: Any, params: Any, batch: dict[str, jax.Array], rng: Any, special: jax.Array
) -> losses.Sums:
    """`losses.token_metrics`, and the boundary's: span_boundary, span_boundary_accuracy."""
    output = apply(params, batch, rng, False)
    of_spans = {**batch, "weights": batch["span_weights"]}
    boundary = losses.text_metrics(output.heads["span_boundary"], of_spans, special)
    return {
        **losses.text_metrics(output, batch, special),
        "span_boundary": boundary["text"],
        "span_boundary_accuracy": boundary["accuracy"],
    }
