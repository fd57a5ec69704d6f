"""Salient spans: the parts of a text that say something about the world, by marks or by a rule.

The rule finds, in this order, and no token twice:

    dates    "4 July 1976", "July 4, 1976", "July 1976", "4th of July", "July 4"; the years 1000 to
             2099, also as "1970s", but no number with a unit ("1500 metres", "$1500", "1,500")
    names    maximal runs of capitalised words ("Homer", "New York City", "U.S. Senate"), but not
             the first word of a sentence alone, and not "I"

A sentence begins at the start of a text, a line, a quotation, and after . ! ? or a colon; stops of
initials and titles ("J.", "Dr.") end none. REALM (arXiv 2002.08909) has its names from a tagger
trained on CoNLL-2003 and its dates from a pattern; who has such a tagger marks the data with it. A
vocabulary without capitals shows no names, so that dates alone are found, in small letters.
"""

import itertools
import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np

from pretrain_jax.corruption.uniform import Uniform
from pretrain_jax.ragged import Parts, Ragged

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
"""(starts, stops) int [S] of the spans of one text, in order of place."""


def marked(marks: np.ndarray) -> Spans:
    """(starts, stops) int [S] of the runs of one mark, uint8 [n]: 0 is none, neighbours differ.

    >>> marked(np.array([0, 1, 1, 2, 0, 1], np.uint8))
    (array([1, 3, 5]), array([3, 4, 6]))
    """
    edges = np.flatnonzero(np.diff(marks, prepend=marks[:1])) if len(marks) else np.zeros(0, int)
    starts = np.concatenate([np.zeros(min(len(marks), 1), int), edges])
    stops = np.append(edges, len(marks))[: len(starts)]
    salient = marks[starts] > 0
    return starts[salient], stops[salient]


def found(tokens: np.ndarray, vocab: Any) -> Spans:
    """(starts, stops) int [S] of the dates and names in int32 [n] tokens, in order of place."""
    text, begins, ends = read(tokens, vocab)
    dates = list((UNCASED if text == text.lower() else CASED).finditer(text))
    taken = [match.span() for match in dates]
    free = [span for span in names(text) if not any(b < span[1] and span[0] < e for b, e in taken)]
    spans = np.array(sorted(taken + free), np.int64).reshape(-1, 2)
    starts = np.searchsorted(ends, spans[:, 0], side="right")
    stops = np.searchsorted(begins, spans[:, 1], side="left")
    # A token that two spans have a part in belongs to the first.
    apart = np.ones(len(starts), np.bool_)
    apart[1:] = starts[1:] >= np.maximum.accumulate(stops)[:-1]
    return starts[apart], stops[apart]


def names(text: str) -> Iterator[tuple[int, int]]:
    """Places (start, stop) of the runs of capitalised words.

    >>> list(names("The poet Homer saw New York."))
    [(9, 14), (19, 27)]
    """
    run: tuple[int, int] | None = None
    alone = False  # the run is one word, the first of a sentence
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


def read(tokens: np.ndarray, vocab: Any) -> tuple[str, np.ndarray, np.ndarray]:
    """The text of int32 [n] tokens, and where in it each begins and ends, in characters, int [n].

    One space or line end stands between words. Tokens that are parts of a character have all of it.
    """
    edges = [*np.flatnonzero(vocab.word_starts[tokens]).tolist(), len(tokens)]
    if edges[0]:
        edges.insert(0, 0)
    parts: list[str] = []
    begins: list[int] = []
    ends: list[int] = []
    at, broken = 0, False
    for first, last in itertools.pairwise(edges):
        word, places, breaks = spelled(tokens[first:last].tobytes(), vocab)
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
def spelled(word: bytes, vocab: Any) -> tuple[str, tuple[tuple[int, int], ...], bool]:
    """A word without the space around it, where its tokens stand in it, and whether a line ends.

    word: int32 ids as bytes. A text is mostly words that came before, so they are remembered.
    """
    ids = np.frombuffer(word, np.int32)
    whole = vocab.decode(ids)
    bare = whole.strip()
    left = len(whole) - len(whole.lstrip())
    places, begin = [], 0
    for i in range(len(ids)):
        so_far = vocab.decode(ids[: i + 1])
        complete = so_far.rstrip("\ufffd")  # what is not yet a whole character
        partial = complete != so_far
        places.append((begin, min(max(len(complete) - left, 0) + partial, len(bare))))
        begin = min(max(len(complete) - left, 0), len(bare))
    return bare, tuple(places), "\n" in whole


def draw(
    texts: Parts, starts: Ragged, stops: Ragged, counts: np.ndarray, most: int, uniform: Uniform
) -> np.ndarray:
    """Spans in random order as long as they fit, as a noise map int32 [T].

    starts, stops   where the spans of each text begin and end in it, in order, not overlapping
    counts          int [E], most tokens of noise in each text
    most            groups of noise in a text; a span that would go over either is passed over
    """
    spans = starts.parts
    order = spans.shuffled(uniform(spans.sizes)).tolist()
    begins, ends = ((texts.starts[spans.of] + edge.values).tolist() for edge in (starts, stops))
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
