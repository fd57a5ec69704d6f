"""Marked parts of a text: salient spans, or the targets of a pair.

Between a source and the token cache marks travel in the text itself: the Unicode noncharacter
U+FDD0 + m switches to mark m, 0 (none, as at the start of a document), 1 or 2. Noncharacters are
reserved for such internal use and stand in no text that is meant to be read; where marks are in
use, those of a user's own text are dropped. In the cache every token has its mark.

    text       Anna lives in Paris .        spans [[0, 4], [14, 19]]
    travels    [1]Anna[0] lives in[2] Paris[0] .
"""

import itertools
import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from pretrain_jax.tokenizers import Tokenizer

SWITCH = ("\ufdd0", "\ufdd1", "\ufdd2")
SWITCHES = re.compile("[\ufdd0-\ufdd2]")
WORDS = re.compile(r"(?<=\S)(?= \S)")
"""Where a text can be cut without changing its ids: before a single space (`corpus.pieces`)."""


def strip(text: str) -> str:
    """The text without the characters that switch marks."""
    return SWITCHES.sub("", text)


def runs(text: str) -> Iterator[tuple[int, str]]:
    """(mark, text) of the parts between switches, empty ones included.

    >>> list(runs("an" + SWITCH[1] + " inner" + SWITCH[0]))
    [(0, 'an'), (1, ' inner'), (0, '')]
    """
    mark, at = 0, 0
    for switch in SWITCHES.finditer(text):
        yield mark, text[at : switch.start()]
        mark, at = SWITCH.index(switch.group()), switch.end()
    yield mark, text[at:]


def last(text: str, mark: int) -> int:
    """The mark at the end of a text that begins with `mark`."""
    at = max(map(text.rfind, SWITCH))
    return mark if at < 0 else SWITCH.index(text[at])


def complaint(spans: Sequence[Any], length: int) -> str | None:
    """What is wrong with the spans [[start, end], ...] of a text of `length` characters."""
    before = 0
    for span in spans:
        pair = isinstance(span, list) and len(span) == 2 and all(type(x) is int for x in span)
        if not pair or not before <= span[0] < span[1] <= length:
            return (
                "must list [start, end] in characters, start before end, in order, apart and "
                f"within the {length} characters of the text; received {span!r}"
            )
        before = span[1]
    return None


def mark_spans(text: str, spans: Sequence[Sequence[int]]) -> str:
    """The text with its spans marked 1 and 2 in turn, so that neighbours stay apart.

    A space in front of a span is made part of it, since tokenizers take it with the word.
    """
    made, at = [], 0
    for number, (start, stop) in enumerate(spans):
        if start > at and text[start - 1] == " ":
            start -= 1
        made += [strip(text[at:start]), SWITCH[1 + number % 2], strip(text[start:stop]), SWITCH[0]]
        at = stop
    return "".join([*made, strip(text[at:])])


def mark_target(inputs: str, targets: str) -> str:
    """Both texts of a pair as one document, the targets marked 1."""
    return strip(inputs) + SWITCH[1] + strip(targets)


def place(marked: bytes, own: bytes, at: int) -> int:
    """The byte of a `marked` text that stands where byte `at` of the record's `own` text does.

    Marks that begin or end just there come behind it.

    >>> marked = mark_spans("an inner one", [[3, 8]]).encode()
    >>> [place(marked, b"an inner one", at) for at in (2, 3, 8)]
    [2, 6, 11]
    """
    before = len(strip(own[:at].decode()))
    text, switches = marked.decode(), 0
    for switch in SWITCHES.finditer(text):
        if switch.start() - switches >= before:
            break
        switches += 1
    return len(text[: before + switches].encode())


def before_next(piece: str, kind: str) -> str:
    """The character that the next piece of a text goes on after; "" where another text begins."""
    if kind == "targets" and piece.endswith(SWITCH):
        return ""
    return strip(piece[-10:])[-1:]


def encode(
    text: str, tokenizer: Tokenizer, kind: str, before: str = ""
) -> tuple[np.ndarray, np.ndarray]:
    """int [n] ids and uint8 [n] marks of a text with switches; its `kind` is "spans" or "targets".

    The two texts of a pair are tokenized each on its own. A piece inside a text begins with its
    mark (`cache.carry`) and stands behind the character `before`.
    """
    if kind == "spans":
        return encode_spans(text, tokenizer, before)
    parts = [
        (mark, tokenizer.encode_on(part, before if number < 2 else ""))
        for number, (mark, part) in enumerate(runs(text))
    ]
    found = [np.full(len(ids), mark, np.uint8) for mark, ids in parts]
    return np.concatenate([ids for _, ids in parts]), np.concatenate(found)


def encode_spans(
    text: str, tokenizer: Tokenizer, before: str = ""
) -> tuple[np.ndarray, np.ndarray]:
    """The ids of the text without its marks, and their marks.

    The text is cut at the word that each switch stands in, and the tokens of what lies between cut
    and switch are counted. A span takes the whole of the tokens that its ends lie in.
    """
    switched, parts = zip(*runs(text), strict=True)
    plain = "".join(parts)
    places = np.cumsum([0, *map(len, parts[:-1])])
    words = np.array([0, *(cut.start() for cut in WORDS.finditer(plain))])
    cuts = words[np.searchsorted(words, places, side="right") - 1]
    edges = [*np.flatnonzero(np.diff(cuts, prepend=-1)), len(cuts)]
    made, found, mark = [], [], 0
    for first, last in itertools.pairwise(edges):
        start, stop = cuts[first], cuts[last] if last < len(cuts) else len(plain)
        behind = plain[start - 1] if start else before
        ids = tokenizer.encode_on(plain[start:stop], behind)
        marked = np.full(len(ids), mark, np.uint8)
        for place, mark in zip(places[first:last], switched[first:last], strict=True):
            head = tokenizer.encode_on(plain[start:place], behind) if place > start else ids[:0]
            count = min(len(head), len(ids))
            differs = np.flatnonzero(head[:count] != ids[:count])
            same = int(differs[0]) if len(differs) else count
            marked[same + (mark == 0 and same < len(head)) :] = mark
        made.append(ids)
        found.append(marked)
    return np.concatenate(made), np.concatenate(found)
