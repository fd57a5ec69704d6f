"""Characters: the sorted characters of the corpus from id 0, then special ids.

This is nanoGPT's character recipe: the 65 characters of tiny Shakespeare have the same ids. The
next 7 ids are <unk> <pad> <bos> <eos> <mask> <cls> <sep>, so model.vocab_size must be at least 72
there. A space belongs to the word after it: every whitespace character starts a word.
"""

import json
from collections.abc import Iterable, Sequence
from functools import cached_property

import numpy as np
from etils import epath

from pretrain_jax.errors import DataError
from pretrain_jax.files import parsing
from pretrain_jax.tokenizers import (
    Tokenizer,
    _offsets,
    fingerprint_of,
    read_only_array,
    read_vocabulary_file,
    sentinel_ids,
)

FILE = "chars.json"
SPECIALS = ("unk", "pad", "bos", "eos", "mask", "cls", "sep")
CODE_POINTS = 0x110000


class Chars(Tokenizer):
    """One id per character, 7 special ids, then the sentinels.

    >>> Chars(["a", "b"], 0).encode("abba?").tolist()
    [0, 1, 1, 0, 2]
    """

    def __init__(self, characters: Sequence[str], sentinels: int):
        self.characters = list(characters)
        n = len(characters)
        self.size = n + len(SPECIALS) + sentinels
        self.unk, self.pad, self.bos, self.eos, self.mask, self.cls, self.sep = range(n, n + 7)
        self.sentinels = sentinel_ids(self.size, sentinels)
        self.fingerprint = fingerprint_of("chars", self.characters, SPECIALS, sentinels)
        self._ids = np.full(CODE_POINTS, self.unk, np.int32)
        self._ids[[ord(character) for character in characters]] = np.arange(n)

    def encode(self, text: str) -> np.ndarray:
        return self._ids[np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)]

    def encode_with_offsets(self, text: str, before: str = "") -> tuple[np.ndarray, np.ndarray]:
        begins = np.arange(len(text))
        return self.encode(text), _offsets.trim(np.stack([begins, begins + 1], axis=1), text)

    def unknown_bytes(self, text: str) -> int:
        ids = self.encode(text).tolist()
        lost = (character for character, i in zip(text, ids, strict=True) if i == self.unk)
        return len("".join(lost).encode("utf-8", "surrogatepass"))

    def decode(self, ids: Sequence[int] | np.ndarray) -> str:
        """Unknown characters become U+FFFD."""
        n = len(self.characters)
        written = (i for i in np.asarray(ids).tolist() if i <= n)
        return "".join("\ufffd" if i == n else self.characters[i] for i in written)

    def id_to_token(self, token: int) -> str:
        n = len(self.characters)
        if token < n:
            return self.characters[token]
        if token < n + len(SPECIALS):
            return f"<{SPECIALS[token - n]}>"
        return f"<extra_id_{self.sentinels.index(token)}>"

    @cached_property
    def word_starts(self) -> np.ndarray:
        # The unknown character is inside a word.
        starts = [*map(str.isspace, self.characters), False]
        return read_only_array(starts + [True] * (self.size - len(starts)))

    @cached_property
    def token_bytes(self) -> np.ndarray:
        sizes = [len(character.encode("utf-8", "surrogatepass")) for character in self.characters]
        return read_only_array(sizes + [0] * (self.size - len(sizes)), np.int32)


def load(path: epath.PathLike, *, sentinels: int = 0) -> Chars:
    """Reads chars.json, a JSON list of distinct single characters."""
    content = read_vocabulary_file(path, FILE)
    try:
        characters = parsing.parse_json(content)
        is_valid = isinstance(characters, list) and all(
            isinstance(character, str) and len(character) == 1 for character in characters
        )
    except ValueError:
        characters, is_valid = [], False
    if not is_valid or len(set(characters)) != len(characters):
        raise DataError(f"{path} must be a JSON list of distinct single characters")
    return Chars(characters, sentinels)


def train(
    texts: Iterable[str], directory: epath.PathLike, *, vocab_size: int, sentinels: int = 0
) -> None:
    """Writes the characters of all texts. Loading checks that they fit `vocab_size`."""
    del vocab_size, sentinels
    characters: set[str] = set()
    for string in texts:
        characters.update(string)
    if not characters:
        raise DataError("the corpus must hold at least one character to train a tokenizer on it")
    (epath.Path(directory) / FILE).write_text(json.dumps(sorted(characters)) + "\n")
