"""Which tokens are noise: every function returns a noise map, int32 [n] (corruption/__init__.py).

Sources: BERT (google-research/bert, create_pretraining_data.py), SpanBERT (arXiv 1907.10529,
section 3.1; facebookresearch/SpanBERT, masking.py), T5 (arXiv 1910.10683, section 3.1.4;
t5/data/preprocessors.py).
"""

from functools import cache
from typing import Any

import numpy as np


def random_tokens(n: int, count: int, rng: np.random.Generator) -> np.ndarray:
    """`count` of `n` tokens, every choice equally likely, each a group of its own.

    >>> random_tokens(6, 2, np.random.default_rng(0))
    array([0, 0, 1, 2, 0, 0], dtype=int32)
    """
    chosen = _choose(n, count, rng)
    return chosen.cumsum(dtype=np.int32) * chosen


def whole_words(starts: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Words in random order as long as they fit: `count` tokens at most, each word a group.

    A word that would go over is passed over, as in BERT. Where every word is longer than `count`,
    the first `count` tokens of one word are taken, so that something is always predicted.

    Args:
      starts: bool [n], true where a word begins. Tokens before the first start are a word too.
      count: tokens that may be noise.

    >>> whole_words(np.array([True, False, True, False, False]), 3, np.random.default_rng(1))
    array([1, 1, 0, 0, 0], dtype=int32)
    """
    bounds = _word_bounds(starts)
    sizes = bounds[1:] - bounds[:-1]
    order = rng.permutation(len(sizes))
    chosen = np.zeros(len(sizes), np.bool_)
    left = count
    while left > 0:
        order = order[sizes[order] <= left]  # what does not fit now never will
        if len(order) == 0:
            break
        used = sizes[order].cumsum()
        fitting = int(used.searchsorted(left, side="right"))
        chosen[order[:fitting]] = True
        left -= int(used[fitting - 1])
        order = order[fitting:]
    if left == count > 0 and len(sizes):
        start = bounds[rng.integers(len(sizes))]
        noise = np.zeros(len(starts), np.int32)
        noise[start : start + count] = 1
        return noise
    return (chosen.cumsum(dtype=np.int32) * chosen).repeat(sizes)


def geometric_spans(
    starts: np.ndarray,
    count: int,
    rng: np.random.Generator,
    p: float = 0.2,
    longest: int = 10,
) -> np.ndarray:
    """SpanBERT's spans: exactly `count` tokens, or all when there are fewer.

    Until `count` tokens are noise, a token that is not yet noise is drawn, and the word that it
    is in begins a span of as many words as `span_lengths` says. A span may run over older ones; the
    last is cut, also inside a word. Spans that overlap or touch become one group.

    Args:
      starts: bool [n], true where a word begins. Tokens before the first start are a word too.
      count: tokens to make noise.
      p, longest: of the distribution of lengths, in words.
    """
    n = len(starts)
    count = min(count, n)
    bounds = _word_bounds(starts)
    noise = bytearray(n)  # a few dozen short spans: plain bytes are quicker than arrays here
    free, left = np.arange(n), count
    while left > 0:
        draws = 8 + left // 3  # nearly always enough, so that the outer loop runs once
        anchors = free[places_of(rng, len(free), draws)]
        words = bounds.searchsorted(anchors, side="right") - 1
        last = np.minimum(words + span_lengths(draws, rng, p, longest), len(bounds) - 1)
        for anchor, start, stop in zip(
            anchors.tolist(), bounds[words].tolist(), bounds[last].tolist(), strict=True
        ):
            if noise[anchor]:
                continue
            fresh = noise.count(0, start, stop)
            while fresh > left:
                stop -= 1
                fresh -= not noise[stop]
            noise[start:stop] = b"\1" * (stop - start)
            left -= fresh
            if left == 0:
                break
        else:
            free = np.flatnonzero(np.frombuffer(noise, np.uint8) == 0)
    return given(np.frombuffer(noise, np.bool_))


def span_lengths(
    size: int, rng: np.random.Generator, p: float = 0.2, longest: int = 10
) -> np.ndarray:
    """int [size] lengths from Geometric(p), cut at `longest` and renormalised.

    The mean of SpanBERT's is 3.80: P(1) = 0.2 / (1 - 0.8^10) = 0.224, P(10) = 0.030.
    """
    return _geometric(p, longest).searchsorted(rng.random(size), side="right") + 1


@cache
def _geometric(p: float, longest: int) -> np.ndarray:
    """P(length <= k) for k = 1 .. longest - 1."""
    unseen = (1 - p) ** np.arange(longest + 1)
    return (1 - unseen[1:longest]) / (1 - unseen[longest])


def random_spans(n: int, count: int, spans: int, rng: np.random.Generator) -> np.ndarray:
    """T5's spans: `count` tokens in `spans` groups, none touching, beginning with text.

    The noise is cut into `spans` parts of at least one token, so is the rest, every way to cut
    being equally likely; the parts alternate, the rest's first. The last token is thus noise.

    Raises ValueError unless spans <= count and spans <= n - count, and both are 0 or neither.

    >>> random_spans(8, 3, 2, np.random.default_rng(0))
    array([0, 0, 0, 1, 1, 0, 0, 2], dtype=int32)
    """
    if not min(count, 1) <= spans <= min(count, n - count):
        raise ValueError(
            f"spans must leave a token of noise and one of text for each; received {count} tokens "
            f"of noise in {spans} spans among {n}; spans_of_length gives numbers that fit"
        )
    if spans == 0:
        return np.zeros(n, np.int32)
    sizes = np.empty(2 * spans, np.int64)
    sizes[0::2] = _segments(n - count, spans, rng)
    sizes[1::2] = _segments(count, spans, rng)
    numbers = np.zeros(2 * spans, np.int32)
    numbers[1::2] = np.arange(1, spans + 1)
    return numbers.repeat(sizes)


def _segments(items: int, segments: int, rng: np.random.Generator) -> np.ndarray:
    """int [segments] sizes >= 1 that sum to `items`, all such equally likely."""
    ends = np.empty(segments + 1, np.int64)
    ends[0], ends[-1] = 0, items
    ends[1:-1] = _choose(items - 1, segments - 1, rng).nonzero()[0] + 1
    return ends[1:] - ends[:-1]


def spans_of_length(length: Any, density: float, mean: float) -> tuple[Any, Any]:
    """How many tokens are noise, and in how many spans: T5's rounding.

    The noise is round(length x density) tokens, at least 1 and at most all but one; the spans are
    round(noise / mean), at least 1, and never more than there are tokens of noise or of text (where
    T5's own code fails). A text of fewer than 2 tokens, or a density of 0, has no noise, as in T5.

    Args:
      length: tokens of the text, an int or an int array.
      density: part of the tokens that is noise.
      mean: tokens of an average span.

    >>> spans_of_length(568, 0.15, 3.0)
    (85, 28)
    """
    fewest = 1 if density > 0 else 0
    if isinstance(length, int):  # many times quicker than arrays of one
        count = min(max(round(length * density), fewest), max(length - 1, 0))
        return count, min(max(round(count / mean), 1), count, length - count)
    count = np.maximum(np.rint(length * density).astype(np.int64), fewest)
    count = np.minimum(count, np.maximum(length - 1, 0))
    spans = np.maximum(np.rint(count / mean).astype(np.int64), 1)
    return count, np.minimum(np.minimum(spans, count), length - count)


def given(chosen: np.ndarray) -> np.ndarray:
    """The noise map of known places, bool [n]: each maximal run of true is a group.

    >>> given(np.array([True, True, False, True]))
    array([1, 1, 0, 2], dtype=int32)
    """
    first = chosen.copy()
    first[1:] &= ~chosen[:-1]
    return first.cumsum(dtype=np.int32) * chosen


def groups(noise: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(starts [G], stops [G]): the k-th group is noise[starts[k - 1] : stops[k - 1]].

    >>> groups(np.array([0, 1, 1, 2, 0]))
    (array([1, 3]), array([3, 4]))
    """
    edge = np.ones(len(noise) + 1, np.bool_)
    np.not_equal(noise[1:], noise[:-1], out=edge[1:-1])
    member = noise > 0
    return (edge[:-1] & member).nonzero()[0], (edge[1:] & member).nonzero()[0] + 1


def places_of(rng: np.random.Generator, n: int, size: int) -> np.ndarray:
    """int [size] places below n, each as likely as another to 2^-53: a third of the time of
    `rng.integers`, which checks its bounds as arrays."""
    return (rng.random(size) * n).astype(np.int64)


def _choose(n: int, count: int, rng: np.random.Generator) -> np.ndarray:
    """bool [n] with `count` true (at most n), all such equally likely."""
    chosen = np.zeros(n, np.bool_)
    chosen[rng.permutation(n)[:count]] = True
    return chosen


def _word_bounds(starts: np.ndarray) -> np.ndarray:
    """int [words + 1]: where each word begins, and n."""
    edge = np.ones(len(starts) + 1, np.bool_)
    edge[1:-1] = starts[1:]
    return edge.nonzero()[0]
