"""Salient spans: names and dates in a text, from annotations or from a rule.

The rule finds these, in this order, without overlap:

    dates    "4 July 1976", "July 4, 1976", "July 1976", "4th of July", "July 4"; the years 1000 to
             2099, also as "1970s", but not numbers with a unit ("1500 metres", "$1500", "1,500")
    names    maximal runs of capitalised words ("Homer", "New York City", "U.S. Senate"), but not
             the first word of a sentence alone, and not "I"

A sentence starts at the start of a text, a line or a quotation, and after . ! ? or a colon; periods
of initials and titles ("J.", "Dr.") do not end a sentence. REALM (arXiv 2002.08909) finds names
with a tagger trained on CoNLL-2003, and dates with a pattern. To use such a tagger, annotate the
data with it. With a lower-case vocabulary, the rule finds only dates, in lower case.
"""

import itertools
import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np

from pretrain_jax.corruption.uniform import Uniform
from pretrain_jax.ragged import Ragged, RowSplits

MONTH = (
    r"(?:January|February|March|April|May|June|July|August|September|October|November|December"
    r"|(?:Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sept|Sep|Oct|Nov|Dec)\b\.?)"
)
DAY = r"(?:0?[1-9]|[12]\d|3[01])(?:st|nd|rd|th)?"
YEAR = r"(?:1\d|20)\d\d"
UNIT = (
    r"(?: ?%|[ -]?(?:[ckm]?m|[km]?g|[KMG]?Hz|[kMG]?W|ft|lbs?|ha|mi|miles?"
    r"|(?:kilo|centi)?met(?:re|er)s?|feet|foot|inches|yards?|acres|tons?|tonnes?|pounds|dollars|euros|people|men"
    r"|women|students|soldiers|troops|votes|copies|years|days|hours|minutes|seconds|times|words|points)\b)"
)
DATE = (
    rf"\b{DAY} (?:of )?{MONTH}(?:(?: ?, ?| ){YEAR})?\b"
    rf"|\b{MONTH} (?:{DAY}(?:(?: ?, ?| ){YEAR})?|(?:, )?{YEAR})\b"
    rf"|(?<![\w$€£.,])(?<![$€£] ){YEAR}s?\b(?![.,]\d|{UNIT})"
)
CASED, UNCASED = re.compile(DATE), re.compile(DATE, re.IGNORECASE)
WORD = re.compile(r"(?:Mr|Mrs|Ms|Dr|St|Jr|Sr)\.|(?:[^\W\d_]\.)+|\w+(?:['\u2019-]\w+)*")
SENTENCE = re.compile(r"[.!?:\"“”\n]")
PRONOUN = re.compile(r"I(?:['\u2019]|$)")
Spans = tuple[np.ndarray, np.ndarray]
"""(starts, stops) int [S] of the spans of one text, in order of position."""


def annotated_spans(annotations: np.ndarray) -> Spans:
    """(starts, stops) int [S] of the runs of equal nonzero values in uint8 [n] annotations.

    >>> annotated_spans(np.array([0, 1, 1, 2, 0, 1], np.uint8))
    (array([1, 3, 5]), array([3, 4, 6]))
    """
    edges = (
        np.flatnonzero(np.diff(annotations, prepend=annotations[:1]))
        if len(annotations)
        else np.zeros(0, int)
    )
    starts = np.concatenate([np.zeros(min(len(annotations), 1), int), edges])
    stops = np.append(edges, len(annotations))[: len(starts)]
    salient = annotations[starts] > 0
    return starts[salient], stops[salient]


def find_spans(tokens: np.ndarray, vocab: Any) -> Spans:
    """(starts, stops) int [S] of the dates and names in int32 [n] tokens, in order of position."""
    text, begins, ends = text_with_offsets(tokens, vocab)
    dates = list((UNCASED if text == text.lower() else CASED).finditer(text))
    taken = [match.span() for match in dates]
    free = [
        span for span in find_names(text) if not any(b < span[1] and span[0] < e for b, e in taken)
    ]
    spans = np.array(sorted(taken + free), np.int64).reshape(-1, 2)
    starts = np.searchsorted(ends, spans[:, 0], side="right")
    stops = np.searchsorted(begins, spans[:, 1], side="left")
    # A token in two spans belongs to the first.
    apart = np.ones(len(starts), np.bool_)
    apart[1:] = starts[1:] >= np.maximum.accumulate(stops)[:-1]
    return starts[apart], stops[apart]


def find_names(text: str) -> Iterator[tuple[int, int]]:
    """(start, stop) of the runs of capitalised words, in characters.

    >>> list(find_names("The poet Homer saw New York."))
    [(9, 14), (19, 27)]
    """
    run: tuple[int, int] | None = None
    alone = False  # whether the run is only the first word of a sentence
    before = 0
    for match in WORD.finditer(text):
        word, (start, stop) = match.group(), match.span()
        capital = word[0].isupper() and not PRONOUN.match(word)
        if run and capital and text[before:start] == " ":
            run, alone = (run[0], stop), False
        else:
            if run and not alone:
                yield run
            run = (start, stop) if capital else None
            alone = before == 0 or bool(SENTENCE.search(text, before, start))
        before = stop
    if run and not alone:
        yield run


def text_with_offsets(tokens: np.ndarray, vocab: Any) -> tuple[str, np.ndarray, np.ndarray]:
    """(the text of int32 [n] tokens, starts, stops): int [n], positions of the tokens in
    characters.

    Words are separated by one space or newline. A token that is part of a character covers all of
    it.
    """
    edges = [*np.flatnonzero(vocab.word_starts[tokens]).tolist(), len(tokens)]
    if edges[0]:
        edges.insert(0, 0)
    parts: list[str] = []
    begins: list[int] = []
    ends: list[int] = []
    at, broken = 0, False
    for first, last in itertools.pairwise(edges):
        word, places, breaks = decode_word(tokens[first:last].tobytes(), vocab)
        broken |= breaks
        if word and at:
            parts.append("\n" if broken else " ")
            at += 1
        parts.append(word)
        begins.extend([at + begin for begin, _ in places])
        ends.extend([at + end for _, end in places])
        at += len(word)
        broken &= not word
    return "".join(parts), np.array(begins, np.int64), np.array(ends, np.int64)


@lru_cache(maxsize=1 << 16)
def decode_word(word: bytes, vocab: Any) -> tuple[str, tuple[tuple[int, int], ...], bool]:
    """(a word without surrounding space, (start, stop) of its tokens, whether it has a newline).

    word: int32 ids as bytes. Cached, because most words of a text occur repeatedly.
    """
    ids = np.frombuffer(word, np.int32)
    text = vocab.decode(ids)
    bare = text.strip()
    left = len(text) - len(text.lstrip())
    places, begin = [], 0
    for i in range(len(ids)):
        prefix = vocab.decode(ids[: i + 1])
        complete = prefix.rstrip("\ufffd")  # without an incomplete last character
        partial = complete != prefix
        places.append((begin, min(max(len(complete) - left, 0) + partial, len(bare))))
        begin = min(max(len(complete) - left, 0), len(bare))
    return bare, tuple(places), "\n" in text


def choose_spans(
    texts: RowSplits, starts: Ragged, stops: Ragged, counts: np.ndarray, most: int, uniform: Uniform
) -> np.ndarray:
    """A noise map, int32 [T], of spans chosen in random order as long as they fit.

    starts, stops   offsets of the spans in each text, in order, without overlap
    counts          int [E], maximum noise tokens per text
    most            maximum groups per text; a span that would exceed a maximum is skipped
    """
    spans = starts.splits
    order = spans.permutation(uniform(spans.sizes)).tolist()
    begins, ends = (
        (texts.starts[spans.row_ids] + edge.values).tolist() for edge in (starts, stops)
    )
    noise = np.zeros(texts.total, np.int32)
    for at, number, left in zip(
        spans.starts.tolist(), spans.sizes.tolist(), counts.tolist(), strict=True
    ):
        chosen: list[int] = []
        for span in order[at : at + number]:
            if len(chosen) < most and ends[span] - begins[span] <= left:
                chosen.append(span)
                left -= ends[span] - begins[span]
        for group, span in enumerate(sorted(chosen), start=1):
            noise[begins[span] : ends[span]] = group
    return noise
