"""What every tokenizer is, and what their files share."""

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from etils import epath

from pretrain_jax.errors import InputMissing

NAMED = ("pad", "unk", "bos", "eos", "mask", "cls", "sep")
SENTENCE_ENDS = tuple(".!?\n\u3002\uff01\uff1f")  # the last three: full-width . ! ?


class Tokenizer(ABC):
    """Text to token ids and back. Ids are 0 .. size - 1.

    Special ids never come out of `encode`: a special token's spelling inside a document is plain
    text. They are added by whoever arranges documents into examples.
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
    """Bytes that `token_bytes` counts at the beginning of a text and that the text does not have: 1
    where a space is put in front of every text."""
    fingerprint: str
    """Hex digest over the vocabulary and every option that changes what `encode` returns."""

    @abstractmethod
    def encode(self, text: str) -> np.ndarray:
        """int32 [n] ids of `text`, without special ids."""

    def encode_on(self, text: str, before: str) -> np.ndarray:
        """`encode` of the part of a text that stands behind the character `before`."""
        del before
        return self.encode(text)

    def unknown_bytes(self, text: str) -> int:
        """UTF-8 bytes of `text` that its ids do not stand for: those that became `unk`."""
        del text
        return 0

    @abstractmethod
    def decode(self, ids: Sequence[int] | np.ndarray) -> str:
        """Text of `ids`; special ids are left out; invalid UTF-8 becomes U+FFFD."""

    @abstractmethod
    def spell(self, token: int) -> str:
        """How one id is written in the vocabulary, special ids included: for people to read."""

    @property
    @abstractmethod
    def word_starts(self) -> np.ndarray:
        """bool [size]: whether a token begins a word (special ids do). Made once, by `table`."""

    @property
    @abstractmethod
    def token_bytes(self) -> np.ndarray:
        """int32 [size]: UTF-8 bytes of the text that an id stands for; 0 for special ids and unk.

        The ids of a whole text have `lead_bytes` more than the text that `decode` makes of them,
        and where nothing is lost that is the text itself. Made once, by `table`.
        """

    def sentinel(self, number: int) -> int:
        """The id of the sentinel `number`, counted from 0 (T5's <extra_id_0>)."""
        return self.sentinels[number]

    @property
    def named(self) -> dict[str, int]:
        """The special ids that there are, by name: {"pad": 0, "mask": 103, ...}."""
        ids = {name: getattr(self, name) for name in NAMED}
        return {name: i for name, i in ids.items() if i is not None}

    def remedy(self, name: str) -> str:
        """What to add to a vocabulary so that it has the special id `name`: for people to read."""
        return f"an id for {name}"

    @cached_property
    def special(self) -> np.ndarray:
        """bool [size]: ids that stand for no text: all special ones but unk, which does."""
        ids = {*self.sentinels, *(i for name, i in self.named.items() if name != "unk")}
        return table(i in ids for i in range(self.size))

    @cached_property
    def unscored(self) -> np.ndarray:
        """bool [size]: ids that no score counts: the special ones, and unk, whose text is lost."""
        return table(special or i == self.unk for i, special in enumerate(self.special))

    @cached_property
    def sentence_ends(self) -> np.ndarray:
        """bool [size]: whether a token's text ends in . ! ? or a line end. Made once."""
        return table(self.decode([i]).endswith(SENTENCE_ENDS) for i in range(self.size))


def table(values: Iterable[Any], dtype: Any = np.bool_) -> np.ndarray:
    """[n] of values that cannot be written to: it is made once and serves every example."""
    made = np.fromiter(values, dtype)
    made.flags.writeable = False
    return made


def well_formed(text: str) -> str:
    """`text` with lone surrogates, which have no UTF-8, as U+FFFD.

    A JSON file can spell them (`"\\ud800"`), and the libraries refuse them.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def take(texts: Iterable[str], characters: int) -> Iterator[str]:
    """The beginning of `texts`, up to that many characters in all.

    >>> list(take(["abc", "def", "ghi"], 5))
    ['abc', 'de']
    """
    for text in texts:
        yield text[:characters]
        characters -= len(text)
        if characters <= 0:
            return


def read(path: epath.PathLike, filename: str) -> bytes:
    """Bytes of the vocabulary file `path`, or of `filename` where `path` is a folder."""
    file = epath.Path(path)
    if file.is_dir():
        file = file / filename
    try:
        return file.read_bytes()
    except OSError as error:
        raise InputMissing(
            f"tokenizer.path must name a folder with {filename}, or that file itself; received "
            f"{path}: {error.strerror or error}"
        ) from error


def sentinel_ids(size: int, count: int) -> tuple[int, ...]:
    """T5's layout: sentinels are the last ids, the sentinel 0 the very last.

    >>> sentinel_ids(103, 3)
    (102, 101, 100)
    """
    return tuple(range(size - 1, size - 1 - count, -1))


def digest(*parts: Any) -> str:
    """A fingerprint: hex SHA-256 of parts that JSON can write."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
