"""BERT's 80/10/10: its rates, what is drawn once for a group, and what stays untouched."""

import numpy as np
import pytest
from sequences import one

from pretrain_jax.corruption.masking import mask_tokens
from pretrain_jax.corruption.noise import random_tokens
from pretrain_jax.corruption.uniform import from_generator

MASK = 7
TEXT = np.arange(100, 30_100, dtype=np.int32)
TEXT.setflags(write=False)
CANDIDATES = np.arange(50_000, 50_010)  # none of them in TEXT, so that each fate can be told


def fates(tokens: np.ndarray, corrupted: np.ndarray) -> np.ndarray:
    """0 masked, 1 random, 2 kept."""
    assert np.isin(corrupted[(corrupted != tokens) & (corrupted != MASK)], CANDIDATES).all()
    return np.select([corrupted == MASK, corrupted != tokens], [0, 1], 2)


def corrupted(noise: np.ndarray, seed: int = 0, **options) -> np.ndarray:
    noise.setflags(write=False)
    tokens = TEXT[: len(noise)]
    options = {"mask": MASK, "candidates": CANDIDATES} | options
    return mask_tokens(
        tokens, noise, one(noise), from_generator(np.random.default_rng(seed)), **options
    )


def within_three_sigma(found: np.ndarray, shares=(0.8, 0.1, 0.1)) -> bool:
    """Whether fates have these shares."""
    p, size = np.array(shares), len(found)
    counts = np.bincount(found, minlength=3)
    return bool((np.abs(counts - size * p) <= 3 * np.sqrt(size * p * (1 - p))).all())


def test_80_10_10_over_10_000_draws():
    noise = random_tokens(one(TEXT), np.array([10_000]), from_generator(np.random.default_rng(1)))
    found = corrupted(noise)
    assert found.dtype == TEXT.dtype
    np.testing.assert_array_equal(found[noise == 0], TEXT[noise == 0])
    assert within_three_sigma(fates(TEXT, found)[noise > 0])


def test_a_group_shares_its_fate_and_random_tokens_are_drawn_one_by_one():
    noise = np.repeat(np.arange(10_001, dtype=np.int32), 3)[3:]
    found = corrupted(noise)
    drawn = fates(TEXT, found).reshape(-1, 3)
    assert (drawn == drawn[:, :1]).all()
    assert within_three_sigma(drawn[:, 0])
    triples = found.reshape(-1, 3)[drawn[:, 0] == 1]
    counts = np.bincount(triples.ravel() - 50_000, minlength=10)
    assert (np.abs(counts - counts.mean()) <= 3 * np.sqrt(counts.mean() * 0.9)).all()
    assert 0.7 < (triples[:, 0] != triples[:, 1]).mean() < 1


def test_per_token_draws_for_each_token_of_a_group():
    noise = np.repeat(np.arange(10_001, dtype=np.int32), 3)[3:]
    drawn = fates(TEXT, corrupted(noise, per_token=True))
    assert within_three_sigma(drawn)
    pairs = drawn.reshape(-1, 3)[:, 0] * 3 + drawn.reshape(-1, 3)[:, 1]
    masked_twice = (pairs == 0).mean()
    assert abs(masked_twice - 0.64) <= 3 * (0.64 * 0.36 / len(pairs)) ** 0.5


@pytest.mark.parametrize(
    "replaced, random, shares", [(1.0, 0.0, (1, 0, 0)), (0.85, 0.0, (0.85, 0, 0.15))]
)
def test_shares_are_options(replaced, random, shares):
    """All masked, and ELECTRA's 85 % masked."""
    noise = np.arange(1, 10_001, dtype=np.int32)
    found = fates(TEXT[:10_000], corrupted(noise, replaced=replaced, random=random))
    assert within_three_sigma(found, shares)


@pytest.mark.parametrize("per_token", [False, True])
def test_the_same_generator_gives_the_same_bytes(per_token):
    noise = np.repeat(np.arange(101, dtype=np.int32), 3)
    first, again, other = (corrupted(noise, seed, per_token=per_token) for seed in (3, 3, 4))
    assert first.tobytes() == again.tobytes() != other.tobytes()


def test_without_noise_the_text_is_a_copy():
    found = corrupted(np.zeros(5, np.int32))
    np.testing.assert_array_equal(found, TEXT[:5])
    assert not np.shares_memory(found, TEXT)
