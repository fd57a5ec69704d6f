"""What each way to draw noise promises: counts, groups, and that all choices are equally likely."""

import itertools
from collections import Counter

import numpy as np
import pytest
from sequences import groups_of, one

from pretrain_jax.corruption import noise, words
from pretrain_jax.corruption.uniform import from_generator
from pretrain_jax.ragged import Ragged, RowSplits


def random_tokens(starts, count, rng):
    return noise.random_tokens(one(starts), np.array([count]), from_generator(rng))


def whole_words(starts, count, rng):
    counts = np.array([count])
    starts = split_long_words(one(starts), starts, counts, np.ones(len(starts), int))
    return noise.whole_words(one(starts), counts, from_generator(rng), starts=starts)


def split_long_words(texts, starts, counts, sizes):
    """words.split_long_words of texts in which every token is another, of `sizes` [T] bytes."""
    return words.split_long_words(Ragged(np.arange(len(starts)), texts), starts, counts, sizes)


def geometric_spans(starts, count, rng):
    return noise.geometric_spans(one(starts), np.array([count]), from_generator(rng), starts=starts)


def random_spans(n, count, spans, rng, **options):
    numbers = np.array([count]), np.array([spans])
    return noise.random_spans(RowSplits([n]), *numbers, from_generator(rng), **options)


def third_as_many_spans(starts, count, rng):
    n = len(starts)
    return random_spans(n, count, max(1, min(count // 3, n - count)), rng)


def groups(drawn):
    """(starts, stops) of the groups of one text."""
    return groups_of(one(drawn), drawn)


DRAW = {
    "random_tokens": random_tokens,
    "whole_words": whole_words,
    "geometric_spans": geometric_spans,
    "random_spans": third_as_many_spans,
}
EXACT = [name for name in DRAW if name != "whole_words"]


def random_words(seed: int, n: int) -> np.ndarray:
    """Random word starts, about three in four; the first token may be inside a word."""
    starts = np.random.default_rng([n, seed]).random(n) < 0.75
    starts.setflags(write=False)
    return starts


def near(found: float, expected: float, sigma: float) -> bool:
    return abs(found - expected) <= 3 * sigma


def equally_likely(draws: Counter, kinds: int) -> bool:
    """Whether `kinds` results came up, each within three sigma of the same number of times."""
    total, p = draws.total(), 1 / kinds
    sigma = (total * p * (1 - p)) ** 0.5
    return len(draws) == kinds and all(near(n, total * p, sigma) for n in draws.values())


@pytest.mark.parametrize("draw", DRAW.values(), ids=DRAW)
@pytest.mark.parametrize("n, count", [(2, 1), (3, 2), (40, 1), (40, 13), (512, 77), (568, 85)])
def test_groups_are_numbered_in_order_of_place_and_contiguous(draw, n, count):
    for seed in range(20):
        found = draw(random_words(seed, n), count, np.random.default_rng(seed))
        assert found.dtype == np.int32 and found.shape == (n,)
        starts, stops = groups(found)
        expected = np.zeros(n, np.int32)
        for number, (start, stop) in enumerate(zip(starts, stops, strict=True), 1):
            expected[start:stop] = number
        np.testing.assert_array_equal(found, expected)
        assert 0 < np.count_nonzero(found) <= count


@pytest.mark.parametrize("draw", [DRAW[name] for name in EXACT], ids=EXACT)
@pytest.mark.parametrize("n, count", [(2, 1), (40, 1), (40, 39), (512, 77), (568, 85)])
def test_counts_are_exact(draw, n, count):
    for seed in range(20):
        found = draw(random_words(seed, n), count, np.random.default_rng(seed))
        assert np.count_nonzero(found) == count


@pytest.mark.parametrize("draw", DRAW.values(), ids=DRAW)
def test_noise_comes_from_the_generator_alone(draw):
    """The same generator gives the same bytes, another one others."""
    starts = random_words(0, 512)
    first, again, other = (draw(starts, 77, np.random.default_rng(seed)) for seed in (3, 3, 4))
    assert first.tobytes() == again.tobytes() != other.tobytes()


@pytest.mark.parametrize("n, count", [(0, 0), (5, 0)])
@pytest.mark.parametrize("draw", [whole_words, geometric_spans, random_tokens])
def test_no_noise_where_none_is_asked_for(draw, n, count):
    assert draw(random_words(0, n), count, np.random.default_rng(0)).tolist() == [0] * n


def test_random_tokens_are_groups_of_one_and_every_choice_is_equally_likely():
    rng = np.random.default_rng(0)
    draws = Counter(tuple(random_tokens(np.ones(5), 2, rng)) for _ in range(5000))
    assert all(sorted(drawn) == [0, 0, 0, 1, 2] for drawn in draws)
    assert equally_likely(draws, kinds=10)


@pytest.mark.parametrize("seed", range(30))
def test_whole_words_are_never_split_and_none_that_fits_is_left(seed):
    starts = random_words(seed, 200)
    found = whole_words(starts, 30, np.random.default_rng(seed))
    begins = starts.copy()
    begins[0] = True
    word = np.cumsum(begins)
    sizes = Counter(word.tolist())
    chosen = set(word[found > 0].tolist())
    for start, stop in zip(*groups(found), strict=True):
        assert begins[start] and stop - start == sizes[word[start]]
    left = 30 - np.count_nonzero(found)
    assert left == 30 - sum(sizes[w] for w in chosen)
    assert all(size > left for w, size in sizes.items() if w not in chosen)


def test_whole_words_are_taken_in_random_order_and_passed_over_as_in_bert():
    """Words of 1, 2, 3 and 2 tokens, 4 to choose: the six possible results, as often as the 24
    orders of the words give them."""
    sizes, count = (1, 2, 3, 2), 4
    starts = np.array([1, 1, 0, 1, 0, 0, 1, 0], bool)
    expected = Counter()
    for order in itertools.permutations(range(4)):
        chosen: set[int] = set()
        for word in order:
            if sum(sizes[w] for w in chosen) + sizes[word] <= count:
                chosen.add(word)
        expected[frozenset(chosen)] += 1
    rng, draws = np.random.default_rng(0), Counter()
    for _ in range(4800):
        found = whole_words(starts, count, rng)
        draws[frozenset((np.cumsum(starts) - 1)[found > 0].tolist())] += 1
    assert draws.keys() == expected.keys()
    for chosen, orders in expected.items():
        p = orders / 24
        assert near(draws[chosen], 4800 * p, (4800 * p * (1 - p)) ** 0.5)


def cut(starts, count, sizes):
    starts = np.array(starts, bool)
    found = split_long_words(one(starts), starts, np.array([count]), np.array(sizes))
    return found.astype(int).tolist()


def test_words_that_never_fit_are_cut_and_others_are_not():
    starts = [1, 0, 0, 0, 0, 1, 0, 1]
    assert cut(starts, 5, [1] * 8) == starts
    assert cut(starts, 2, [1] * 8) == [1, 0, 1, 0, 1, 1, 0, 1]
    assert cut([1], 0, [1]) == [1] and cut([], 3, []) == []


def test_words_of_too_many_bytes_are_cut_into_stretches():
    longest, stretch = words.LONGEST_WORD, words.STRETCH
    assert cut([1] + [0] * (longest - 1), 99, [1] * longest) == [1] + [0] * (longest - 1)
    found = np.flatnonzero(cut([1] + [0] * longest, 99, [1] * (longest + 1)))
    assert found.tolist() == list(range(0, longest + 1, stretch))
    # Of tokens longer than a stretch each is one of its own; unknown tokens have no bytes.
    assert cut([1, 0, 0, 0], 9, [1, 20, 20, 20]) == [1, 0, 1, 1]
    assert cut([1] + [0] * 99, 9, [0] * 100).count(1) > 100 / 9


def test_every_text_has_its_own_words_cut():
    texts, starts = RowSplits([4, 0, 3]), np.array([1, 0, 0, 0, 0, 0, 1], bool)
    found = split_long_words(texts, starts, np.array([2, 0, 9]), np.ones(7, int))
    assert found.astype(int).tolist() == [1, 0, 1, 0, 0, 0, 1]


def test_span_lengths_have_spanberts_distribution():
    """Geometric(0.2) over 1 .. 10, renormalised: its mean is 3.8, and the tail is not put on 10."""
    size = 100_000
    lengths = noise.span_lengths(np.random.default_rng(0).random(size))
    p = 0.2 * 0.8 ** np.arange(10)
    p /= p.sum()
    counts = np.bincount(lengths, minlength=11)
    assert counts[0] == 0 and len(counts) == 11
    assert all(
        near(n, size * q, (size * q * (1 - q)) ** 0.5) for n, q in zip(counts[1:], p, strict=True)
    )
    assert p @ np.arange(1, 11) == pytest.approx(3.797, abs=1e-3)
    assert set(noise.span_lengths(np.random.default_rng(0).random(100), longest=1)) == {1}


def test_sparse_geometric_spans_keep_the_drawn_lengths():
    """Where spans hardly ever meet, groups are spans: a mean of 3.8 words of one token each."""
    n, count = 1_000_000, 10_000
    found = geometric_spans(np.ones(n, bool), count, np.random.default_rng(0))
    starts, stops = groups(found)
    spread = (stops - starts).std() / len(starts) ** 0.5
    assert near(count / len(starts), 3.797, spread)


@pytest.mark.parametrize("seed", range(30))
def test_geometric_spans_are_whole_words_but_for_the_last_and_neighbours_merge(seed):
    starts = random_words(seed, 300)
    found = geometric_spans(starts, 60, np.random.default_rng(seed))
    begins = np.append(starts, True)
    begins[0] = True
    first, stops = groups(found)
    assert begins[first].all()
    assert np.count_nonzero(~begins[stops]) <= 1
    assert (first[1:] > stops[:-1]).all()


def test_geometric_spans_begin_at_every_word_as_often_as_it_has_tokens():
    """A token is drawn, and its word begins the span: here only the first token of that word."""
    starts = np.array([1, 0, 0, 1, 1, 0], bool)
    rng = np.random.default_rng(0)
    draws = np.sum([geometric_spans(starts, 1, rng) for _ in range(6000)], axis=0)
    assert np.flatnonzero(draws).tolist() == [0, 3, 4]
    for place, p in ((0, 3 / 6), (3, 1 / 6), (4, 2 / 6)):
        assert near(draws[place], 6000 * p, (6000 * p * (1 - p)) ** 0.5)


def test_geometric_spans_take_all_there_is():
    found = geometric_spans(random_words(0, 50), 80, np.random.default_rng(0))
    assert found.tolist() == [1] * 50


@pytest.mark.parametrize("n, count, spans", [(2, 1, 1), (8, 4, 4), (32, 8, 4), (568, 85, 28)])
def test_random_spans_alternate_with_text_and_sum_to_the_count(n, count, spans):
    for seed in range(20):
        found = random_spans(n, count, spans, np.random.default_rng(seed))
        starts, stops = groups(found)
        assert len(starts) == spans and (stops > starts).all()
        assert (stops - starts).sum() == count
        assert starts[0] > 0 and (starts[1:] > stops[:-1]).all() and stops[-1] == n


def test_random_spans_are_equally_likely():
    """3 noise tokens in 2 parts, 5 of text in 2: 2 x 4 ways."""
    rng = np.random.default_rng(0)
    draws = Counter(tuple(random_spans(8, 3, 2, rng)) for _ in range(8000))
    assert equally_likely(draws, kinds=8)


@pytest.mark.parametrize("n, count, spans, ways", [(7, 2, 1, 6), (8, 3, 2, 30), (3, 2, 1, 2)])
def test_spans_anywhere_are_equally_likely(n, count, spans, ways):
    """8, 3, 2: two ways to cut the noise, and 6 x 5 / 2 to choose two of the six gaps around 5."""
    rng = np.random.default_rng(0)
    draws = Counter(
        tuple(random_spans(n, count, spans, rng, anywhere=True)) for _ in range(200 * ways)
    )
    assert equally_likely(draws, kinds=ways)
    assert all(max(drawn) == spans and np.count_nonzero(drawn) == count for drawn in draws)


def test_spans_anywhere_of_many_texts():
    texts, counts, spans = RowSplits([9, 0, 1, 5, 9]), np.array([3, 0, 1, 0, 4]), [2, 0, 1, 0, 3]
    uniform = from_generator(np.random.default_rng(0))
    found = noise.random_spans(texts, counts, np.array(spans), uniform, anywhere=True)
    for text, count, number in zip(Ragged(found, texts).split(), counts, spans, strict=True):
        assert np.count_nonzero(text) == count and text.max(initial=0) == number
        assert len(groups(text)[0]) == number


def test_one_span_may_be_the_whole_text():
    assert random_spans(1, 1, 1, np.random.default_rng(0), anywhere=True).tolist() == [1]
    assert random_spans(1, 1, 1, np.random.default_rng(0)).tolist() == [1]
    assert random_spans(3, 3, 1, np.random.default_rng(0)).tolist() == [1, 1, 1]


@pytest.mark.parametrize("n, count, spans", [(8, 3, 4), (8, 6, 3), (8, 3, 0), (8, 0, 1), (1, 2, 1)])
def test_random_spans_that_cannot_be_are_refused(n, count, spans):
    with pytest.raises(ValueError, match=f"{count} noise tokens in {spans} spans of a text of {n}"):
        random_spans(n, count, spans, np.random.default_rng(0))


@pytest.mark.parametrize("density", [0.0, 0.15, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("mean", [0.5, 1.0, 3.0, 10.0])
def test_spans_of_length_can_always_be_drawn(density, mean):
    lengths = np.arange(80)
    counts, spans = noise.noise_and_span_counts(lengths, density, mean)
    for n, count, number in zip(lengths.tolist(), counts, spans, strict=True):
        assert noise.noise_and_span_counts(n, density, mean) == (count, number)
        found = random_spans(n, int(count), int(number), np.random.default_rng(n))
        assert np.count_nonzero(found) == count and found.max(initial=0) == number
        assert (count > 0) == (n > 1 and density > 0)


def test_neighbouring_places_are_one_group():
    chosen = np.array([1, 1, 0, 0, 1, 0, 1], bool)
    chosen.setflags(write=False)
    assert noise.from_mask(one(chosen), chosen).tolist() == [1, 1, 0, 0, 2, 0, 3]
    assert noise.from_mask(RowSplits([0]), np.zeros(0, bool)).tolist() == []


def test_groups_that_touch_stay_apart():
    starts, stops = groups(np.array([1, 1, 2, 0, 3], np.int32))
    assert (starts.tolist(), stops.tolist()) == ([0, 2, 4], [2, 3, 5])
    assert [part.tolist() for part in groups(np.zeros(3, np.int32))] == [[], []]
