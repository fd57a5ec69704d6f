"""UTF-8 bytes: the id is the byte; special ids start at 256. No training, no unknown text.

A space belongs to the word after it: every whitespace byte starts a word.
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
    fingerprint_of,
    read_only_array,
    read_vocabulary_file,
    replace_surrogates,
    sentinel_ids,
)

FILE = "bytes.json"
SPECIALS = ("pad", "bos", "eos", "mask", "cls", "sep")
WHITESPACE = b" \t\n\r\v\f"
LAYOUT = {"bytes": 256, "specials": list(SPECIALS)}


class Bytes(Tokenizer):
    """256 bytes, 6 special ids, then the sentinels.

    >>> Bytes(0).encode("hé").tolist()
    [104, 195, 169]
    """

    def __init__(self, sentinels: int):
        self.size = 256 + len(SPECIALS) + sentinels
        self.pad, self.bos, self.eos, self.mask, self.cls, self.sep = range(256, 262)
        self.sentinels = sentinel_ids(self.size, sentinels)
        self.fingerprint = fingerprint_of("bytes", LAYOUT, sentinels)

    def encode(self, text: str) -> np.ndarray:
        return np.frombuffer(replace_surrogates(text).encode(), np.uint8).astype(np.int32)

    def decode(self, ids: Sequence[int] | np.ndarray) -> str:
        ids = np.asarray(ids, np.int32)
        return ids[ids < 256].astype(np.uint8).tobytes().decode("utf-8", "replace")

    def id_to_token(self, token: int) -> str:
        if token < 256:
            return chr(token) if 32 < token < 127 else f"<0x{token:02X}>"
        if token < 256 + len(SPECIALS):
            return f"<{SPECIALS[token - 256]}>"
        return f"<extra_id_{self.sentinels.index(token)}>"

    @cached_property
    def word_starts(self) -> np.ndarray:
        return read_only_array(i in WHITESPACE if i < 256 else True for i in range(self.size))

    @cached_property
    def token_bytes(self) -> np.ndarray:
        return read_only_array((i < 256 for i in range(self.size)), np.int32)


def load(path: epath.PathLike, *, sentinels: int = 0) -> Bytes:
    """Reads the file that `train` writes, to detect a vocabulary with another layout."""
    content = read_vocabulary_file(path, FILE)
    try:
        layout = parsing.parse_json(content)
    except ValueError:
        layout = None
    if layout != LAYOUT:
        raise DataError(
            f"the layout of the bytes tokenizer must be {json.dumps(LAYOUT)}; {path} has another; "
            "leave tokenizer.path empty"
        )
    return Bytes(sentinels)


def train(
    texts: Iterable[str], directory: epath.PathLike, *, vocab_size: int, sentinels: int = 0
) -> None:
    """Writes the layout. It does not depend on `texts` or `vocab_size`."""
    del texts, vocab_size, sentinels
    (epath.Path(directory) / FILE).write_text(json.dumps(LAYOUT) + "\n")
