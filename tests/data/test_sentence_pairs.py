"""Next-sentence pairs: true to the text, balanced, and without a clue in their shape."""

import pickle

import numpy as np
import pytest
from data_toys import ByteTokenizer, cache_of, write_lines
from sequences import taken

from pretrain_jax.data import sentence_pairs as module
from pretrain_jax.data.cache import open_token_cache
from pretrain_jax.data.corpus import open_corpus
from pretrain_jax.data.sentence_pairs import SentencePairs
from pretrain_jax.errors import DataError

STOP = 7
ENDS = np.arange(10) == STOP


def numbered(sizes, seed=0):
    """Documents of tokens 0 .. 9, one in twelve the end of a sentence."""
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    draw = np.random.default_rng(seed)
    tokens = draw.choice(7, offsets[-1])
    tokens[draw.random(len(tokens)) < 1 / 12] = STOP
    return cache_of(tokens, offsets)


def drawn_sizes(count=600, seed=1):
    return np.random.default_rng(seed).integers(0, 400, count)


def owners(cache, places):
    return np.searchsorted(cache.offsets, places, side="right") - 1


@pytest.fixture(scope="module")
def pairs():
    return SentencePairs(numbered(drawn_sizes()), raw_length=64, short=0.1, sentence_ends=ENDS)


def test_each_pair_is_of_one_document_or_of_two(pairs):
    first, first_length, second, second_length, is_next = pairs.pairs
    home, away = owners(pairs.cache, first), owners(pairs.cache, second)
    assert (first_length >= 1).all() and (second_length >= 1).all()
    assert (pairs.length <= 64).all() and pairs.length.dtype == np.int32
    np.testing.assert_array_equal(home == away, is_next)
    np.testing.assert_array_equal(second[is_next], (first + first_length)[is_next])
    for place, length in ((first, first_length), (second, second_length)):
        begins, ends = owners(pairs.cache, place), owners(pairs.cache, place + length - 1)
        np.testing.assert_array_equal(begins, ends)


def test_text_that_was_not_used_is_put_back(pairs):
    """Every document is walked to its end: the next A starts where the last text used ends."""
    first, first_length, _, second_length, is_next = pairs.pairs
    home = owners(pairs.cache, first)
    behind = first + first_length + np.where(is_next, second_length, 0)
    follows = np.append(home[1:] == home[:-1], False)
    np.testing.assert_array_equal(first[1:][follows[:-1]], behind[follows])
    left = pairs.cache.offsets[home[~follows] + 1] - behind[~follows]
    assert set(left.tolist()) <= {0, 1}
    begins = first[np.append(True, ~follows[:-1])]
    sizes = np.diff(pairs.cache.offsets)
    np.testing.assert_array_equal(begins, pairs.cache.offsets[:-1][sizes >= 2])


def test_labels_are_balanced_and_lengths_are_short_as_often_as_said(pairs):
    is_next = pairs.pairs.is_next
    n = len(is_next)
    assert n > 2000
    assert abs(is_next.sum() - n / 2) < 3 * np.sqrt(n / 4)
    whole = SentencePairs(numbered([20_000] * 4), raw_length=64, short=0.1, sentence_ends=ENDS)
    below = np.count_nonzero(whole.length < 64)
    n = len(whole)
    expected = 0.1 * 62 / 63
    assert abs(below / n - expected) < 3 * np.sqrt(expected * (1 - expected) / n) + 8 / n


def test_the_shape_of_a_pair_does_not_tell_its_label(pairs):
    """A guess from the lengths, and from where B begins and ends, is no better than a coin."""
    _, first_length, second, second_length, is_next = pairs.pairs
    tokens, n = pairs.cache.tokens, len(is_next)
    ended = second + second_length == pairs.cache.offsets[owners(pairs.cache, second) + 1]
    began = np.isin(second, pairs.cache.offsets) | (tokens[second - 1] == STOP)
    features = [pairs.length // 4, first_length // 4, second_length // 4, began, ended]
    for feature in features:
        for value in np.unique(feature):
            chosen = is_next[feature == value]
            off = abs(chosen.sum() - len(chosen) / 2)
            assert off < 4 * np.sqrt(len(chosen) / 4) + 1, (value, n)


def test_cuts_are_at_the_nearest_sentence_or_anywhere(pairs):
    cache = cache_of([1, 2, 3, STOP, 4, 5, 6, 1, 2] * 2 + [1] * 9, [0, 9, 18, 27])
    made = SentencePairs(cache, raw_length=9, short=0.0, sentence_ends=ENDS)
    whole = np.isin(made.pairs.first, (0, 9))
    assert set(made.pairs.first_length[whole].tolist()) == {4}
    cuts = set()
    for seed in range(60):
        anywhere = SentencePairs(cache, raw_length=9, short=0.0, seed=seed)
        cuts.add(int(anywhere.pairs.first_length[0]))
    assert cuts == set(range(1, 9))
    first, first_length, second, _, is_next = pairs.pairs
    tokens = pairs.cache.tokens
    lengths = zip(first, pairs.length, strict=True)
    within = [(tokens[a : a + n - 1] == STOP).any() for a, n in lengths]
    ends = tokens[first + first_length - 1] == STOP
    assert (ends | ~np.array(within) | ~is_next).all()
    drawn = second[~is_next & ends]
    assert (np.isin(drawn, pairs.cache.offsets) | (tokens[drawn - 1] == STOP)).all()


def test_what_an_example_holds(pairs):
    for k in range(0, len(pairs), 97):
        example = taken(pairs, k)
        first, a, second, b, is_next = (part[k] for part in pairs.pairs)
        assert example["first"].tolist() == pairs.cache.tokens[first : first + a].tolist()
        assert example["second"].tolist() == pairs.cache.tokens[second : second + b].tolist()
        assert example["is_next"].tolist() == [int(is_next)]
        assert all(array.dtype == np.int32 for array in example.values())
        assert len(example["first"]) + len(example["second"]) == pairs.length[k]


def test_long_documents_are_walked_in_step(monkeypatch):
    monkeypatch.setattr(module, "WALK", 500)
    made = SentencePairs(numbered([5000, 30, 1234]), raw_length=64, sentence_ends=ENDS)
    first, first_length, _, second_length, is_next = made.pairs
    behind = first + first_length + np.where(is_next, second_length, 0)
    used = np.zeros(len(made.cache.tokens) + 1, int)
    np.add.at(used, first, 1)
    np.add.at(used, behind, -1)
    assert np.cumsum(used).max() == 1  # the text of A, and of a true B, once
    assert np.count_nonzero(np.cumsum(used)[:-1] == 0) <= 11 + 1 + 3


def test_a_function_of_cache_and_seed(pairs, tmp_path):
    again = SentencePairs(numbered(drawn_sizes()), raw_length=64, short=0.1, sentence_ends=ENDS)
    other = SentencePairs(
        numbered(drawn_sizes()), raw_length=64, short=0.1, sentence_ends=ENDS, seed=1
    )
    for left, right in zip(pairs.pairs, again.pairs, strict=True):
        np.testing.assert_array_equal(left, right)
    assert other.length.tolist() != pairs.length.tolist()
    source = write_lines(tmp_path / "a.jsonl", [f"document {i}. " * 9 for i in range(120)])
    cache = open_token_cache(open_corpus(source), "train", ByteTokenizer(), tmp_path)
    kept = SentencePairs(cache, raw_length=33, sentence_ends=ByteTokenizer().sentence_ends)
    data = pickle.dumps(kept)
    assert len(data) < 2000  # a worker process is sent names of files, not tokens
    copy = pickle.loads(data)
    for k in range(len(kept)):
        for name, array in taken(kept, k).items():
            np.testing.assert_array_equal(taken(copy, k)[name], array)


def test_one_long_document_among_short_ones_takes_what_they_have():
    made = SentencePairs(cache_of([1] * 500 + [2] * 5, [0, 500, 505]), raw_length=100, short=0.0)
    for k in range(len(made)):
        example = taken(made, k)
        if not example["is_next"][0]:
            assert len(set(example["first"].tolist() + example["second"].tolist())) == 2
            assert len(example["second"]) <= (5 if example["first"][0] == 1 else 100)


def test_one_document_alone_is_refused():
    with pytest.raises(DataError, match="needs at least two; this one has 1"):
        SentencePairs(cache_of([1] * 50, [0, 50, 50]), raw_length=10)
    with pytest.raises(ValueError, match="at least 2"):
        SentencePairs(cache_of([1] * 50, [0, 20, 50]), raw_length=1)
