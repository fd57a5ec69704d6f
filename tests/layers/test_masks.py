"""Small masks, entry by entry."""

import jax.numpy as jnp
import numpy as np
import pytest

from pretrain_jax.layers.masks import CrossMask, Mask


def dense(attention, segments, prefix=None):
    flags = None if prefix is None else jnp.asarray([prefix], bool)
    return np.asarray(Mask(jnp.asarray([segments]), flags, attention).dense()).astype(int)[0, 0]


def matrix(text):
    return [[int(c) for c in line.split()] for line in text.strip().splitlines()]


def test_causal():
    expected = """
        1 0 0 0
        1 1 0 0
        1 1 1 0
        1 1 1 1
    """
    assert dense("causal", [1, 1, 1, 1]).tolist() == matrix(expected)


def test_full():
    assert dense("full", [1, 1, 1]).tolist() == [[1, 1, 1]] * 3


def test_prefix_sees_all_of_itself_and_the_rest_is_causal():
    expected = """
        1 1 0 0
        1 1 0 0
        1 1 1 0
        1 1 1 1
    """
    assert dense("prefix", [1, 1, 1, 1], [1, 1, 0, 0]).tolist() == matrix(expected)


def test_packed_causal_with_padding():
    """Padding attends only to padding, so that no query is empty."""
    expected = """
        1 0 0 0 0 0 0
        1 1 0 0 0 0 0
        1 1 1 0 0 0 0
        0 0 0 1 0 0 0
        0 0 0 1 1 0 0
        0 0 0 0 0 1 0
        0 0 0 0 0 1 1
    """
    assert dense("causal", [1, 1, 1, 2, 2, 0, 0]).tolist() == matrix(expected)


def test_packed_prefix_with_padding():
    """Prefixes of two and one tokens; neither is visible to the other document."""
    expected = """
        1 1 0 0 0 0
        1 1 0 0 0 0
        1 1 1 0 0 0
        0 0 0 1 0 0
        0 0 0 1 1 0
        0 0 0 0 0 1
    """
    mask = dense("prefix", [1, 1, 1, 2, 2, 0], [1, 1, 0, 1, 0, 0])
    assert mask.tolist() == matrix(expected)


def test_packed_full_with_padding():
    expected = """
        1 1 0 0 0
        1 1 0 0 0
        0 0 1 0 0
        0 0 0 1 1
        0 0 0 1 1
    """
    assert dense("full", [1, 1, 2, 0, 0]).tolist() == matrix(expected)


@pytest.mark.parametrize("attention", ["causal", "full"])
def test_no_row_is_empty(attention):
    assert dense(attention, [0, 0, 0]).any(axis=-1).all()


def test_rows_of_a_batch_have_their_own_masks():
    mask = Mask(jnp.array([[1, 1], [1, 2]]), None, "full").dense()
    assert mask.shape == (2, 1, 2, 2)
    assert np.asarray(mask[:, 0]).tolist() == [[[1, 1], [1, 1]], [[1, 0], [0, 1]]]


def test_a_stream_sees_the_memory_of_its_own_example():
    """Padding attends to nothing and is not visible; the third example has no memory."""
    expected = """
        1 1 0 0 0
        1 1 0 0 0
        0 0 1 0 0
        0 0 0 0 0
        0 0 0 0 0
    """
    mask = CrossMask(jnp.array([[1, 1, 2, 3, 0]]), jnp.array([[1, 1, 2, 0, 0]]))
    assert np.asarray(mask.dense()).astype(int)[0, 0].tolist() == matrix(expected)


def test_streams_and_memories_may_differ_in_length():
    mask = CrossMask(jnp.array([[1, 0], [1, 2]]), jnp.array([[1, 1, 1], [2, 1, 0]])).dense()
    assert mask.shape == (2, 1, 2, 3)
    assert np.asarray(mask[:, 0]).astype(int).tolist() == [
        [[1, 1, 1], [0, 0, 0]],
        [[0, 1, 0], [1, 0, 0]],
    ]
