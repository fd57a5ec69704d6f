"""Which tokens are noise: every function returns a noise map, int32 [T] (corruption/__init__.py).

Sources: BERT (google-research/bert, create_pretraining_data.py), SpanBERT (arXiv 1907.10529,
section 3.1; facebookresearch/SpanBERT, masking.py), T5 (arXiv 1910.10683, section 3.1.4;
t5/data/preprocessors.py).
"""

from functools import cache
from typing import Any

import numpy as np

from pretrain_jax.corruption.uniform import Uniform
from pretrain_jax.corruption.words import words_of
from pretrain_jax.ragged import Parts


def random_tokens(texts: Parts, counts: np.ndarray, uniform: Uniform) -> np.ndarray:
    """`counts` [E] of the tokens of each text, every choice equally likely, each its own group.

    >>> from pretrain_jax.corruption.uniform import plain
    >>> random_tokens(Parts([6]), np.array([2]), plain(np.random.default_rng(0)))
    array([0, 0, 1, 2, 0, 0], dtype=int32)
    """
    chosen = choose(texts, counts, uniform)
    return numbered(texts, chosen, chosen)


def independent_tokens(
    texts: Parts, rate: float, fewest: np.ndarray, most: np.ndarray, uniform: Uniform
) -> np.ndarray:
    """Each token with probability `rate`, alone, its own group: T5's iid_noise_mask.

    Where that gives fewer than `fewest` [E] or more than `most` [E] tokens of a text, it has
    exactly so many: those with the lowest draws.

    >>> from pretrain_jax.corruption.uniform import plain
    >>> texts, bounds = Parts([6]), (np.array([0]), np.array([6]))
    >>> independent_tokens(texts, 0.5, *bounds, plain(np.random.default_rng(0)))
    array([0, 1, 2, 3, 0, 0], dtype=int32)
    """
    draws = uniform(texts.sizes)
    counts = np.clip(texts.counts((draws < rate).nonzero()[0]).sizes, fewest, most)
    chosen = choose(texts, counts, lambda sizes: draws)
    return numbered(texts, chosen, chosen)


def whole_words(
    texts: Parts, counts: np.ndarray, uniform: Uniform, *, starts: np.ndarray
) -> np.ndarray:
    """Words in random order as long as they fit: `counts` [E] tokens at most, each word a group.

    A word that would go over is passed over, as in BERT. Nothing is chosen where every word is
    longer than its text's count: `cut_words` leaves none of these.

    starts: bool [T], true where a word begins; the first token of a text always begins one.
    """
    words, begins = words_of(texts, starts)
    sizes = np.diff(begins)
    waiting = words.shuffled(uniform(words.sizes))  # each text's words, in the order of its draws
    chosen = np.zeros(words.total, np.bool_)
    left = counts.copy()
    while True:
        waiting = waiting[sizes[waiting] <= left[words.of[waiting]]]  # others never will fit
        if len(waiting) == 0:
            break
        queue = words.counts(waiting)
        fits = queue.running(sizes[waiting]) <= queue.each(left)
        taken = waiting[fits]
        chosen[taken] = True
        left -= np.bincount(words.of[taken], sizes[taken], len(words)).astype(np.int64)
        waiting = waiting[~fits]
    return numbered(words, chosen, chosen).repeat(sizes)


def geometric_spans(
    texts: Parts,
    counts: np.ndarray,
    uniform: Uniform,
    *,
    starts: np.ndarray,
    p: float = 0.2,
    longest: int = 10,
) -> np.ndarray:
    """SpanBERT's spans: exactly `counts` [E] tokens of each text, or all where there are fewer.

    Until so many tokens are noise, a token that is not yet noise is drawn, and the word that it is
    in begins a span of as many words as `span_lengths` says. A span may run over older ones; the
    last is cut, also inside a word. Spans that overlap or touch become one group.

    starts      bool [T], true where a word begins; the first token of a text always begins one
    p, longest  of the distribution of lengths, in words
    """
    words, begins = words_of(texts, starts)
    word_of = np.arange(words.total).repeat(np.diff(begins))
    behind = words.starts + words.sizes
    # Tokens in random order, those passed over that are noise by then: as if each were drawn.
    order, draws = texts.shuffled(uniform(texts.sizes)), uniform(texts.sizes)
    noise = bytearray(texts.total)  # a few dozen short spans: plain bytes are quicker than arrays
    left = np.minimum(counts, texts.sizes).tolist()
    done, most = 0 * counts, 8 + counts // 3  # a round of so many is nearly always enough
    while any(left):
        most[np.array(left) == 0] = 0
        now = (texts.place >= texts.each(done)) & (texts.place < texts.each(most))
        anchors, of = order[now], texts.of[now]
        word = word_of[anchors]
        last = np.minimum(word + span_lengths(draws[now], p, longest), behind[of])
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
    return given(texts, np.frombuffer(noise, np.bool_))


def span_lengths(uniform: np.ndarray, p: float = 0.2, longest: int = 10) -> np.ndarray:
    """Lengths from Geometric(p), cut at `longest` and renormalised, of numbers in [0, 1).

    The mean of SpanBERT's is 3.80: P(1) = 0.2 / (1 - 0.8^10) = 0.224, P(10) = 0.030.
    """
    return _geometric(p, longest).searchsorted(uniform, side="right") + 1


@cache
def _geometric(p: float, longest: int) -> np.ndarray:
    """P(length <= k) for k = 1 .. longest - 1."""
    unseen = (1 - p) ** np.arange(longest + 1)
    return (1 - unseen[1:longest]) / (1 - unseen[longest])


def random_spans(
    texts: Parts, counts: np.ndarray, spans: np.ndarray, uniform: Uniform, anywhere: bool = False
) -> np.ndarray:
    """T5's spans: `counts` [E] tokens in `spans` [E] groups, none touching, text in front of each.

    The noise is cut into `spans` parts of at least one token, so is the rest, every way to cut
    being equally likely; the parts alternate, the rest's first. The last token is thus noise. One
    span may also be a whole text.

    anywhere: the rest has one part more, which ends the text; it and the first may have no token.
    One span of 2 among 7 tokens begins at 0, 1, .. 5, all equally likely, where T5's begins at 5.

    Raises ValueError unless a span has a token of noise, and of text where it is not all.

    >>> from pretrain_jax.corruption.uniform import plain
    >>> texts, count, spans = Parts([8]), np.array([3]), np.array([2])
    >>> random_spans(texts, count, spans, plain(np.random.default_rng(0)))
    array([0, 0, 0, 0, 1, 0, 2, 2], dtype=int32)
    """
    rest = texts.sizes - counts
    wrong = (spans < np.minimum(counts, 1)) | (spans > counts) | (spans > np.maximum(rest, 1))
    wrong |= rest < 0
    if wrong.any():
        worst = wrong.argmax()
        raise ValueError(
            f"spans must leave a token of noise and one of text for each; received {counts[worst]} "
            f"tokens of noise in {spans[worst]} spans among {texts.sizes[worst]}; spans_of_length "
            "gives numbers that fit"
        )
    pieces = Parts(np.maximum(spans, 1))  # a text without noise is one piece, and noise of size 0
    between = Parts(pieces.sizes + anywhere)
    kept = _cut(rest + 2 * anywhere, between, uniform)
    if anywhere:
        kept[between.starts] -= 1
        kept[between.starts + between.sizes - 1] -= 1
    runs = Parts(pieces.sizes + between.sizes)
    noisy = runs.place % 2 == 1
    sizes, groups = np.empty(runs.total, np.int64), np.zeros(runs.total, np.int32)
    sizes[~noisy], sizes[noisy] = kept, _cut(counts, pieces, uniform)
    groups[noisy] = pieces.place + 1
    return groups.repeat(sizes)


def _cut(items: np.ndarray, pieces: Parts, uniform: Uniform) -> np.ndarray:
    """int [sum of pieces] sizes >= 1 of the pieces of `items` [E], all such equally likely."""
    gaps = Parts(np.maximum(items - 1, 0))
    cuts = choose(gaps, pieces.sizes - 1, uniform)
    ends = np.empty(pieces.total, np.int64)
    final = pieces.place == pieces.each(pieces.sizes) - 1
    ends[final], ends[~final] = items, gaps.place[cuts] + 1
    begins = np.zeros_like(ends)
    begins[1:] = ends[:-1]
    begins[pieces.starts] = 0
    return ends - begins


def spans_of_length(length: Any, density: float, mean: float) -> tuple[Any, Any]:
    """How many tokens are noise, and in how many spans: T5's rounding.

    The noise is round(length x density) tokens, at least 1 and at most all but one; the spans are
    round(noise / mean), at least 1, and never more than there are tokens of noise or of text (where
    T5's own code fails). A text of fewer than 2 tokens, or a density of 0, has no noise, as in T5.

    Args:
      length: tokens of the text, an int or an int array; the results are like it.
      density: part of the tokens that is noise.
      mean: tokens of an average span.

    >>> spans_of_length(np.array([568, 2]), 0.15, 3.0)
    (array([85,  1]), array([28,  1]))
    """
    fewest = 1 if density > 0 else 0
    count = np.maximum(np.rint(length * density).astype(np.int64), fewest)
    count = np.minimum(count, np.maximum(length - 1, 0))
    spans = np.maximum(np.rint(count / mean).astype(np.int64), 1)
    return count, np.minimum(np.minimum(spans, count), length - count)


def given(texts: Parts, chosen: np.ndarray) -> np.ndarray:
    """The noise map of known places, bool [T]: each maximal run of true in a text is a group.

    >>> given(Parts([4, 1]), np.array([True, True, False, True, True]))
    array([1, 1, 0, 2, 1], dtype=int32)
    """
    return numbered(texts, firsts(texts, chosen), chosen)


def firsts(texts: Parts, noise: np.ndarray) -> np.ndarray:
    """bool [T]: the first token of each group of a noise map.

    >>> firsts(Parts([3, 2]), np.array([0, 1, 2, 2, 2]))
    array([False,  True,  True,  True, False])
    """
    edge = np.ones(len(noise), np.bool_)
    np.not_equal(noise[1:], noise[:-1], out=edge[1:])
    edge[texts.leading] = True
    return edge & (noise > 0)


def numbered(texts: Parts, first: np.ndarray, member: np.ndarray) -> np.ndarray:
    """The noise map of groups whose first tokens and whose members are given, bool [T]."""
    return (texts.running(first) * member).astype(np.int32)


def choose(texts: Parts, counts: np.ndarray, uniform: Uniform) -> np.ndarray:
    """bool [T] with `counts` [E] true in each text (at most all), all such equally likely."""
    chosen = np.zeros(texts.total, np.bool_)
    order = texts.shuffled(uniform(texts.sizes))
    chosen[order[texts.place < texts.each(counts)]] = True
    return chosen
