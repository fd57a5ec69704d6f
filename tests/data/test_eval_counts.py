"""What is scored is counted: text tokens, their bytes, and what is unknown."""

import numpy as np
from data_toys import ByteTokenizer

from pretrain_jax.data.eval_counts import EvalCounts

A, B, UNK, BEGIN, END = ord("a"), ord("b"), 258, 256, 257


class Spaced(ByteTokenizer):
    """Puts a space in front of every text and has an unknown id."""

    size, unk, lead_bytes = 259, UNK, 1


def counted(batch, ends=(BEGIN, END)):
    scored = EvalCounts()
    arrays = {name: np.array(values) for name, values in batch.items()}
    passed = list(scored.count([arrays, arrays], Spaced(), ends))
    assert [each is arrays for each in passed] == [True, True]
    return scored.tokens / 2, scored.bytes / 2, scored.unknown / 2


def test_special_and_unknown_targets_are_left_out_and_so_is_the_space_before_a_text():
    batch = {
        "tokens": [[BEGIN, A, B, END, BEGIN, UNK], [B, A, BEGIN, 0, 0, 0]],
        "targets": [[A, B, END, BEGIN, UNK, A], [A, UNK, B, 0, 0, 0]],
        "weights": [[1, 1, 1, 1, 1, 1], [1, 1, 1, 0, 0, 0]],
    }
    # a b a in the first row, a b in the second; an a and a b behind the begin of a text.
    assert counted(batch) == (5, 3, 2)
    assert counted(batch, ends=(None, None)) == (5, 5, 2)


def test_predictions_at_places_are_read_behind_these_places():
    batch = {
        "tokens": [[BEGIN, A, B]],
        "predict_at": [[0, 2, 0]],
        "targets": [[A, UNK, 0]],
        "weights": [[1, 1, 0]],
    }
    assert counted(batch) == (1, 0, 1)


def test_the_share_of_unknown_tokens():
    assert EvalCounts(tokens=3, bytes=5, unknown=1).unknown_share == 0.25
    assert EvalCounts().unknown_share == 0.0
