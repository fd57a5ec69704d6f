"""Inputs and targets: what is in one is not in the other, and both together are the text."""

import numpy as np
import pytest

from pretrain_jax.corruption import noise, render

SENTINELS = tuple(range(999, 799, -1))
DRAW = {
    "spans": lambda n, rng: noise.random_spans(n, n // 4, max(1, n // 12), rng),
    "tokens": lambda n, rng: noise.random_tokens(n, n // 4, rng),
    "words": lambda n, rng: noise.whole_words(rng.random(n) < 0.7, n // 4, rng),
    "merged": lambda n, rng: noise.given(rng.random(n) < 0.4),
    "none": lambda n, rng: np.zeros(n, np.int32),
    "all": lambda n, rng: np.ones(n, np.int32),
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


@pytest.mark.parametrize("draw", DRAW.values(), ids=DRAW)
@pytest.mark.parametrize("n", [4, 12, 200])
def test_inputs_and_targets_interleave_to_the_text(draw, n):
    for seed in range(10):
        rng = np.random.default_rng(seed)
        text, drawn = frozen(rng.integers(500, size=n, dtype=np.int32), draw(n, rng))
        inputs, targets = render.with_sentinels(text, drawn, SENTINELS)
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
        render.with_sentinels(text, drawn, SENTINELS[:2])
    assert len(render.with_sentinels(text, drawn, SENTINELS[:3])[1]) == 6


def test_t5_unit_tests():
    """t5/data/preprocessors_test.py: vocabulary of 1000, tokens 10 .. 15, mask 1 1 0 0 1 0."""
    mask = np.array([1, 1, 0, 0, 1, 0], bool)
    text, drawn, rest = frozen(np.arange(10, 16), noise.given(mask), noise.given(~mask))
    same, alone = [999] * 6, np.cumsum(mask) * mask
    assert render.with_sentinels(text, alone, same)[0].tolist() == [999, 999, 12, 13, 999, 15]
    assert render.with_sentinels(text, drawn, same)[0].tolist() == [999, 12, 13, 999, 15]
    assert render.with_sentinels(text, rest, same)[0].tolist() == [10, 11, 999, 14, 999]
    assert render.with_sentinels(text, drawn, SENTINELS)[0].tolist() == [999, 12, 13, 998, 15]
    assert render.drop(text, drawn).tolist() == [12, 13, 15]
    assert render.drop(text, rest).tolist() == [10, 11, 14]


def test_t5_paper_figure_2():
    """Thank you for inviting me to your party last week: arXiv 1910.10683."""
    text, drawn = frozen(np.arange(10), noise.given(np.isin(np.arange(10), [2, 3, 8])))
    assert render.with_sentinels(text, drawn, (99, 98))[0].tolist() == [0, 1, 99, 4, 5, 6, 7, 98, 9]
    assert render.with_sentinels(text, drawn, (99, 98))[1].tolist() == [99, 2, 3, 98, 8]
    assert render.drop(text, drawn).tolist() == [0, 1, 4, 5, 6, 7, 9]


def test_frame_keeps_the_dtype():
    framed = render.frame(np.array([5, 6], np.int32), 1, 2)
    assert framed.tolist() == [1, 5, 6, 2] and framed.dtype == np.int32


def plain(fields: dict[str, np.ndarray]) -> dict[str, list]:
    return {name: field.tolist() for name, field in fields.items()}


def test_as_memory_shifts_the_targets():
    inputs, targets = frozen(np.array([5, 6, 1], np.int32), np.array([7, 8, 1], np.int32))
    fields = render.as_memory(inputs, targets, 0)
    assert plain(fields) == {
        "memory_tokens": [5, 6, 1],
        "tokens": [0, 7, 8],
        "targets": [7, 8, 1],
        "weights": [1.0, 1.0, 1.0],
    }
    dtypes = [field.dtype for field in fields.values()]
    assert dtypes == [np.int32, np.int32, np.int32, np.float32]
    assert plain(render.as_memory(inputs, targets[:0], 0))["tokens"] == []


@pytest.mark.parametrize("prefix", [False, True])
def test_as_stream_predicts_the_targets_and_nothing_else(prefix):
    inputs, targets = frozen(np.array([5, 6], np.int32), np.array([7, 8, 1], np.int32))
    fields = render.as_stream(inputs, targets, prefix)
    expected = {
        "tokens": [5, 6, 7, 8],
        "predict_at": [1, 2, 3],
        "targets": [7, 8, 1],
        "weights": [1.0, 1.0, 1.0],
    }
    assert plain(fields) == expected | ({"prefix": [True, True, False, False]} if prefix else {})
    assert fields["predict_at"].dtype == np.int32 and fields["weights"].dtype == np.float32


def test_as_stream_without_inputs_or_targets():
    """The first token of a stream has nothing in front of it."""
    empty, some = frozen(np.zeros(0, np.int32), np.array([7, 8, 1], np.int32))
    assert plain(render.as_stream(empty, some, True)) == {
        "tokens": [7, 8],
        "predict_at": [0, 1],
        "targets": [8, 1],
        "weights": [1.0, 1.0],
        "prefix": [False, False],
    }
    assert plain(render.as_stream(some, empty, True)) == {
        "tokens": [7, 8],
        "predict_at": [],
        "targets": [],
        "weights": [],
        "prefix": [True, True],
    }
