"""Many sequences as one: each function gives what it would give for each of them alone."""

import numpy as np
import pytest

from pretrain_jax.ragged import Ragged, RowSplits, concatenate_rows, gather_slices, wrap

SIZES = ([3, 2], [0, 3, 0, 0, 1], [1], [0], [], [2, 0])


def random(sizes, seed=0):
    parts = RowSplits(sizes)
    return Ragged(np.random.default_rng(seed).integers(1, 9, parts.total).astype(np.int32), parts)


def lists(ragged):
    return [each.tolist() for each in ragged.split()]


every_shape = pytest.mark.parametrize("sizes", SIZES, ids=str)


@every_shape
def test_parts_know_where_each_element_is(sizes):
    parts = RowSplits(sizes)
    expected = [(part, place) for part, size in enumerate(sizes) for place in range(size)]
    assert list(zip(parts.row_ids.tolist(), parts.offsets.tolist(), strict=True)) == expected
    assert parts.starts.tolist() == [sum(sizes[:part]) for part in range(len(sizes))]
    assert parts.total == sum(sizes) and len(parts) == len(sizes)


@every_shape
def test_joining_and_splitting_are_inverse(sizes):
    whole = random(sizes)
    assert [len(each) for each in whole.split()] == sizes
    again = Ragged.concatenate(whole.split())
    np.testing.assert_array_equal(again.values, whole.values)
    assert again.splits.sizes.tolist() == sizes and again.values.dtype == np.int32


@every_shape
def test_sums_and_choices_stay_inside_a_part(sizes):
    whole = random(sizes)
    running = Ragged(whole.splits.cumsum(whole.values), whole.splits)
    assert lists(running) == [np.cumsum(each).tolist() for each in whole.split()]
    odd = whole.values % 2 == 1
    assert lists(whole.boolean_mask(odd)) == [
        each[each % 2 == 1].tolist() for each in whole.split()
    ]
    assert whole.splits.take(odd.nonzero()[0]).sizes.tolist() == [
        np.count_nonzero(each % 2) for each in whole.split()
    ]


@every_shape
def test_shuffling_keeps_each_part_where_it_is(sizes):
    parts = RowSplits(sizes)
    nearly_one = np.nextafter(1.0, 0.0)
    for uniform in (np.random.default_rng(0).random(parts.total), np.full(parts.total, nearly_one)):
        order = parts.permutation(uniform)
        assert parts.row_ids[order].tolist() == parts.row_ids.tolist()
        assert sorted(order.tolist()) == list(range(parts.total))


def test_a_part_is_shuffled_alike_whatever_stands_in_front_of_it():
    """Also by draws that only differ in bits that a sum with the number of the part would lose."""
    draws = [0.5 + 2**-31, 0.5, 0.5 + 2**-32, 0.5, 0.5]
    alone = RowSplits([5]).permutation(np.array(draws))
    assert alone.tolist() == [1, 3, 4, 2, 0]
    beside = RowSplits([1] * 5000 + [5]).permutation(np.array([0.0] * 5000 + draws))
    assert (beside[5000:] - 5000).tolist() == alone.tolist()


@every_shape
@pytest.mark.parametrize("before", [(), (10,), (10, 11)])
@pytest.mark.parametrize("after", [(), (12,), (12, 13)])
def test_ids_around_every_sequence(sizes, before, after):
    whole = random(sizes)
    assert lists(wrap(whole, before, after)) == [[*before, *each, *after] for each in lists(whole)]


@every_shape
def test_sequences_concatenate_rows(sizes):
    first, second = random(sizes), random(sizes[::-1], seed=1)
    pairs = zip(lists(first), lists(second), strict=True)
    assert lists(concatenate_rows(first, second)) == [[*a, *b] for a, b in pairs]


def test_stretches_of_what_is_stored():
    stored = np.arange(20, dtype=np.uint16)
    found = gather_slices(stored, np.array([3, 0, 18, 7]), np.array([2, 0, 2, 1]))
    assert lists(found) == [[3, 4], [], [18, 19], [7]] and found.values.dtype == np.int32
