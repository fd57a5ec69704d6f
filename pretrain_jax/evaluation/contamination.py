"""Contamination: items of a task that stand in the training text.

An item is contaminated if 13 words in a row of it stand in a training document, in lower case and
without punctuation (Brown et al. 2020, appendix C, with 13-grams for all tasks). An item with fewer
words cannot be, and is not counted.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

WORDS = 13
WORD = re.compile(r"\w+")
MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)


def find_contaminated(items: Sequence[Any], documents: Iterable[str]) -> list[bool | None]:
    """For each item, whether 13 of its words in a row stand in a document; None if it has fewer."""
    ids: dict[str, int] = {}
    grams = [hashes(text_of(item), ids, grow=True) for item in items]
    wanted = np.unique(np.concatenate([np.zeros(0, np.uint64), *grams]))
    seen: set[int] = set()
    for text in documents:
        found = hashes(text, ids, grow=False)
        seen.update(found[np.isin(found, wanted)].tolist())
    return [bool(seen.intersection(some.tolist())) if len(some) else None for some in grams]


def share(flags: Sequence[bool | None]) -> dict[str, float]:
    """The share of contaminated items among those that are long enough, and how many these are."""
    known = [flag for flag in flags if flag is not None]
    return {"share": float(np.mean(known)) if known else 0.0, "items": float(len(known))}


def text_of(item: Any) -> str:
    """The text of an item with its answer."""
    if isinstance(item, str):
        return item
    return str(getattr(item, "solved", getattr(item, "text", "")))


def hashes(text: str, ids: dict[str, int], grow: bool) -> np.ndarray:
    """uint64: a hash of each 13 words in a row.

    ids: of words; grow: whether new words get one. Otherwise all of them have the id 0, which the
    words of items never have.
    """
    words = WORD.findall(text.lower())
    if len(words) < WORDS:
        return np.zeros(0, np.uint64)
    if grow:
        numbers = [ids.setdefault(word, len(ids) + 1) for word in words]
    else:
        numbers = [ids.get(word, 0) for word in words]
    values, count = np.array(numbers, np.uint64), len(words) - WORDS + 1
    total = np.zeros(count, np.uint64)
    for offset in range(WORDS):
        total = (total + values[offset : offset + count]) * MULTIPLIER
    return total
