"""Baselines for a loss: how well token counts predict the same tokens.

All are in nats per predicted text token. With V ids and N counted tokens, T of them distinct:

    uniform   P(w)     = 1 / V
    unigram   P(w)     = (c(w) + T / V) / (N + T)
    bigram    P(w | h) = (c(h, w) + T(h) P(w)) / (c(h) + T(h))        P(w) if h never occurs

T(h) is the number of distinct tokens after h: interpolated Witten-Bell smoothing (Chen and
Goodman 1999, "An empirical study of smoothing techniques for language modeling", section 2.4).
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from pretrain_jax import registry
from pretrain_jax.batch import is_text
from pretrain_jax.data.cache import TokenCache
from pretrain_jax.errors import DataError

COUNTED = 10_000_000
"""Tokens at the start of the training split that are counted."""


class Counts:
    """Sparse counts of tokens and of token pairs, for a vocabulary of V ids.

    unigram   float64 [V]: P(w)
    """

    def __init__(self, heard: np.ndarray, pairs: np.ndarray, pair_counts: np.ndarray):
        """
        heard         float64 [V], how often each token is predicted
        pairs         int64 [K], ascending: context x V + token of each pair that occurs
        pair_counts   float64 [K], how often each pair occurs
        """
        self.vocab_size = vocab_size = len(heard)
        types = np.count_nonzero(heard)
        self.unigram = (heard + types / vocab_size) / (heard.sum() + types)
        self.after = np.bincount(pairs // vocab_size, pair_counts, vocab_size)
        self.types_after = np.bincount(pairs // vocab_size, minlength=vocab_size)
        # A pair above all others, so that every search ends inside the array.
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


def count_tokens(
    members: Sequence[tuple[TokenCache, float]],
    *,
    vocab_size: int,
    begin: int | None,
    end: int | None,
    limit: int = COUNTED,
) -> Counts:
    """Counts over `limit` training tokens of members (cache, share of the predicted tokens).

    The first tokens of each member are counted, up to its share. A member with fewer tokens is
    repeated in training, so counts are weighted to give each member its share. For members of 10
    and 1,000 tokens with equal shares, a token of the first counts 50.5 times and a token of the
    second 0.505 times.
    """
    total = sum(share for _, share in members)
    counted = [
        count_cache(cache, vocab_size, begin, end, max(int(limit * share / total), 1))
        for cache, share in members
    ]
    if len(counted) == 1:
        return Counts(*counted[0])
    sizes = [heard.sum() for heard, _, _ in counted]
    weights = [
        share / total * sum(sizes) / max(size, 1)
        for (_, share), size in zip(members, sizes, strict=True)
    ]
    heard = sum(weight * one for weight, (one, _, _) in zip(weights, counted, strict=True))
    pairs, place = np.unique(
        np.concatenate([pairs for _, pairs, _ in counted]), return_inverse=True
    )
    times = [weight * counts for weight, (_, _, counts) in zip(weights, counted, strict=True)]
    return Counts(np.asarray(heard), pairs, np.bincount(place, np.concatenate(times), len(pairs)))


def count_cache(
    cache: TokenCache, vocab_size: int, begin: int | None, end: int | None, limit: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The arguments of `Counts` for one cache.

    The begin id of a document is not predicted, and no pair spans two documents.
    """
    tokens, starts = training_sequence(cache, begin, end, limit)
    predicted = np.ones(len(tokens), np.bool_)
    if begin is not None:
        predicted[starts] = False
    heard = np.bincount(tokens[predicted], minlength=vocab_size).astype(np.float64)
    codes = tokens[:-1].astype(np.int64) * vocab_size + tokens[1:]
    inside = np.ones(len(codes), np.bool_)
    inside[starts[1:] - 1] = False
    pairs, pair_counts = np.unique(codes[inside], return_counts=True)
    return heard, pairs, pair_counts.astype(np.float64)


def training_sequence(
    cache: TokenCache, begin: int | None, end: int | None, limit: int
) -> tuple[np.ndarray, np.ndarray]:
    """(the first `limit` tokens, with the begin and end of each document, document starts).

    For pairs of texts, only the targets, because only they are predicted.
    """
    if cache.annotations is not None and cache.annotation_kind == "targets":
        answers = cache.tokens[:limit][cache.annotations[:limit] == 1]
        return answers.astype(np.int32), np.zeros(1, np.int64)
    documents = min(int(np.searchsorted(cache.offsets, limit)), len(cache))
    sizes = np.diff(np.minimum(cache.offsets[: documents + 1], limit))
    added = (begin is not None) + (end is not None)
    starts = np.concatenate([[0], np.cumsum(sizes + added)])
    tokens = np.empty(starts[-1], np.int32)
    text = np.ones(len(tokens), np.bool_)
    for token, places in ((begin, starts[:-1]), (end, starts[1:] - 1)):
        if token is not None:
            tokens[places] = token
            text[places] = False
    tokens[text] = cache.tokens[: sizes.sum()]
    return tokens, starts[:-1]


NAMES = ("uniform", "unigram", "bigram")


def score_baselines(
    names: Sequence[str],
    *,
    counts: Counts,
    batches: Iterable[Mapping[str, np.ndarray]],
    special: np.ndarray,
) -> dict[str, float]:
    """Nats per predicted text token of each baseline, on the targets of `batches`.

    names     some of NAMES; "bigram" reads the context from `tokens`,
              so it is for objectives whose targets [B, L] are the next tokens
    special   bool [V]: targets that are not text; they and targets of weight 0 are not scored

    Raises DataError if there is no target to score.
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
            "evaluation needs at least one text token to predict; the evaluated rows of the "
            "validation split of data.source have none. Hold out more text (data.split)"
        )
    return {name: total / tokens for name, total in sums.items()}
