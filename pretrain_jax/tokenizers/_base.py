"""The interface of tokenizers, and functions that their modules share."""

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from etils import epath

from pretrain_jax.errors import InputMissing
from pretrain_jax.tokenizers import _offsets

SPECIAL_NAMES = ("pad", "unk", "bos", "eos", "mask", "cls", "sep")
SENTENCE_ENDS = tuple(".!?\n\u3002\uff01\uff1f")  # the last three: full-width . ! ?


class Tokenizer(ABC):
    """Converts text to token ids and back. Ids are 0 .. size - 1.

    `encode` never returns special ids: the spelling of a special token in a document is plain text.
    Special ids are added when examples are made.
    """

    size: int
    pad: int | None = None
    unk: int | None = None
    bos: int | None = None
    eos: int | None = None
    mask: int | None = None
    cls: int | None = None
    sep: int | None = None
    sentinels: tuple[int, ...] = ()
    lead_bytes: int = 0
    """Bytes that `token_bytes` counts in addition to the bytes of a text: 1 if the tokenizer adds a
    space at the start of every text."""
    fingerprint: str
    """Hex digest of the vocabulary and of all options that affect `encode`."""

    @abstractmethod
    def encode(self, text: str) -> np.ndarray:
        """int32 [n]: the ids of `text`, without special ids."""

    def encode_after(self, text: str, before: str) -> np.ndarray:
        """`encode` for a part of a text that follows the character `before`."""
        del before
        return self.encode(text)

    def encode_with_offsets(self, text: str, before: str = "") -> tuple[np.ndarray, np.ndarray]:
        """(int32 [n], int32 [n, 2]): the ids of `encode_after`, and their characters in `text`.

        Token i is text[start:end], with start and end from row i; starts ascend. White space at
        both ends of a token is left out, so for GPT-2's " word" this is the word. A token of white
        space alone is empty. A token that is a part of a character, or of what normalization makes
        of it, covers the character: "é" as two bytes is [0, 1] twice.

        A tokenizer whose `token_bytes` do not add up to the bytes of the text needs its own method.
        """
        ids = self.encode_after(text, before)
        spans = _offsets.byte_spans(replace_surrogates(text), self.token_bytes[ids])
        return ids, _offsets.in_original(spans, text)

    def unknown_bytes(self, text: str) -> int:
        """UTF-8 bytes of `text` that are lost because their id is `unk`."""
        del text
        return 0

    @abstractmethod
    def decode(self, ids: Sequence[int] | np.ndarray) -> str:
        """The text of `ids`, without special ids; invalid UTF-8 becomes U+FFFD."""

    @abstractmethod
    def id_to_token(self, token: int) -> str:
        """The spelling of an id in the vocabulary, also of special ids, for display."""

    @property
    @abstractmethod
    def word_starts(self) -> np.ndarray:
        """bool [size], read-only: whether a token starts a word; true for special ids."""

    @property
    @abstractmethod
    def token_bytes(self) -> np.ndarray:
        """int32 [size], read-only: UTF-8 bytes of the text of each id; 0 for special ids and unk.

        The sum over the ids of a text is `lead_bytes` more than the bytes of the decoded text,
        which equals the text if nothing is lost.
        """

    def sentinel(self, number: int) -> int:
        """The id of sentinel `number`, from 0 (T5's <extra_id_0>)."""
        return self.sentinels[number]

    @property
    def special_ids(self) -> dict[str, int]:
        """The special ids that the vocabulary has, by name: {"pad": 0, "mask": 103, ...}."""
        ids = {name: getattr(self, name) for name in SPECIAL_NAMES}
        return {name: i for name, i in ids.items() if i is not None}

    def how_to_add(self, names: Sequence[str]) -> str:
        """What gives the vocabulary the special ids `names`, for a message: a verb comes first."""
        return f"add ids for {' and '.join(names)} to the vocabulary"

    @cached_property
    def special(self) -> np.ndarray:
        """bool [size]: ids without text, which are all special ids except unk."""
        ids = {*self.sentinels, *(i for name, i in self.special_ids.items() if name != "unk")}
        return read_only_array(i in ids for i in range(self.size))

    @cached_property
    def unscored(self) -> np.ndarray:
        """bool [size]: ids that are not scored: special ids, and unk, whose text is lost."""
        return read_only_array(special or i == self.unk for i, special in enumerate(self.special))

    @cached_property
    def sentence_ends(self) -> np.ndarray:
        """bool [size]: whether the text of a token ends in . ! ? or a newline."""
        return read_only_array(self.decode([i]).endswith(SENTENCE_ENDS) for i in range(self.size))


def read_only_array(values: Iterable[Any], dtype: Any = np.bool_) -> np.ndarray:
    """A read-only array [n] of values, to be shared by all examples."""
    array = np.fromiter(values, dtype)
    array.flags.writeable = False
    return array


def replace_surrogates(text: str) -> str:
    """`text` with unpaired surrogates, which have no UTF-8 encoding, replaced by U+FFFD.

    A JSON file can contain them (`"\\ud800"`), and the libraries reject them.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def limit_characters(texts: Iterable[str], characters: int) -> Iterator[str]:
    """The first `characters` characters of `texts`.

    >>> list(limit_characters(["abc", "def", "ghi"], 5))
    ['abc', 'de']
    """
    for text in texts:
        yield text[:characters]
        characters -= len(text)
        if characters <= 0:
            return


def read_vocabulary_file(path: epath.PathLike, filename: str) -> bytes:
    """The bytes of the vocabulary file `path`, or of `filename` in the folder `path`.

    Raises InputMissing if it cannot be read.
    """
    file = epath.Path(path)
    if file.is_dir():
        file = file / filename
    try:
        return file.read_bytes()
    except OSError as error:
        raise InputMissing(
            f"tokenizer.path must be a folder with {filename}, or that file; received "
            f"{path}: {error.strerror or error}"
        ) from error


def sentinel_ids(size: int, count: int) -> tuple[int, ...]:
    """T5's layout: the sentinels are the last ids, in reverse order, so sentinel 0 is the last id.

    >>> sentinel_ids(103, 3)
    (102, 101, 100)
    """
    return tuple(range(size - 1, size - 1 - count, -1))


def fingerprint_of(*parts: Any) -> str:
    """A fingerprint of values: hex SHA-256 of their JSON."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
