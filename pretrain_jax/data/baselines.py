"""Baselines that make a loss mean something: how well counting alone predicts the same tokens.

All give nats a predicted text token. With V ids, N counted tokens of which T are different:

    uniform   P(w)     = 1 / V
    unigram   P(w)     = (c(w) + T / V) / (N + T)
    bigram    P(w | h) = (c(h, w) + T(h) P(w)) / (c(h) + T(h))        P(w) where h was never seen

T(h) is the number of different tokens seen after h: interpolated Witten-Bell smoothing (Chen and
Goodman 1999, "An empirical study of smoothing techniques for language modeling", section 2.4).
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from pretrain_jax import registry
from pretrain_jax.batch import is_text
from pretrain_jax.data.cache import TokenCache
from pretrain_jax.errors import DataError

COUNTED = 10_000_000
"""Tokens at the start of the training half that are counted."""


class Counts:
    """Sparse counts of single tokens and of pairs over a vocabulary of V ids.

    unigram   float64 [V]: P(w)
    """

    def __init__(self, heard: np.ndarray, pairs: np.ndarray, pair_counts: np.ndarray):
        """heard: float64 [V], how often each token is predicted; pairs: int64 [K] ascending,
        context x V + token of each pair that was seen; pair_counts: float64 [K], how often."""
        self.vocab_size = vocab_size = len(heard)
        types = np.count_nonzero(heard)
        self.unigram = (heard + types / vocab_size) / (heard.sum() + types)
        self.after = np.bincount(pairs // vocab_size, pair_counts, vocab_size)
        self.types_after = np.bincount(pairs // vocab_size, minlength=vocab_size)
        # One more pair than there can be, so that every search ends inside the array.
        self.pairs = np.append(pairs, vocab_size**2)
        self.pair_counts = np.append(pair_counts, 0)

    def bigram(self, context: np.ndarray, token: np.ndarray) -> np.ndarray:
        """float64 [n]: P(token | context) for int arrays [n]."""
        codes = context.astype(np.int64) * self.vocab_size + token
        at = np.searchsorted(self.pairs, codes)
        seen = np.where(self.pairs[at] == codes, self.pair_counts[at], 0)
        types, total = self.types_after[context], self.after[context]
        weight = np.where(total > 0, total + types, 1)
        smoothed = (seen + types * self.unigram[token]) / weight
        return np.where(total > 0, smoothed, self.unigram[token])


def count(
    members: Sequence[tuple[TokenCache, float]],
    *,
    vocab_size: int,
    begin: int | None,
    end: int | None,
    limit: int = COUNTED,
) -> Counts:
    """Counts over `limit` training tokens of (cache, share of the predicted tokens) members.

    Of each the first tokens are counted, up to its share. A member that has fewer is read several
    times in training: its counts are weighed so that every member has its share of all. Members of
    10 and 1,000 tokens with equal shares: a token of the first counts 50.5 times, one of the other
    0.505 times.
    """
    total = sum(share for _, share in members)
    found = [
        tally(cache, vocab_size, begin, end, max(int(limit * share / total), 1))
        for cache, share in members
    ]
    if len(found) == 1:
        return Counts(*found[0])
    sizes = [heard.sum() for heard, _, _ in found]
    weights = [
        share / total * sum(sizes) / max(size, 1)
        for (_, share), size in zip(members, sizes, strict=True)
    ]
    heard = sum(weight * one for weight, (one, _, _) in zip(weights, found, strict=True))
    pairs, place = np.unique(np.concatenate([pairs for _, pairs, _ in found]), return_inverse=True)
    times = [weight * counts for weight, (_, _, counts) in zip(weights, found, strict=True)]
    return Counts(np.asarray(heard), pairs, np.bincount(place, np.concatenate(times), len(pairs)))


def tally(
    cache: TokenCache, vocab_size: int, begin: int | None, end: int | None, limit: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What `Counts` is made of, for one cache. The begin of a document is not predicted, and no
    pair goes from one document to the next."""
    whole, starts = sequence(cache, begin, end, limit)
    predicted = np.ones(len(whole), np.bool_)
    if begin is not None:
        predicted[starts] = False
    heard = np.bincount(whole[predicted], minlength=vocab_size).astype(np.float64)
    codes = whole[:-1].astype(np.int64) * vocab_size + whole[1:]
    inside = np.ones(len(codes), np.bool_)
    inside[starts[1:] - 1] = False
    pairs, pair_counts = np.unique(codes[inside], return_counts=True)
    return heard, pairs, pair_counts.astype(np.float64)


def sequence(
    cache: TokenCache, begin: int | None, end: int | None, limit: int
) -> tuple[np.ndarray, np.ndarray]:
    """The first `limit` tokens, each document between its begin and end, and where each starts.

    Of pairs of texts, the targets alone: they are what is predicted.
    """
    if cache.marks is not None and cache.marked == "targets":
        answers = cache.tokens[:limit][cache.marks[:limit] == 1]
        return answers.astype(np.int32), np.zeros(1, np.int64)
    documents = min(int(np.searchsorted(cache.offsets, limit)), len(cache))
    sizes = np.diff(np.minimum(cache.offsets[: documents + 1], limit))
    added = (begin is not None) + (end is not None)
    starts = np.concatenate([[0], np.cumsum(sizes + added)])
    whole = np.empty(starts[-1], np.int32)
    text = np.ones(len(whole), np.bool_)
    for token, places in ((begin, starts[:-1]), (end, starts[1:] - 1)):
        if token is not None:
            whole[places] = token
            text[places] = False
    whole[text] = cache.tokens[: sizes.sum()]
    return whole, starts[:-1]


def score(
    names: Sequence[str],
    *,
    counts: Counts,
    batches: Iterable[Mapping[str, np.ndarray]],
    special: np.ndarray,
) -> dict[str, float]:
    """Nats a predicted text token of each baseline, on exactly the targets of `batches`.

    names     of "uniform", "unigram", "bigram"; "bigram" reads the context from `tokens`, so it
              is for objectives whose targets [B, L] are the tokens that come next
    special   bool [V]: targets that are not text and do not count; nor do those of weight 0

    Raises DataError when there is no such target.
    """
    sums, tokens = dict.fromkeys(names, 0.0), 0
    chances = {
        "uniform": lambda context, target: np.full(len(target), 1 / counts.vocab_size),
        "unigram": lambda context, target: counts.unigram[target],
        "bigram": lambda context, target: counts.bigram(context, target),
    }
    for batch in batches:
        kept = is_text(batch, special)
        target = batch["targets"][kept]
        context = batch["tokens"][kept] if "bigram" in names else target
        tokens += len(target)
        for name in names:
            sums[name] -= float(
                np.log(registry.pick(chances, name, "yardstick")(context, target)).sum()
            )
    if not tokens:
        raise DataError(
            "evaluation needs a held-out text token to predict; the held-out half of data.source "
            "has none in as many rows as were looked at. Hold out more text (data.split)"
        )
    return {name: total / tokens for name, total in sums.items()}
