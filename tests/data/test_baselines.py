"""Baselines by hand on a toy corpus, and as probabilities."""

import itertools
from collections import Counter

import numpy as np
import pytest
from data_toys import cache_of

from pretrain_jax.data.baselines import count_tokens, score_baselines
from pretrain_jax.errors import DataError

A, B, C, BEGIN, END = range(5)


def counts_of(tokens=(A, B, A, A, C), offsets=(0, 3, 5), **options):
    cache = cache_of(tokens, offsets)
    return count_tokens([(cache, 1.0)], vocab_size=5, **({"begin": BEGIN, "end": END} | options))


def test_the_formulas_by_hand():
    # begin a b a end, begin a c end: a 3, b 1, c 1, end 2, in all 7 of 4 types.
    counts = counts_of()
    unigram = np.array([3, 1, 1, 0, 2]) / 11 + 4 / 5 / 11
    np.testing.assert_allclose(counts.unigram, unigram)
    # After a: b, end, c, once each. After b: a. After begin: a, twice.
    for context, token, seen, total, types in [
        (A, B, 1, 3, 3),
        (A, A, 0, 3, 3),
        (B, A, 1, 1, 1),
        (BEGIN, A, 2, 2, 1),
        (BEGIN, C, 0, 2, 1),
        (C, END, 1, 1, 1),
    ]:
        expected = (seen + types * unigram[token]) / (total + types)
        found = counts.bigram(np.array([context]), np.array([token]))
        np.testing.assert_allclose(found, expected)
    # Nothing was ever seen after an end, not even the begin of the next document.
    np.testing.assert_allclose(counts.bigram(np.full(5, END), np.arange(5)), unigram)


@pytest.mark.parametrize("options", [{}, {"begin": None}, {"end": None}, {"limit": 2}])
def test_chances_sum_to_one(options):
    counts = counts_of(**options)
    np.testing.assert_allclose(counts.unigram.sum(), 1)
    for context in range(5):
        np.testing.assert_allclose(counts.bigram(np.full(5, context), np.arange(5)).sum(), 1)


def test_documents_of_one_token_have_no_pairs():
    counts = counts_of((A, B), (0, 1, 2), begin=None, end=None)
    np.testing.assert_allclose(counts.bigram(np.array([A]), np.array([B])), counts.unigram[B])


def test_only_the_first_tokens_are_counted():
    draw = np.random.default_rng(0).integers(0, 3, 1000)
    part = counts_of(draw, (0, 400, 1000), limit=500)
    same = counts_of(draw[:500], (0, 400, 500))
    np.testing.assert_array_equal(part.unigram, same.unigram)
    np.testing.assert_array_equal(part.pair_counts, same.pair_counts)


def test_scores_are_of_text_that_is_predicted():
    counts = counts_of()
    batch = {
        "tokens": np.array([[BEGIN, A, B, A], [BEGIN, A, 0, 0]]),
        "targets": np.array([[A, B, A, END], [A, C, 0, 0]]),
        "weights": np.array([[1, 1, 1, 1], [0, 1, 0, 0]], np.float32),
    }
    special = np.array([False, False, False, True, True])
    names = ("uniform", "unigram", "bigram")
    found = score_baselines(names, counts=counts, batches=[batch, batch], special=special)
    pairs = [(BEGIN, A), (A, B), (B, A), (A, C)]
    context, target = (np.array(side) for side in zip(*pairs, strict=True))
    assert found["uniform"] == pytest.approx(np.log(5))
    assert found["unigram"] == pytest.approx(-np.log(counts.unigram[target]).mean())
    assert found["bigram"] == pytest.approx(-np.log(counts.bigram(context, target)).mean())
    with pytest.raises(DataError, match="at least one text token to predict"):
        score_baselines(names, counts=counts, batches=[], special=special)


def test_a_source_of_known_entropy():
    """Tokens of a fixed chain: the bigram comes close to its entropy, the unigram cannot."""
    draw = np.random.default_rng(0)
    tokens = [0]
    for sure in draw.random(50_000) < 0.9:
        tokens.append((tokens[-1] + 1) % 3 if sure else int(draw.integers(3)))
    counts = counts_of(tokens, (0, len(tokens)), begin=None, end=None)
    fresh = np.array(tokens)
    batch = {
        "tokens": fresh[None, :-1],
        "targets": fresh[None, 1:],
        "weights": np.ones((1, 50_000)),
    }
    none = np.zeros(5, np.bool_)
    found = score_baselines(("unigram", "bigram"), counts=counts, batches=[batch], special=none)
    chance = np.array([0.9 + 0.1 / 3, 0.1 / 3, 0.1 / 3])
    assert found["bigram"] == pytest.approx(-(chance * np.log(chance)).sum(), abs=0.01)
    assert found["unigram"] == pytest.approx(np.log(3), abs=0.01)


def test_a_mixture_is_counted_by_its_rates():
    caches = [cache_of([token] * 100, [0, 50, 100]) for token in (A, B)]
    members = [(caches[0], 3.0), (caches[1], 1.0)]
    counts = count_tokens(members, vocab_size=5, begin=BEGIN, end=END, limit=80)
    # 60 tokens of the first (in two documents), 20 of the second: each is followed by something.
    # Ends of documents count too, so that the shares are not exactly these.
    assert counts.after[[A, B]].tolist() == pytest.approx([60, 20], rel=0.02)
    assert counts.after[END] == 0  # documents never run into one another


def brute_force(documents, begin, end):
    """How often each token is predicted, and each pair, by walking through the documents."""
    single, pairs = Counter(), Counter()
    for document in documents:
        whole = [begin] * (begin is not None) + document + [end] * (end is not None)
        single.update(whole[begin is not None :])
        pairs.update(itertools.pairwise(whole))
    return single, pairs


@pytest.mark.parametrize("begin, end", [(3, 4), (4, 4), (None, 4), (3, None), (None, None)])
def test_counts_are_those_of_walking_through_the_documents(begin, end):
    draw = np.random.default_rng(0)
    documents = [draw.integers(0, 3, n).tolist() for n in (5, 1, 0, 7, 2, 90)]
    offsets = np.cumsum([0, *map(len, documents)])
    counts = counts_of([t for d in documents for t in d], offsets, begin=begin, end=end)
    single, pairs = brute_force(documents, begin, end)
    types, total = len(single), sum(single.values())
    expected = [(single[t] + types / 5) / (total + types) for t in range(5)]
    np.testing.assert_allclose(counts.unigram, expected)
    for (context, token), seen in pairs.items():
        after = {t: n for (c, t), n in pairs.items() if c == context}
        chance = (seen + len(after) * expected[token]) / (sum(after.values()) + len(after))
        found = counts.bigram(np.array([context]), np.array([token]))
        np.testing.assert_allclose(found, chance)


def test_a_member_with_few_tokens_has_the_weight_of_its_rate():
    """10 tokens of one, 1,000 of the other, drawn alike: half of all predictions are of each."""
    few, many = cache_of([A] * 10, [0, 10]), cache_of([B, C] * 500, [0, 1000])
    options = {"vocab_size": 5, "begin": None, "end": None}
    counts = count_tokens([(few, 1.0), (many, 1.0)], **options)
    np.testing.assert_allclose(counts.unigram[[A, B, C]], [0.5, 0.25, 0.25], atol=0.003)
    np.testing.assert_allclose(counts.bigram(np.full(5, A), np.arange(5)).sum(), 1)
    lopsided = count_tokens([(few, 3.0), (many, 1.0)], **options)
    np.testing.assert_allclose(lopsided.unigram[A], 0.75, atol=0.003)
    tiny = count_tokens([(few, 1e-9), (many, 1.0)], **options)
    assert 0 < tiny.unigram[A] < 0.001
