"""Annotated parts of a text: salient spans, the target of a pair, or the texts of a record.

Between a source and the token cache, the text itself carries its annotations (switches.py). In the
cache, every token has its annotation.

    text        Anna lives in Paris .        spans [[0, 4], [14, 19]]
    annotated   [1]Anna[0] lives in[2] Paris[0] .
"""

import itertools
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from pretrain_jax.errors import DataError, short_repr
from pretrain_jax.switches import SWITCH, SWITCHES, split_at_switches, strip_switches
from pretrain_jax.tokenizers import Tokenizer

CONVERSATION = "conversation"
SEPARATE = ("targets", "records", CONVERSATION)
"""Kinds whose parts are tokenized separately. Those of a conversation follow each other in one
text; the others are texts of their own."""
AFTER_BEGIN = "."
"""What a conversation follows, for its tokenizer: no white space. So SentencePiece adds no space
there, as transformers adds none after a special token that a template spells."""
WORDS = re.compile(r"(?<=\S)(?= \S)")
"""Where a split does not change the ids: before a single space (text_blocks.py)."""


def spans_error(spans: Sequence[Any], length: int) -> str | None:
    """The error in the spans [[start, end], ...] of a text of `length` characters, or None."""
    before = 0
    for span in spans:
        pair = isinstance(span, list) and len(span) == 2 and all(type(x) is int for x in span)
        if not pair or not before <= span[0] < span[1] <= length:
            return (
                "must list [start, end] in characters, with start < end, in order, without "
                f"overlap, within the {length} characters of the text; received {span!r}"
            )
        before = span[1]
    return None


def annotate_spans(text: str, spans: Sequence[Sequence[int]]) -> str:
    """The text with its spans annotated 1 and 2 in turn, so that adjacent spans stay distinct.

    A space before a span becomes part of it, because tokenizers attach it to the word.
    """
    parts, at = [], 0
    for number, (start, stop) in enumerate(spans):
        if start > at and text[start - 1] == " ":
            start -= 1
        parts += [
            strip_switches(text[at:start]),
            SWITCH[1 + number % 2],
            strip_switches(text[start:stop]),
            SWITCH[0],
        ]
        at = stop
    return "".join([*parts, strip_switches(text[at:])])


def annotate_target(inputs: str, targets: str) -> str:
    """Both texts of a pair as one document, with annotation 1 for the targets."""
    return strip_switches(inputs) + SWITCH[1] + strip_switches(targets)


def annotate_parts(texts: Sequence[str]) -> str:
    """The texts of a record as one document: annotation 0 for the first, then 1 and 2 in turn."""
    first, *others = map(strip_switches, texts)
    switched = (SWITCH[1 + number % 2] + text for number, text in enumerate(others))
    return first + "".join(switched)


def annotate_answers(pieces: Sequence[tuple[str, bool]]) -> str:
    """The text of a conversation, from its pieces (text, whether it is an answer), with annotation
    1 or 2 for the answers, in turn, so that two without a text between them stay distinct.

    >>> annotate_answers([("a", False), ("b", True), ("c", True)]) == "\ufdd0a\ufdd1b\ufdd2c"
    True
    """
    parts, answers = [], 0
    for piece, is_answer in pieces:
        parts += [SWITCH[1 + answers % 2 if is_answer else 0], piece]
        answers += is_answer
    return "".join(parts)


def annotated_offset(annotated: bytes, plain: bytes, at: int) -> int:
    """The byte offset in the `annotated` text of byte `at` of the `plain` text of the record.

    Switches exactly at this offset come after it.

    >>> annotated = annotate_spans("an inner one", [[3, 8]]).encode()
    >>> [annotated_offset(annotated, b"an inner one", at) for at in (2, 3, 8)]
    [2, 6, 11]
    """
    before = len(strip_switches(plain[:at].decode()))
    text, switches = annotated.decode(), 0
    for switch in SWITCHES.finditer(text):
        if switch.start() - switches >= before:
            break
        switches += 1
    return len(text[: before + switches].encode())


def context_of_next(block: str, kind: str) -> str:
    """The character before the next block of a text; "" if another text starts there."""
    if kind in SEPARATE and kind != CONVERSATION and block.endswith(SWITCH):
        return ""
    return strip_switches(block[-10:])[-1:]


def encode_annotated(
    text: str, tokenizer: Tokenizer, kind: str, before: str = ""
) -> tuple[np.ndarray, np.ndarray]:
    """int [n] ids and uint8 [n] annotations of a text with switches; kind: "spans" or one of
    SEPARATE.

    The texts of a pair or a record are tokenized separately. A block inside a text starts with a
    switch (`encoding.carry_annotation`) and follows the character `before`.
    """
    if kind == "spans":
        return encode_spans(text, tokenizer, before)
    marks, texts = zip(*split_at_switches(text), strict=True)
    if kind == CONVERSATION:
        follows = itertools.accumulate(
            texts[:-1], lambda last, part: part[-1:] or last, initial=before or AFTER_BEGIN
        )
    else:
        follows = [before if number < 2 else "" for number in range(len(texts))]
    parts = list(zip(marks, map(tokenizer.encode_after, texts, follows), strict=True))
    if kind == "records" and len(parts) > 2:
        check_tokens(text, [ids for _, ids in parts])
    annotations = [np.full(len(ids), mark, np.uint8) for mark, ids in parts]
    return np.concatenate([ids for _, ids in parts]), np.concatenate(annotations)


def check_tokens(text: str, ids: Sequence[np.ndarray]) -> None:
    """Raises DataError for a text of a record without tokens: annotations of two texts on its sides
    are those of one text."""
    for (_, part), found in zip(split_at_switches(text), ids, strict=True):
        if part and not len(found):
            raise DataError(
                "every text of a record with three or more must have a token; the tokenizer makes "
                f"nothing of {short_repr(part)}, which follows {short_repr(text[:40])}. Change "
                "that text, or use a tokenizer that has its characters"
            )


def encode_with_places(
    text: str, tokenizer: Tokenizer
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """int [n] ids and uint8 [n] annotations of the texts of a whole record, as `encode_annotated`
    has them, and uint32 [n, 2], the characters of each token in its text."""
    parts = [(mark, *tokenizer.encode_with_offsets(part)) for mark, part in split_at_switches(text)]
    marks = [np.full(len(ids), mark, np.uint8) for mark, ids, _ in parts]
    places = [spans.astype(np.uint32) for _, _, spans in parts]
    return (
        np.concatenate([ids for _, ids, _ in parts]),
        np.concatenate(marks),
        np.concatenate(places),
    )


def encode_spans(
    text: str, tokenizer: Tokenizer, before: str = ""
) -> tuple[np.ndarray, np.ndarray]:
    """The ids of the text without its switches, and their annotations.

    The text is split before each word that contains a switch, and the tokens between the split and
    the switch are counted. A token that is partly inside a span belongs to the span.
    """
    switched, parts = zip(*split_at_switches(text), strict=True)
    plain = "".join(parts)
    places = np.cumsum([0, *map(len, parts[:-1])])
    words = np.array([0, *(cut.start() for cut in WORDS.finditer(plain))])
    cuts = words[np.searchsorted(words, places, side="right") - 1]
    edges = [*np.flatnonzero(np.diff(cuts, prepend=-1)), len(cuts)]
    all_ids, annotations, mark = [], [], 0
    for first, last in itertools.pairwise(edges):
        start, stop = cuts[first], cuts[last] if last < len(cuts) else len(plain)
        context = plain[start - 1] if start else before
        ids = tokenizer.encode_after(plain[start:stop], context)
        block = np.full(len(ids), mark, np.uint8)
        for place, mark in zip(places[first:last], switched[first:last], strict=True):
            head = tokenizer.encode_after(plain[start:place], context) if place > start else ids[:0]
            count = min(len(head), len(ids))
            differs = np.flatnonzero(head[:count] != ids[:count])
            same = int(differs[0]) if len(differs) else count
            block[same + (mark == 0 and same < len(head)) :] = mark
        all_ids.append(ids)
        annotations.append(block)
    return np.concatenate(all_ids), np.concatenate(annotations)
