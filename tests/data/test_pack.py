"""Whole small rows, by kind of field."""

import numpy as np
import pytest
from sequences import together

from pretrain_jax.data.pack import empty_batch, pack


def arrays(**fields):
    return {name: np.array(value) for name, value in fields.items()}


def packed(*rows, **options):
    """A batch of rows, each a list of examples."""
    examples = together([example for row in rows for example in row])
    return pack(examples, np.array([len(row) for row in rows]), **options)


def test_the_row_of_the_contract():
    first = arrays(tokens=[1, 5, 6], targets=[5, 6, 2], weights=[1.0, 1.0, 1.0])
    second = arrays(tokens=[1, 7], targets=[7, 2], weights=[1.0, 0.5])
    batch = packed([first, second], [], [second], budgets={"L": 6})
    expected = {
        "tokens": [1, 5, 6, 1, 7, 0],
        "targets": [5, 6, 2, 7, 2, 0],
        "weights": [1, 1, 1, 1, 0.5, 0],
        "segments": [1, 1, 1, 2, 2, 0],
        "positions": [0, 1, 2, 0, 1, 0],
    }
    assert {name: array[0].tolist() for name, array in batch.items()} == expected
    assert batch["weights"].dtype == np.float32
    assert all(a.dtype == np.int32 for name, a in batch.items() if name != "weights")
    assert all(not array[1].any() for array in batch.values())
    assert batch["tokens"][2].tolist() == [1, 7, 0, 0, 0, 0]


def test_a_batch_of_padding_alone():
    batch = empty_batch(2, ("tokens", "memory_tokens"), {"L": 6, "M": 4})
    assert {name: array.shape for name, array in batch.items()} == {
        "tokens": (2, 6),
        "segments": (2, 6),
        "positions": (2, 6),
        "memory_tokens": (2, 4),
        "memory_segments": (2, 4),
        "memory_positions": (2, 4),
    }
    assert not any(array.any() for array in batch.values())


def test_across_documents_the_row_is_one_text():
    example = arrays(tokens=[1, 5, 6])
    batch = packed([example, example], budgets={"L": 8}, cross_documents=True)
    assert batch["segments"].tolist() == [[1, 1, 1, 1, 1, 1, 0, 0]]
    assert batch["positions"].tolist() == [[0, 1, 2, 3, 4, 5, 0, 0]]


def test_indices_are_shifted_and_answers_follow_them():
    first = arrays(tokens=[1, 2, 3, 4], predict_at=[1, 3], targets=[8, 9], weights=[1, 1])
    second = arrays(tokens=[5, 6, 7], predict_at=[0], targets=[7], weights=[1])
    batch = packed([first, second], budgets={"L": 8, "P": 4})
    assert batch["predict_at"].tolist() == [[1, 3, 4, 0]]
    assert batch["targets"].tolist() == [[8, 9, 7, 0]]
    assert batch["weights"].tolist() == [[1, 1, 1, 0]]
    row = batch["tokens"][0]
    assert row[batch["predict_at"][0, :3]].tolist() == [2, 4, 5]


def test_values_for_each_example_and_their_places():
    example = arrays(tokens=[1, 2, 3], types=[0, 1, 1], example_at=[0], labels=[4])
    example |= arrays(label_weights=[1.0], prefix=[True, False, False])
    batch = packed([example, example], budgets={"L": 7, "E": 3})
    assert batch["example_at"].tolist() == [[0, 3, 0]]
    assert batch["labels"].tolist() == [[4, 4, 0]]
    assert batch["label_weights"].tolist() == [[1, 1, 0]]
    assert batch["types"].tolist() == [[0, 1, 1, 0, 1, 1, 0]]
    assert batch["prefix"].dtype == np.bool_


def test_memory_has_its_own_axis_segments_and_positions():
    first = arrays(tokens=[1], targets=[2], weights=[1], memory_tokens=[7, 8, 9])
    second = arrays(tokens=[3, 4], targets=[5, 6], weights=[1, 1], memory_tokens=[6])
    batch = packed([first, second], budgets={"L": 4, "M": 5})
    assert batch["memory_tokens"].tolist() == [[7, 8, 9, 6, 0]]
    assert batch["memory_segments"].tolist() == [[1, 1, 1, 2, 0]]
    assert batch["memory_positions"].tolist() == [[0, 1, 2, 0, 0]]
    assert batch["segments"].tolist() == [[1, 2, 2, 0]]
    assert batch["targets"].tolist() == [[2, 5, 6, 0]]


def test_more_than_a_row_holds_is_an_error():
    with pytest.raises(ValueError, match="axis L of a row has length 4; received examples of 6"):
        packed([arrays(tokens=[1, 2, 3])] * 2, budgets={"L": 4})
