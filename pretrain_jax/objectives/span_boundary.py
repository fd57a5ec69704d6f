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
import jax.numpy as jnp
import numpy as np

from pretrain_jax import losses
from pretrain_jax.corruption import noise
from pretrain_jax.errors import ConfigError
from pretrain_jax.layers.heads import SpanBoundary
from pretrain_jax.layers.initializers import Normal
from pretrain_jax.layers.makers import maker
from pretrain_jax.objectives import Objective, masked_lm
from pretrain_jax.objectives.masked_lm import FIELDS, SPECIALS, Fields, Masking

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
    longest             words in a span
    boundary_positions  tokens of a span that its boundary predicts
    """
    if not 0 < p < 1 or longest < 1 or boundary_positions < 1:
        raise ConfigError(
            "objective.p must lie between 0 and 1, objective.longest and "
            f"objective.boundary_positions must be 1 or more; received {p}, {longest} and "
            f"{boundary_positions}; SpanBERT's are 0.2, 10 and 15"
        )
    draw = partial(noise.geometric_spans, p=p, longest=longest)
    how = Masking(rate, draw, replaced=0.8, random=0.1)
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
    example: Fields,
    rng: np.random.Generator,
    vocab: Any,
    *,
    how: Masking,
    boundary_positions: int,
) -> Fields:
    """{"tokens": [n]} -> tokens [n + 2] and, along P, what is predicted and the boundaries."""
    text = example["tokens"]
    hidden, drawn = how.hide(text, vocab.word_starts[text], len(text) + SPECIALS, rng, vocab)
    at = np.flatnonzero(drawn)
    return {
        **masked_lm.predicted(text, hidden, at, vocab),
        **boundaries(drawn, at, boundary_positions),
    }


def boundaries(drawn: np.ndarray, at: np.ndarray, most: int) -> Fields:
    """The span of each prediction: noise [n] of the text, of which places `at` [P] are predicted.

    0 in all four fields where the boundary predicts nothing.
    """
    span = drawn[at]
    first, last = at[span.searchsorted(span)], at[span.searchsorted(span, side="right") - 1]
    inside = at - first
    counts = (first > 0) & (last < len(drawn) - 1) & (inside < most)
    return {
        "left_at": first * counts,  # the places outside of the span; [CLS] shifts them by 1
        "right_at": (last + 2) * counts,
        "span_positions": inside * counts,
        "span_weights": counts.astype(np.float32),
    }


def probes(example: Fields, vocab: Any) -> list[Fields]:
    """masked_lm's, in which the boundaries predict nothing."""
    nothing = boundaries(np.ones(1, np.int32), np.zeros(1, np.int64), 0)
    return [{**fields, **nothing} for fields in masked_lm.probes(example, vocab)]


def loss(
    apply: Any, params: Any, batch: dict[str, jax.Array], rng: Any, train: bool
) -> losses.Sums:
    """`losses.token_loss`, and span_boundary: the cross entropy of the boundary's predictions."""
    output = apply(params, batch, rng, train)
    nll, _ = losses.token_nll(output.heads["span_boundary"], batch["targets"])
    weights = batch["span_weights"]
    return {
        **losses.token_terms(output, batch),
        "span_boundary": (jnp.sum(nll * weights), jnp.sum(weights)),
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
