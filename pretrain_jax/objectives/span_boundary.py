"""Masked spans, predicted from their own positions and from the two tokens around them.

SpanBERT (Joshi et al. 2019, sections 3.1 and 3.2; facebookresearch/SpanBERT masking.py,
pair_bert.py, spanbert_loss.py, and the command in its README). Spans of 1 to 10 words, with lengths
from Geometric(0.2), hide 15 % of the tokens: [MASK] 80 %, random tokens 10 %, unchanged 10 %, drawn
once per span. The boundary predicts the first 15 tokens of every span that has text on both sides.
As in the released code, [CLS] and [SEP] are not boundaries: a span at the start or end of the text
is predicted by masked language modeling alone. The two losses, each a mean over its own targets,
are added. The number of predictions is masked_lm's; the released code takes ceil(rate n) of the n
tokens of the text, which differs by at most one.

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
from pretrain_jax.layers.factories import factory
from pretrain_jax.layers.heads import SpanBoundary
from pretrain_jax.layers.initializers import Normal
from pretrain_jax.objectives import Objective, _encoder
from pretrain_jax.objectives._encoder import Masking
from pretrain_jax.ragged import Fields, Ragged, RowSplits

POSITION_WIDTH = 200
INIT = Normal(0.02)
"""Not truncated, as in the released code (pair_bert.py, init_bert_weights)."""


def build(
    *,
    rate: float = 0.15,
    p: float = 0.2,
    longest: int = 10,
    boundary_positions: int = 15,
) -> Objective:
    """The objective of SpanBERT.

    rate                share of the tokens that is predicted
    p                   parameter of the geometric distribution of span lengths
    longest             maximum number of words in a span; in text without spaces, pieces of about 6
                        bytes count as words (corruption/words.py)
    boundary_positions  number of tokens at the start of a span that its boundary predicts
    """
    draw = partial(noise.geometric_spans, p=p, longest=longest)
    how = Masking(rate, draw, replaced=0.8, random=0.1, by_words=True)
    head = factory(
        SpanBoundary,
        positions=boundary_positions,
        position_width=POSITION_WIDTH,
        kernel_init=INIT,
    )
    return Objective(
        **_encoder.single_text(how),
        fields=(*_encoder.FIELDS, "left_at", "right_at", "span_positions", "span_weights"),
        corrupt=partial(corrupt, how=how, boundary_positions=boundary_positions),
        heads=(("span_boundary", head),),
        loss=loss,
        coefficients={"loss": 1.0, "span_boundary": 1.0},
        metrics=metrics,
        pll_examples=pll_examples,
        prompt=_encoder.prompt,
    )


def corrupt(
    examples: Fields,
    uniform: Uniform,
    vocab: Any,
    *,
    how: Masking,
    boundary_positions: int,
) -> Fields:
    """{"tokens": texts of n} -> tokens, n + 2 of each; predictions and boundaries, P of each."""
    texts = examples["tokens"]
    starts = vocab.word_starts[texts.values]
    hidden, drawn = how.hide(texts, starts, _encoder.SPECIALS, uniform, vocab)
    at = drawn.nonzero()[0]
    return {
        **_encoder.text_fields(texts, hidden, at, vocab),
        **boundaries(texts.splits, drawn, at, boundary_positions),
    }


def boundaries(texts: RowSplits, drawn: np.ndarray, at: np.ndarray, most: int) -> Fields:
    """left_at, right_at, span_positions and span_weights of the predictions at the indices `at`.

    drawn: noise [T] of the texts. most: tokens of a span that its boundary predicts. All four
    fields are 0 where the boundary predicts nothing.
    """
    begins = noise.group_starts(texts, drawn)[at]
    span = begins.cumsum() - 1  # the span number of each prediction
    ends = np.roll(begins, -1)
    first, last = (texts.offsets[at[edge]][span] for edge in (begins, ends))
    inside = texts.offsets[at] - first
    bounded = (first > 0) & (last < texts.sizes[texts.row_ids[at]] - 1) & (inside < most)
    parts = texts.take(at)
    return {
        "left_at": Ragged(first * bounded, parts),  # the token before the span: [CLS] shifts by 1
        "right_at": Ragged((last + 2) * bounded, parts),
        "span_positions": Ragged(inside * bounded, parts),
        "span_weights": Ragged(bounded.astype(np.float32), parts),
    }


def pll_examples(example: Fields, positions: np.ndarray, vocab: Any) -> Fields:
    """The same as in masked_lm; the boundaries predict nothing."""
    copies, hidden, at = _encoder.mask_one_each(example["tokens"], positions, vocab)
    drawn = np.zeros(len(hidden), np.int32)
    drawn[at] = 1
    empty = boundaries(copies.splits, drawn, at, most=0)
    return {**_encoder.text_fields(copies, hidden, at, vocab), **empty}


def loss(
    apply: Any, params: Any, batch: dict[str, jax.Array], rng: Any, train: bool
) -> losses.Sums:
    """`losses.token_loss`, and "span_boundary": the cross entropy of the boundary's predictions."""
    output = apply(params, batch, rng, train)
    spans = {**batch, "weights": batch["span_weights"]}
    return {
        **losses.token_terms(output, batch),
        "span_boundary": losses.token_terms(output.heads["span_boundary"], spans)["loss"],
    }


def metrics(
    apply: Any, params: Any, batch: dict[str, jax.Array], rng: Any, special: jax.Array
) -> losses.Sums:
    """`losses.token_metrics`, and the same for the boundary: span_boundary (nats) and
    span_boundary_accuracy."""
    output = apply(params, batch, rng, False)
    spans = {**batch, "weights": batch["span_weights"]}
    boundary = losses.text_metrics(output.heads["span_boundary"], spans, special)
    return {
        **losses.text_metrics(output, batch, special),
        "span_boundary": boundary["text"],
        "span_boundary_accuracy": boundary["accuracy"],
    }
