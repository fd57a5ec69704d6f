"""The permutation of each epoch: a bijection that mixes, readable anywhere."""

import numpy as np
import pytest

from pretrain_jax.data.permutation import permute


def test_it_is_a_bijection_for_every_size():
    for size in [*range(1, 1001), 4095, 4096, 4097, 65_537, 104_729]:
        found = permute(np.arange(size), size, 3, 0)
        assert found.min() == 0 and found.max() == size - 1
        assert (np.bincount(found, minlength=size) == 1).all()


def test_any_place_can_be_read_alone():
    whole = permute(np.arange(1009), 1009, 5, 2)
    for i in (0, 1, 500, 1008):
        assert permute(np.array([i]), 1009, 5, 2)[0] == whole[i]
    huge = 10**15 + 37
    places = np.array([0, 1, huge - 1])
    found = permute(places, huge, 5, 2)
    assert len(set(found.tolist())) == 3 and (found < huge).all()


def test_keys_give_different_orders():
    orders = {permute(np.arange(100), 100, *key).tobytes() for key in [(0, 0), (0, 1), (1, 0)]}
    assert len(orders) == 3


def test_the_order_is_the_one_of_the_first_release():
    """A change here would change the data of every run that is resumed."""
    assert permute(np.arange(10), 10, 0, 0).tolist() == ORDER_OF_TEN


ORDER_OF_TEN = [2, 5, 4, 9, 8, 0, 6, 7, 1, 3]


@pytest.mark.parametrize("size", [997, 4096, 100_000])
def test_neighbours_are_scattered(size):
    """Correlations of a random order lie within a few times 1 / sqrt(size)."""
    bound = 5 / np.sqrt(size)
    for seed in range(3):
        found = permute(np.arange(size), size, seed, 0).astype(float)
        for lag in (1, 2, 3, 7, 31, 32):
            assert abs(np.corrcoef(found[:-lag], found[lag:])[0, 1]) < bound
        assert abs(np.corrcoef(found, np.arange(size))[0, 1]) < bound
        again = permute(np.arange(size), size, seed, 1)
        assert abs(np.corrcoef(found, again)[0, 1]) < bound


def test_every_place_is_reached_equally_often():
    size, keys = 12, 6000
    landed = np.zeros((size, size))
    for seed in range(keys):
        landed[np.arange(size), permute(np.arange(size), size, seed, 0)] += 1
    expected = keys / size
    chi_squared = ((landed - expected) ** 2 / expected).sum()
    assert chi_squared < 121 + 6 * np.sqrt(2 * 121)  # (size - 1)^2 degrees of freedom


def test_an_index_outside_is_an_error():
    with pytest.raises(ValueError, match=r"0 \.\. 9"):
        permute(np.array([10]), 10, 0)
