"""THE CONTRACT between data, objectives, models and losses: the fields of a batch.

Letters, here and in the whole package: B batch, L length, M memory, D model width, H heads,
K head width, F feed-forward width, V vocabulary, P predictions, E examples in a row.

Two documents, "a b" and "c", packed into one row of L = 5 for causal language modelling, with
1 = begin, 2 = end, a = 5, b = 6, c = 7, and 0 in the padding:

    tokens      1  5  6  1  7   the stream that predicts
    segments    1  1  1  2  2   which example of the row a token belongs to; 0 = padding
    positions   0  1  2  0  1   place inside the example
    targets     5  6  2  7  2   what each position should predict
    weights     1  1  1  1  1   float32; 0 where nothing is predicted

The packer knows the kinds below and never a name, so a new objective may use any field that
stands here without touching the packer.

Span boundaries (objectives/span_boundary.py): `left_at` and `right_at` [P] are the last token
before and the first after the span that a prediction belongs to, `span_positions` [P] its place in
the span, from 0, `span_weights` [P] float32 is 0 where the boundary predicts nothing.

STREAM   [L]  concatenated along the stream that predicts
MEMORY   [M]  concatenated along the memory that is read through cross attention
INDEX    [P]  indices into the stream: shifted by the place where the example starts in the row
PLACE    [E]  one index into the stream for each example of the row: shifted in the same way
ANSWER   [L], or [P] where the batch has predict_at: concatenated
EXAMPLE  [E]  one value for each example of the row
"""

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np


class Kind(enum.Enum):
    """How the packer joins the examples of a row."""

    STREAM = "stream"
    MEMORY = "memory"
    INDEX = "index"
    PLACE = "place"
    ANSWER = "answer"
    EXAMPLE = "example"


@dataclass(frozen=True)
class Field:
    """Kind and dtype of one field; padding is 0 for every field."""

    kind: Kind
    dtype: type = np.int32


FIELDS: dict[str, Field] = {
    "tokens": Field(Kind.STREAM),
    "segments": Field(Kind.STREAM),
    "positions": Field(Kind.STREAM),
    "types": Field(Kind.STREAM),
    "prefix": Field(Kind.STREAM, np.bool_),
    "memory_tokens": Field(Kind.MEMORY),
    "memory_segments": Field(Kind.MEMORY),
    "memory_positions": Field(Kind.MEMORY),
    "predict_at": Field(Kind.INDEX),
    "targets": Field(Kind.ANSWER),
    "weights": Field(Kind.ANSWER, np.float32),
    "left_at": Field(Kind.INDEX),
    "right_at": Field(Kind.INDEX),
    "span_positions": Field(Kind.ANSWER),
    "span_weights": Field(Kind.ANSWER, np.float32),
    "example_at": Field(Kind.PLACE),
    "labels": Field(Kind.EXAMPLE),
    "label_weights": Field(Kind.EXAMPLE, np.float32),
}


def is_text(batch: Mapping[str, Any], special: Any) -> Any:
    """bool, like `targets`: predictions of text tokens, the ones that `valid/loss` counts.

    special: bool [V], ids that no score counts (`Tokenizer.unscored`). Both numpy or both jax. With
    weights [1, 1, 0], targets [5, 2, 6] and 2 special: [true, false, false].
    """
    return (batch["weights"] > 0) & ~special[batch["targets"]]
