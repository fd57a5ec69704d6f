"""Text to text: one text is read, another is written. Translation, summaries, labels as words.

T5 casts every task so (arXiv 1910.10683, section 2.4); the task is told by a text in front of the
inputs. With prefix = "translate English to German: ", <e> the end token and <p> padding, which
starts a decoder:

    memory_tokens   translate English to German: That is good. <e>
    tokens          <p> Das ist gut.
    targets         Das ist gut. <e>

The pairs come from a source that marks which text is the target; a text too long is cut at its end.
"""

from functools import lru_cache, partial
from typing import Any

import numpy as np

from pretrain_jax.corruption.forms import Form, form
from pretrain_jax.errors import ConfigError
from pretrain_jax.objectives import Objective
from pretrain_jax.ragged import Fields, around


def build(
    *, prefix: str = "", inputs_length: int = 0, targets_length: int = 128, inputs: str = "memory"
) -> Objective:
    """The objective of text-to-text tasks.

    prefix            what stands in front of every input text, with the space that ends it
    inputs_length     most tokens of the inputs of an example, prefix and end included; 0 = a row's
    targets_length    tokens of targets in a row, ends included: the most that an example has
    inputs            "memory" (encoder-decoder), "prefix" or "stream" (corruption/forms.py). In one
                      stream a row has seq_len tokens of inputs and targets together.

    Rows are planned before the prefix meets a tokenizer, with the most tokens that it can have: one
    a byte and one more.
    """
    shape = form(inputs)
    room = len(prefix.encode()) + 1 if prefix else 0
    if targets_length < 2 or inputs_length < 0:
        raise ConfigError(
            "objective.targets_length must be at least 2, a token and the end, and "
            f"objective.inputs_length 0 or more; received {targets_length} and {inputs_length}"
        )

    def arrange(seq_len: int) -> dict[str, int]:
        row = seq_len + 1 - targets_length if shape.one_stream else seq_len
        most = min(inputs_length or row, row) - room - 1
        if most < 1:
            raise ConfigError(
                "the inputs must have room for the prefix, a token and the end; received "
                f"data.seq_len={seq_len}, objective.targets_length={targets_length}, "
                f"objective.inputs_length={inputs_length} and a prefix of up to {room} tokens"
            )
        return {"inputs": most, "targets": targets_length - 1}

    def lengths(n: Any) -> dict[str, Any]:
        sizes = np.asarray(n)
        return shape.lengths(sizes[..., 0] + room + 1, sizes[..., 1] + 1)

    def budgets(seq_len: int) -> dict[str, int]:
        arrange(seq_len)  # refuses rows that are too short
        whole = seq_len + 1 if shape.one_stream else seq_len + targets_length
        return shape.lengths(seq_len, targets_length, both=whole)

    return Objective(
        fields=shape.fields,
        attention=shape.attention,
        arrangement="texts",
        arrange=arrange,
        lengths=lengths,
        budgets=budgets,
        corrupt=partial(corrupt, shape=shape, prefix=prefix, room=room),
        needs=(*shape.needs, "eos"),
        marks="targets",
        yardsticks=("uniform", "unigram"),
    )


def corrupt(
    examples: Fields,
    uniform: Any,
    vocab: Any,
    *,
    shape: Form,
    prefix: str,
    room: int,
) -> Fields:
    """The fields of {"inputs": int32 texts, "targets": int32 texts}. Nothing is drawn."""
    del uniform
    end = (vocab.eos,)
    inputs = around(examples["inputs"], encoded(prefix, vocab, room), end)
    return shape.write(inputs, around(examples["targets"], (), end), vocab)


@lru_cache(maxsize=64)
def encoded(prefix: str, vocab: Any, room: int) -> tuple[int, ...]:
    """Ids of the prefix; raises ConfigError when a tokenizer makes more than `room` of it."""
    ids = tuple(vocab.encode(prefix).tolist()) if prefix else ()
    if len(ids) > room:
        raise ConfigError(
            f"objective.prefix may have at most {room} tokens, one a byte and one more; this "
            f"tokenizer makes {len(ids)} of {prefix!r}; spell it with plainer characters"
        )
    return ids
