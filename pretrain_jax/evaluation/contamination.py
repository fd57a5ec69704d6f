"""Contamination: items of a task that occur in the training text.

An item is contaminated if 13 words in a row of it occur in a training document, in lower case and
without punctuation (Brown et al. 2020, appendix C, with 13-grams for all tasks). An item with fewer
words cannot be, and is not counted.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from pretrain_jax.gram_hashes import hash_grams

WORDS = 13
WORD = re.compile(r"\w+")


def find_contaminated(items: Sequence[Any], documents: Iterable[str]) -> list[bool | None]:
    """For each item, whether 13 of its words in a row occur in a document; None if it has fewer."""
    ids: dict[str, int] = {}
    grams = [hashes(text_of(item), ids, grow=True) for item in items]
    wanted = np.unique(np.concatenate([np.zeros(0, np.uint64), *grams]))
    seen: set[int] = set()
    for text in documents:
        found = hashes(text, ids, grow=False)
        seen.update(found[np.isin(found, wanted)].tolist())
    return [bool(seen.intersection(some.tolist())) if len(some) else None for some in grams]


def share(flags: Sequence[bool | None]) -> tuple[float | None, int]:
    """(share of contaminated items among those that are long enough, number of these).

    Without such items the share is None.
    """
    known = [flag for flag in flags if flag is not None]
    return float(np.mean(known)) if known else None, len(known)


def text_of(item: Any) -> str:
    """The text of an item with its answer."""
    if isinstance(item, str):
        return item
    return str(getattr(item, "solved", getattr(item, "text", "")))


def hashes(text: str, ids: dict[str, int], grow: bool) -> np.ndarray:
    """uint64: a hash of each 13 words in a row.

    ids: of words. grow: whether new words get an id. Otherwise each of them has the id 0, which no
    word of an item has.
    """
    words = WORD.findall(text.lower())
    if grow:
        for word in words:
            ids.setdefault(word, len(ids) + 1)
    return hash_grams(np.array([ids.get(word, 0) for word in words], np.int64), WORDS)
