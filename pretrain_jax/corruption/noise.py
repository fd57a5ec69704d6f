"""Drawing noise: functions that return a noise map, int32 [T] (corruption/__init__.py).

Sources: BERT (google-research/bert, create_pretraining_data.py), SpanBERT (arXiv 1907.10529,
section 3.1; facebookresearch/SpanBERT, masking.py), T5 (arXiv 1910.10683, section 3.1.4;
t5/data/preprocessors.py).
"""

from functools import cache
from typing import Any

import numpy as np

from pretrain_jax.corruption.uniform import Uniform
from pretrain_jax.corruption.words import word_splits
from pretrain_jax.ragged import RowSplits


def random_tokens(texts: RowSplits, counts: np.ndarray, uniform: Uniform) -> np.ndarray:
    """`counts` [E] tokens of each text, each its own group; all choices are equally likely.

    >>> from pretrain_jax.corruption.uniform import from_generator
    >>> random_tokens(RowSplits([6]), np.array([2]), from_generator(np.random.default_rng(0)))
    array([0, 0, 1, 2, 0, 0], dtype=int32)
    """
    chosen = random_subset(texts, counts, uniform)
    return number_groups(texts, chosen, chosen)


def independent_tokens(
    texts: RowSplits, rate: float, fewest: np.ndarray, most: np.ndarray, uniform: Uniform
) -> np.ndarray:
    """Each token independently with probability `rate`, as its own group: T5's iid_noise_mask.

    The number of noise tokens of a text is clipped to `fewest` [E] .. `most` [E]; the tokens with
    the lowest draws are chosen.

    >>> from pretrain_jax.corruption.uniform import from_generator
    >>> texts, bounds = RowSplits([6]), (np.array([0]), np.array([6]))
    >>> independent_tokens(texts, 0.5, *bounds, from_generator(np.random.default_rng(0)))
    array([0, 1, 2, 3, 0, 0], dtype=int32)
    """
    draws = uniform(texts.sizes)
    counts = np.clip(texts.take((draws < rate).nonzero()[0]).sizes, fewest, most)
    chosen = random_subset(texts, counts, lambda sizes: draws)
    return number_groups(texts, chosen, chosen)


def whole_words(
    texts: RowSplits, counts: np.ndarray, uniform: Uniform, *, starts: np.ndarray
) -> np.ndarray:
    """Whole words in random order, up to `counts` [E] tokens per text; each word is a group.

    A word that would exceed the count is skipped, as in BERT. A text whose words are all longer
    than its count gets no noise; `split_long_words` prevents this.

    starts: bool [T], true at the first token of a word; a text always starts a word.
    """
    words, begins = word_splits(texts, starts)
    sizes = np.diff(begins)
    # The words of each text in random order.
    waiting = words.permutation(uniform(words.sizes))
    chosen = np.zeros(words.total, np.bool_)
    left = counts.copy()
    while True:
        waiting = waiting[
            sizes[waiting] <= left[words.row_ids[waiting]]
        ]  # the others can never fit
        if len(waiting) == 0:
            break
        queue = words.take(waiting)
        fits = queue.cumsum(sizes[waiting]) <= queue.broadcast(left)
        taken = waiting[fits]
        chosen[taken] = True
        left -= np.bincount(words.row_ids[taken], sizes[taken], len(words)).astype(np.int64)
        waiting = waiting[~fits]
    return number_groups(words, chosen, chosen).repeat(sizes)


def geometric_spans(
    texts: RowSplits,
    counts: np.ndarray,
    uniform: Uniform,
    *,
    starts: np.ndarray,
    p: float = 0.2,
    longest: int = 10,
) -> np.ndarray:
    """SpanBERT's spans: exactly `counts` [E] tokens of each text, or all if there are fewer.

    Until there are enough noise tokens, a token that is not noise is drawn, and its word starts a
    span whose length in words comes from `span_lengths`. A span may overlap earlier spans. The
    last span is truncated, even inside a word. Spans that overlap or touch become one group.

    starts      bool [T], true at the first token of a word; a text always starts a word
    p, longest  parameters of the distribution of lengths, in words
    """
    words, begins = word_splits(texts, starts)
    word_of = np.arange(words.total).repeat(np.diff(begins))
    ends = words.starts + words.sizes
    # Draw the tokens in random order and skip those that are noise already.
    order, draws = texts.permutation(uniform(texts.sizes)), uniform(texts.sizes)
    noise = bytearray(texts.total)  # bytes are faster than arrays for a few short spans
    left = np.minimum(counts, texts.sizes).tolist()
    done, most = 0 * counts, 8 + counts // 3  # one round is nearly always enough
    while any(left):
        most[np.array(left) == 0] = 0
        now = (texts.offsets >= texts.broadcast(done)) & (texts.offsets < texts.broadcast(most))
        anchors, of = order[now], texts.row_ids[now]
        word = word_of[anchors]
        last = np.minimum(word + span_lengths(draws[now], p, longest), ends[of])
        spans = of, anchors, begins[word], begins[last]
        for text, anchor, start, stop in zip(*(part.tolist() for part in spans), strict=True):
            if not left[text] or noise[anchor]:
                continue
            fresh = noise.count(0, start, stop)
            while fresh > left[text]:
                stop -= 1
                fresh -= not noise[stop]
            noise[start:stop] = b"\1" * (stop - start)
            left[text] -= fresh
        done, most = most, 2 * most
    return from_mask(texts, np.frombuffer(noise, np.bool_))


def span_lengths(uniform: np.ndarray, p: float = 0.2, longest: int = 10) -> np.ndarray:
    """Maps numbers in [0, 1) to lengths from Geometric(p), truncated at `longest`, renormalized.

    The mean for SpanBERT's parameters is 3.80: P(1) = 0.2 / (1 - 0.8^10) = 0.224, P(10) = 0.030.
    """
    return _geometric(p, longest).searchsorted(uniform, side="right") + 1


@cache
def _geometric(p: float, longest: int) -> np.ndarray:
    """P(length <= k) for k = 1 .. longest - 1."""
    unseen = (1 - p) ** np.arange(longest + 1)
    return (1 - unseen[1:longest]) / (1 - unseen[longest])


def random_spans(
    texts: RowSplits,
    counts: np.ndarray,
    spans: np.ndarray,
    uniform: Uniform,
    anywhere: bool = False,
) -> np.ndarray:
    """T5's spans: `counts` [E] noise tokens in `spans` [E] groups, each with text before it.

    The noise and the rest of the text are each split into `spans` parts of at least one token; all
    ways to split are equally likely. The parts alternate, starting with the rest, so the last
    token is noise. One span may also cover a complete text.

    anywhere: the rest has one more part, at the end of the text; the first and the last part may
    be empty. One span of 2 tokens among 7 starts at 0, 1, .. 5 with equal probability, where
    T5's starts at 5.

    Raises ValueError unless every span has a token of noise and a token of text before it.

    >>> from pretrain_jax.corruption.uniform import from_generator
    >>> texts, count, spans = RowSplits([8]), np.array([3]), np.array([2])
    >>> random_spans(texts, count, spans, from_generator(np.random.default_rng(0)))
    array([0, 0, 0, 0, 1, 0, 2, 2], dtype=int32)
    """
    rest = texts.sizes - counts
    wrong = (spans < np.minimum(counts, 1)) | (spans > counts) | (spans > np.maximum(rest, 1))
    wrong |= rest < 0
    if wrong.any():
        worst = wrong.argmax()
        raise ValueError(
            f"each span needs a noise token and a text token before it; received {counts[worst]} "
            f"noise tokens in {spans[worst]} spans of a text of {texts.sizes[worst]} tokens; use "
            "the numbers of noise_and_span_counts"
        )
    pieces = RowSplits(
        np.maximum(spans, 1)
    )  # a text without noise is one piece, and noise of size 0
    between = RowSplits(pieces.sizes + anywhere)
    kept = _random_sizes(rest + 2 * anywhere, between, uniform)
    if anywhere:
        kept[between.starts] -= 1
        kept[between.starts + between.sizes - 1] -= 1
    runs = RowSplits(pieces.sizes + between.sizes)
    noisy = runs.offsets % 2 == 1
    sizes, groups = np.empty(runs.total, np.int64), np.zeros(runs.total, np.int32)
    sizes[~noisy], sizes[noisy] = kept, _random_sizes(counts, pieces, uniform)
    groups[noisy] = pieces.offsets + 1
    return groups.repeat(sizes)


def _random_sizes(items: np.ndarray, pieces: RowSplits, uniform: Uniform) -> np.ndarray:
    """int [sum of pieces]: random sizes >= 1 that add up to `items` [E]; all are equally likely."""
    gaps = RowSplits(np.maximum(items - 1, 0))
    cuts = random_subset(gaps, pieces.sizes - 1, uniform)
    ends = np.empty(pieces.total, np.int64)
    final = pieces.offsets == pieces.broadcast(pieces.sizes) - 1
    ends[final], ends[~final] = items, gaps.offsets[cuts] + 1
    begins = np.zeros_like(ends)
    begins[1:] = ends[:-1]
    begins[pieces.starts] = 0
    return ends - begins


def noise_and_span_counts(length: Any, density: float, mean: float) -> tuple[Any, Any]:
    """(number of noise tokens, number of spans) of a text, with T5's rounding.

    There are round(length x density) noise tokens, at least 1 and at most length - 1, and
    round(noise / mean) spans, at least 1 and at most as many as noise tokens or text tokens (T5's
    code fails there). A text of fewer than 2 tokens, or a density of 0, has no noise, as in T5.

    Args:
      length: tokens of the text, an int or an int array; the results have the same shape.
      density: fraction of the tokens that is noise.
      mean: mean number of tokens per span.

    >>> noise_and_span_counts(np.array([568, 2]), 0.15, 3.0)
    (array([85,  1]), array([28,  1]))
    """
    fewest = 1 if density > 0 else 0
    count = np.maximum(np.rint(length * density).astype(np.int64), fewest)
    count = np.minimum(count, np.maximum(length - 1, 0))
    spans = np.maximum(np.rint(count / mean).astype(np.int64), 1)
    return count, np.minimum(np.minimum(spans, count), length - count)


def from_mask(texts: RowSplits, chosen: np.ndarray) -> np.ndarray:
    """The noise map of a mask, bool [T]: each maximal run of true in a text is a group.

    >>> from_mask(RowSplits([4, 1]), np.array([True, True, False, True, True]))
    array([1, 1, 0, 2, 1], dtype=int32)
    """
    return number_groups(texts, group_starts(texts, chosen), chosen)


def group_starts(texts: RowSplits, noise: np.ndarray) -> np.ndarray:
    """bool [T]: the first token of each group of a noise map.

    >>> group_starts(RowSplits([3, 2]), np.array([0, 1, 2, 2, 2]))
    array([False,  True,  True,  True, False])
    """
    edge = np.ones(len(noise), np.bool_)
    np.not_equal(noise[1:], noise[:-1], out=edge[1:])
    edge[texts.nonempty_starts] = True
    return edge & (noise > 0)


def number_groups(texts: RowSplits, first: np.ndarray, member: np.ndarray) -> np.ndarray:
    """The noise map of groups, from their first tokens and their members, both bool [T]."""
    return (texts.cumsum(first) * member).astype(np.int32)


def random_subset(texts: RowSplits, counts: np.ndarray, uniform: Uniform) -> np.ndarray:
    """bool [T] with `counts` [E] true per text (at most all); all subsets are equally likely."""
    chosen = np.zeros(texts.total, np.bool_)
    order = texts.permutation(uniform(texts.sizes))
    chosen[order[texts.offsets < texts.broadcast(counts)]] = True
    return chosen
