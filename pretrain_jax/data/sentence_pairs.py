"""Pairs of texts for next-sentence prediction (Devlin et al. 2019, create_pretraining_data.py).

A is a part of a document. B is the text after A, with probability `next_rate`, or text of another
document. In the second case, the next A starts directly after this A, so no text is lost. An
example with a document of two sentences and raw_length = 7; r s t is text of another document:

    document      a b c d. e f g h i.
    B follows     A = a b c d.   B = e f g          the next A starts at h
    B is drawn    A = a b c d.   B = r s t          the next A starts at e
"""

from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

import numpy as np

from pretrain_jax.corruption.uniform import to_int
from pretrain_jax.data.cache import TokenCache
from pretrain_jax.errors import DataError
from pretrain_jax.ragged import Fields, Ragged, RowSplits, gather_slices
from pretrain_jax.rounding import ceil_div

WALK = 1 << 16
"""Tokens per walk. A document is divided into walks, which advance in parallel."""
BLOCK = 1 << 24


class SentencePairs:
    """Pairs of texts from a token cache, and whether the second text follows the first.

    Example k has `length[k]` tokens, A and B together. They are split at the sentence end closest
    to a random position, or at that position if no sentence ends in the text. The form of B hardly
    reveals the label: a drawn B starts at a sentence if the true B does, has the same length, and
    ends its document if the true B does. (BERT fills a drawn B up to the target length, so in a
    corpus of short documents every shorter pair is a true one.)

    A remainder of one token at the end of a document is dropped. A document of one token is never
    an A, but may be a B. The pairs are a function of the cache and of these arguments:

    raw_length     maximum tokens of both texts together, at least 2
    next_rate      probability that the second text follows the first
    short          probability that the target length is drawn from 2 .. raw_length instead
    seed           of the splits, the labels and the drawn texts
    sentence_ends  bool [V], ids that end a sentence; None: split anywhere

    Raises DataError if fewer than two documents have text.
    """

    def __init__(
        self,
        cache: TokenCache,
        *,
        raw_length: int,
        next_rate: float = 0.5,
        short: float = 0.1,
        seed: int = 0,
        sentence_ends: np.ndarray | None = None,
    ):
        if raw_length < 2 or not (0 <= short <= 1 and 0 <= next_rate <= 1):
            raise ValueError(
                "raw_length must be at least 2, next_rate and short must be probabilities; "
                f"received raw_length={raw_length}, next_rate={next_rate}, short={short}"
            )
        documents = np.count_nonzero(np.diff(cache.offsets))
        if documents < 2:
            raise DataError(
                "next-sentence pairs draw text from other documents, so each split of the corpus "
                f"needs at least two; this one has {documents} with text. Name more files in "
                "data.source, or use .jsonl with one document per line"
            )
        self.cache = cache
        self.options = {
            "raw_length": raw_length,
            "next_rate": next_rate,
            "short": short,
            "seed": seed,
            "sentence_ends": sentence_ends,
        }
        sentences = sentence_starts(cache, sentence_ends)
        rounds = list(draw_rounds(cache.offsets, sentences, raw_length, next_rate, short, seed))
        if not rounds:
            raise DataError(
                "next-sentence pairs need a document of at least two tokens; every document of "
                "this split of the corpus has one token. Name other files in data.source"
            )
        unsorted = DrawnPairs(*(np.concatenate(parts) for parts in zip(*rounds, strict=True)))
        self.pairs = DrawnPairs(*(part[np.argsort(unsorted.first)] for part in unsorted))
        self.length = (self.pairs.first_length + self.pairs.second_length).astype(np.int32)

    def __len__(self) -> int:
        return len(self.length)

    def take(self, numbers: np.ndarray) -> Fields:
        """{"first": int32, a of each, "second": int32, b of each, "is_next": int32, 1 of each};
        a + b = length[k]."""
        pairs, tokens = DrawnPairs(*(part[numbers] for part in self.pairs)), self.cache.tokens
        return {
            "first": gather_slices(tokens, pairs.first, pairs.first_length),
            "second": gather_slices(tokens, pairs.second, pairs.second_length),
            "is_next": Ragged(pairs.is_next.astype(np.int32), RowSplits(np.ones(len(numbers)))),
        }

    def __reduce__(self):
        """Pickles the options; a worker process draws the same pairs again."""
        return partial(SentencePairs, self.cache, **self.options), ()


class DrawnPairs(NamedTuple):
    """Pairs [n] of one round: positions in the tokens of the cache, lengths and labels."""

    first: np.ndarray
    first_length: np.ndarray
    second: np.ndarray
    second_length: np.ndarray
    is_next: np.ndarray


def sentence_starts(cache: TokenCache, ends: np.ndarray | None) -> np.ndarray:
    """int64, ascending: positions in the tokens of the cache where a sentence starts."""
    starts = [cache.offsets[:-1]]
    if ends is None:
        return starts[0]
    for at in range(0, len(cache.tokens), BLOCK):
        starts.append(np.flatnonzero(ends[cache.tokens[at : at + BLOCK]]) + at + 1)
    return np.sort(np.concatenate(starts), kind="stable")  # fast: the parts are sorted


def draw_rounds(
    offsets: np.ndarray,
    sentences: np.ndarray,
    raw_length: int,
    next_rate: float,
    short: float,
    seed: int,
) -> Iterator[DrawnPairs]:
    """Round r draws one pair at the current position of every walk that has text left."""
    sizes = np.diff(offsets)
    walks = ceil_div(sizes, WALK)
    document = np.repeat(np.arange(len(sizes)), walks)
    nth = np.arange(len(document)) - np.repeat(np.cumsum(walks) - walks, walks)
    at = offsets[document] + nth * WALK
    stop = np.minimum(at + WALK, offsets[document + 1])
    others = OtherDocuments(offsets)
    number = 0
    while (active := stop - at >= 2).any():
        document, at, stop = document[active], at[active], stop[active]
        key = np.array([seed % (1 << 64), number], np.uint64)
        draws = np.random.Generator(np.random.Philox(key=key)).random((6, len(at)))
        target = np.where(draws[0] < short, 2 + to_int(draws[1], raw_length - 1), raw_length)
        total = np.minimum(target, stop - at)
        cut, at_sentence = snap_to_sentence(at, 1 + to_int(draws[2], total - 1), total, sentences)
        is_next = draws[3] < next_rate
        wanted = total - cut
        final = at + total == offsets[document + 1]
        drawn, drawn_length = others.draw(
            document, wanted, final, at_sentence, sentences, draws[4:]
        )
        yield DrawnPairs(
            at,
            cut,
            np.where(is_next, at + cut, drawn),
            np.where(is_next, wanted, np.minimum(drawn_length, target - cut)),
            is_next,
        )
        at = at + np.where(is_next, total, cut)
        number += 1


def snap_to_sentence(
    at: np.ndarray, cut: np.ndarray, total: np.ndarray, sentences: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(the cut moved to the closest sentence start inside the text, whether there is one)."""
    after = np.searchsorted(sentences, at + cut)
    near = [sentences[np.maximum(after - 1, 0)], sentences[np.minimum(after, len(sentences) - 1)]]
    far = np.iinfo(np.int64).max
    gaps = [np.where((at < s) & (s < at + total), abs(s - at - cut), far) for s in near]
    closest = np.where(gaps[0] <= gaps[1], near[0], near[1]) - at
    inside = np.minimum(*gaps) < far
    return np.where(inside, closest, cut), inside


class OtherDocuments:
    """Draws text from documents other than a given one."""

    def __init__(self, offsets: np.ndarray):
        self.offsets = offsets
        sizes = np.diff(offsets)
        self.by_size = np.argsort(sizes, kind="stable")
        self.sizes = sizes[self.by_size]
        self.rank = np.empty_like(self.by_size)
        self.rank[self.by_size] = np.arange(len(sizes))

    def draw(
        self,
        document: np.ndarray,
        wanted: np.ndarray,
        final: np.ndarray,
        at_sentence: np.ndarray,
        sentences: np.ndarray,
        draws: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray]:
        """(start, length) of a text of about `wanted` tokens in another document.

        All documents of at least that many tokens are equally likely. If there is no other one,
        the text is all of the longest document. final: the text ends its document; it is longer
        if it starts earlier, at a sentence. at_sentence: the text starts at a sentence.
        """
        rank = self.rank[document]
        last = len(self.sizes) - 1
        wanted = np.minimum(wanted, self.sizes[np.where(rank == last, last - 1, last)])
        least = np.searchsorted(self.sizes, wanted)
        # The document itself is among least .. last and is skipped.
        chosen = least + to_int(draws[0], last - least)
        other = self.by_size[chosen + (chosen >= rank)]
        stop = self.offsets[other + 1]
        latest = stop - wanted - self.offsets[other]
        start = self.offsets[other] + np.where(final, latest, to_int(draws[1], latest + 1))
        sentence = sentences[np.searchsorted(sentences, start, side="right") - 1]
        start = np.where(at_sentence, sentence, start)
        return start, np.where(final, stop - start, wanted)
