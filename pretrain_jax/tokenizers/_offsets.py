"""Where the tokens of a text are: spans, int [n, 2], of the first character and the one after it.

A tokenizer knows its tokens as bytes of UTF-8, or as parts of a normalized text. These functions
turn them into characters of the original text.
"""

from collections.abc import Sequence

import numpy as np


def byte_spans(text: str, sizes: np.ndarray) -> np.ndarray:
    """The characters of each of n tokens, whose bytes follow one another in the UTF-8 of `text`.

    sizes: int [n], bytes of each token. A token that is a part of a character covers all of it.
    Raises ValueError unless the sizes add up to the bytes of the text.

    >>> byte_spans("hé", np.array([1, 1, 1])).tolist()
    [[0, 1], [1, 2], [1, 2]]
    """
    content = np.frombuffer(text.encode(), np.uint8)
    ends = np.cumsum(sizes, dtype=np.int64)
    if ends[-1:].sum() != content.size:
        raise ValueError(
            f"the tokens of a text must have its {content.size} bytes; they have {sum(sizes)}. A "
            "tokenizer whose token_bytes count otherwise needs an encode_with_offsets of its own"
        )
    begun = np.concatenate([[0], np.cumsum(content & 0xC0 != 0x80), [len(text) + 1]])
    # begun[b]: characters that begin before byte b
    return np.stack([begun[ends - sizes + 1] - 1, begun[ends]], axis=1)


def normalized_spans(text: str, places: Sequence[int], sizes: np.ndarray) -> np.ndarray:
    """The original characters of each of n tokens of a normalized text.

    places: for each character of `text` the original character that it comes from, ascending, then
    the end. A token that is a part of what a character became ("f" of the ligature "ﬁ") covers that
    character. A token of spaces covers nothing. sizes: as in `byte_spans`.

    >>> normalized_spans(" of fine", [0, 0, 1, 2, 3, 3, 4, 5, 6], np.array([3, 2, 3])).tolist()
    [[0, 2], [3, 4], [3, 6]]
    """
    begins, ends = trim(byte_spans(text, sizes), text).T
    origins = np.asarray(places)
    last = np.searchsorted(origins, origins[np.maximum(ends - 1, 0)], "right")
    after = origins[np.minimum(last, len(text))]
    return np.stack([origins[begins], np.where(ends > begins, after, origins[begins])], axis=1)


def trim(spans: np.ndarray, text: str) -> np.ndarray:
    """int32 [n, 2]: the spans without white space at both ends; spans of white space are empty.

    >>> trim(np.array([[0, 3], [3, 5]]), " ab  ").tolist()
    [[1, 3], [5, 5]]
    """
    size = len(text)
    is_space = np.fromiter(map(str.isspace, text), np.bool_, size)
    places = np.arange(size)
    following = np.minimum.accumulate(np.where(is_space, size, places)[::-1])[::-1]
    preceding = np.maximum.accumulate(np.where(is_space, 0, places + 1))
    begins = np.minimum(np.append(following, size)[spans[:, 0]], spans[:, 1])
    ends = np.maximum(np.append(0, preceding)[spans[:, 1]], begins)
    return np.stack([begins, ends], axis=1).astype(np.int32)


def in_original(spans: np.ndarray, text: str) -> np.ndarray:
    """int32 [n, 2]: spans of `replace_surrogates(text)` as trimmed spans of `text`.

    They differ where `text` has both surrogates of a character, which become one character.

    >>> in_original(np.array([[0, 1], [1, 2]]), "\\ud83d\\ude00b").tolist()
    [[0, 2], [2, 3]]
    """
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32) >> 10
    is_second = np.append(False, (codes[:-1] == 0xD800 >> 10) & (codes[1:] == 0xDC00 >> 10))
    begins = np.flatnonzero(~is_second[: len(text)])
    return trim(np.append(begins, len(text))[spans], text)
