"""Inputs and targets: what is in one is not in the other, and both together are the text."""

from typing import Any

import numpy as np
import pytest
from sequences import one

from pretrain_jax.corruption import noise, render
from pretrain_jax.corruption.uniform import from_generator
from pretrain_jax.ragged import Fields, Ragged, RowSplits

SENTINELS = tuple(range(999, 799, -1))
DRAW = {
    "spans": lambda t, rng: noise.random_spans(
        t, t.sizes // 4, np.maximum(1, t.sizes // 12), from_generator(rng)
    ),
    "tokens": lambda t, rng: noise.random_tokens(t, t.sizes // 4, from_generator(rng)),
    "words": lambda t, rng: noise.whole_words(
        t, t.sizes // 4, from_generator(rng), starts=rng.random(t.total) < 0.7
    ),
    "merged": lambda t, rng: noise.from_mask(t, rng.random(t.total) < 0.4),
    "none": lambda t, rng: np.zeros(t.total, np.int32),
    "all": lambda t, rng: np.ones(t.total, np.int32),
}


def frozen(*arrays: np.ndarray) -> tuple[np.ndarray, ...]:
    for array in arrays:
        array.setflags(write=False)
    return arrays


def interleave(inputs: list[int], targets: list[int]) -> list[int]:
    """The text again: each sentinel of the inputs gives way to what stands behind it in targets."""
    behind: dict[int, list[int]] = {}
    for token in targets:
        if token in SENTINELS:
            last = behind[token] = []
        else:
            last.append(token)
    text = []
    for token in inputs:
        text += behind.pop(token) if token in SENTINELS else [token]
    assert not behind
    return text


def both(text: np.ndarray, drawn: np.ndarray, sentinels: Any) -> tuple[np.ndarray, np.ndarray]:
    """Inputs and targets of one text."""
    inputs, targets = render.with_sentinels(Ragged.concatenate([text]), drawn, sentinels)
    return inputs.values, targets.values


@pytest.mark.parametrize("draw", DRAW.values(), ids=DRAW)
def test_texts_together_are_written_as_they_are_alone(draw):
    rng = np.random.default_rng(0)
    parts = RowSplits([4, 12, 5, 40, 4])
    together = Ragged(rng.integers(500, size=parts.total, dtype=np.int32), parts)
    drawn = draw(parts, rng)
    sides = render.with_sentinels(together, drawn, SENTINELS)
    alone = zip(together.split(), Ragged(drawn, parts).split(), strict=True)
    for (text, its), *found in zip(alone, *(side.split() for side in sides), strict=True):
        for side, expected in zip(found, both(text, its, SENTINELS), strict=True):
            np.testing.assert_array_equal(side, expected)


@pytest.mark.parametrize("draw", DRAW.values(), ids=DRAW)
@pytest.mark.parametrize("n", [4, 12, 200])
def test_inputs_and_targets_interleave_to_the_text(draw, n):
    for seed in range(10):
        rng = np.random.default_rng(seed)
        text, drawn = frozen(rng.integers(500, size=n, dtype=np.int32), draw(RowSplits([n]), rng))
        inputs, targets = both(text, drawn, SENTINELS)
        assert inputs.dtype == targets.dtype == np.int32
        assert interleave(inputs.tolist(), targets.tolist()) == text.tolist()
        number = drawn.max()
        for side in (inputs, targets):
            assert side[side >= 800].tolist() == list(SENTINELS[:number])
        assert len(inputs) == n - np.count_nonzero(drawn) + number
        assert len(targets) == np.count_nonzero(drawn) + number


def test_more_groups_than_sentinels_are_refused():
    text, drawn = np.arange(5), np.array([1, 0, 2, 0, 3], np.int32)
    with pytest.raises(ValueError, match="received 3 groups and 2 sentinels"):
        both(text, drawn, SENTINELS[:2])
    assert len(both(text, drawn, SENTINELS[:3])[1]) == 6


def test_t5_unit_tests():
    """t5/data/preprocessors_test.py: vocabulary of 1000, tokens 10 .. 15, mask 1 1 0 0 1 0."""
    mask = np.array([1, 1, 0, 0, 1, 0], bool)
    text, drawn, rest = frozen(
        np.arange(10, 16), noise.from_mask(one(mask), mask), noise.from_mask(one(mask), ~mask)
    )
    same, alone = [999] * 6, np.cumsum(mask) * mask
    assert both(text, alone, same)[0].tolist() == [999, 999, 12, 13, 999, 15]
    assert both(text, drawn, same)[0].tolist() == [999, 12, 13, 999, 15]
    assert both(text, rest, same)[0].tolist() == [10, 11, 999, 14, 999]
    assert both(text, drawn, SENTINELS)[0].tolist() == [999, 12, 13, 998, 15]
    assert render.drop_noise(Ragged.concatenate([text]), drawn).values.tolist() == [12, 13, 15]
    assert render.drop_noise(Ragged.concatenate([text]), rest).values.tolist() == [10, 11, 14]


def test_t5_paper_figure_2():
    """Thank you for inviting me to your party last week: arXiv 1910.10683."""
    text, drawn = frozen(
        np.arange(10), noise.from_mask(RowSplits([10]), np.isin(np.arange(10), [2, 3, 8]))
    )
    assert both(text, drawn, (99, 98))[0].tolist() == [0, 1, 99, 4, 5, 6, 7, 98, 9]
    assert both(text, drawn, (99, 98))[1].tolist() == [99, 2, 3, 98, 8]
    assert render.drop_noise(Ragged.concatenate([text]), drawn).values.tolist() == [
        0,
        1,
        4,
        5,
        6,
        7,
        9,
    ]


def lists(fields: Fields) -> dict[str, list]:
    return {name: field.values.tolist() for name, field in fields.items()}


def texts(*values: list[int]) -> list[Ragged]:
    """Each alone in its batch."""
    return [Ragged.concatenate([each]) for each in values]


def test_as_memory_shifts_the_targets():
    inputs, targets, empty = texts([5, 6, 1], [7, 8, 1], [])
    fields = render.as_memory(inputs, targets, 0)
    assert lists(fields) == {
        "memory_tokens": [5, 6, 1],
        "tokens": [0, 7, 8],
        "targets": [7, 8, 1],
        "weights": [1.0, 1.0, 1.0],
    }
    dtypes = [field.values.dtype for field in fields.values()]
    assert dtypes == [np.int32, np.int32, np.int32, np.float32]
    assert lists(render.as_memory(inputs, empty, 0))["tokens"] == []


@pytest.mark.parametrize("prefix", [False, True])
def test_as_stream_predicts_the_targets_and_nothing_else(prefix):
    inputs, targets = texts([5, 6], [7, 8, 1])
    fields = render.as_stream(inputs, targets, prefix)
    expected = {
        "tokens": [5, 6, 7, 8],
        "predict_at": [1, 2, 3],
        "targets": [7, 8, 1],
        "weights": [1.0, 1.0, 1.0],
    }
    assert lists(fields) == expected | ({"prefix": [True, True, False, False]} if prefix else {})
    assert fields["predict_at"].values.dtype == np.int32
    assert fields["weights"].values.dtype == np.float32


def test_as_stream_without_inputs_or_targets():
    """The first token of a stream has nothing in front of it."""
    empty, some = texts([], [7, 8, 1])
    assert lists(render.as_stream(empty, some, True)) == {
        "tokens": [7, 8],
        "predict_at": [0, 1],
        "targets": [8, 1],
        "weights": [1.0, 1.0],
        "prefix": [False, False],
    }
    assert lists(render.as_stream(some, empty, True)) == {
        "tokens": [7, 8],
        "predict_at": [],
        "targets": [],
        "weights": [],
        "prefix": [True, True],
    }
