"""The fields of a batch: the contract between data, objectives, models and losses.

Shape letters, here and in all of the package: B batch, L length, M memory, D model width, H heads,
K head width, F feed-forward width, V vocabulary, P predictions, E examples per row.

Two documents, "a b" and "c", packed into one row of L = 5 for causal language modelling, with
begin = 1, end = 2, a = 5, b = 6, c = 7 and padding = 0:

    tokens      1  5  6  1  7   input of the stack that predicts (the stream)
    segments    1  1  1  2  2   number of the example in the row; 0 = padding
    positions   0  1  2  0  1   position in the example
    targets     5  6  2  7  2   the token to predict at each position
    weights     1  1  1  1  1   float32; 0 where there is no prediction

The packer uses only the kinds below, never the names, so a new objective can use any of these
fields without a change to the packer.

For the span boundary objective (objectives/span_boundary.py), `left_at` and `right_at` [P] are the
indices of the last token before and the first token after the span of a prediction,
`span_positions` [P] is its position in the span, from 0, and `span_weights` [P], float32, is 0
where the boundary predicts nothing.

For objectives with labels, `example_at` [E] is the index from which the label of an example is
predicted, `labels` [E] is the number of its class, or `label_values` [E], float32, its number, and
`label_weights` [E] is 0 without one. `start_at` and `end_at` [E] are the indices of the first and
the last token of an answer (extract_span.py). `reference` [E] is the log-probability of an answer
under the reference model (prefer.py).

STREAM         [L]  concatenated along the stream
MEMORY         [M]  concatenated along the memory, which cross-attention reads
INDEX          [P]  indices into the stream; the packer adds the start of the example in the row
EXAMPLE_INDEX  [E]  one index into the stream per example of the row, shifted like INDEX
TARGET         [L], or [P] if the batch has predict_at; concatenated
EXAMPLE        [E]  one value per example of the row
"""

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np


class Kind(enum.Enum):
    """How the packer combines the examples of a row."""

    STREAM = "stream"
    MEMORY = "memory"
    INDEX = "index"
    EXAMPLE_INDEX = "example_index"
    TARGET = "target"
    EXAMPLE = "example"


@dataclass(frozen=True)
class Field:
    """Kind and dtype of a field. The padding of every field is 0."""

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
    "targets": Field(Kind.TARGET),
    "weights": Field(Kind.TARGET, np.float32),
    "left_at": Field(Kind.INDEX),
    "right_at": Field(Kind.INDEX),
    "span_positions": Field(Kind.TARGET),
    "span_weights": Field(Kind.TARGET, np.float32),
    "example_at": Field(Kind.EXAMPLE_INDEX),
    "start_at": Field(Kind.EXAMPLE_INDEX),
    "end_at": Field(Kind.EXAMPLE_INDEX),
    "labels": Field(Kind.EXAMPLE),
    "label_values": Field(Kind.EXAMPLE, np.float32),
    "label_weights": Field(Kind.EXAMPLE, np.float32),
    "reference": Field(Kind.EXAMPLE, np.float32),
}


def is_text(batch: Mapping[str, Any], special: Any) -> Any:
    """bool, like `targets`: true for predictions of text tokens, which `valid/loss` averages over.

    special: bool [V], ids that are not scored (`Tokenizer.unscored`). Both arguments are numpy or
    both are jax arrays. Weights [1, 1, 0] and targets [5, 2, 6], with 2 special, give
    [true, false, false].
    """
    return (batch["weights"] > 0) & ~special[batch["targets"]]
