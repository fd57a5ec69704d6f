"""UTF-8 bytes: id = byte; the special ids follow from 256. Nothing to learn, nothing unknown.

A space belongs to the word after it: a word starts at every whitespace byte.
"""

import json
from collections.abc import Iterable, Sequence

import numpy as np
from etils import epath

from pretrain_jax.errors import DataError
from pretrain_jax.files import parsing
from pretrain_jax.tokenizers import Tokenizer, digest, read, sentinel_ids, table, well_formed

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
        self.fingerprint = digest("bytes", LAYOUT, sentinels)
        self._word_starts = table(i in WHITESPACE if i < 256 else True for i in range(self.size))
        self._token_bytes = table((i < 256 for i in range(self.size)), np.int32)

    def encode(self, text: str) -> np.ndarray:
        return np.frombuffer(well_formed(text).encode(), np.uint8).astype(np.int32)

    def decode(self, ids: Sequence[int] | np.ndarray) -> str:
        ids = np.asarray(ids, np.int32)
        return ids[ids < 256].astype(np.uint8).tobytes().decode("utf-8", "replace")

    def spell(self, token: int) -> str:
        if token < 256:
            return chr(token) if 32 < token < 127 else f"<0x{token:02X}>"
        if token < 256 + len(SPECIALS):
            return f"<{SPECIALS[token - 256]}>"
        return f"<extra_id_{self.sentinels.index(token)}>"

    @property
    def word_starts(self) -> np.ndarray:
        return self._word_starts

    @property
    def token_bytes(self) -> np.ndarray:
        return self._token_bytes


def load(path: epath.PathLike, *, sentinels: int = 0) -> Bytes:
    """Reads the file that `train` wrote, so that a vocabulary of another layout is noticed."""
    content = read(path, FILE)
    try:
        layout = parsing.parse(content)
    except ValueError:
        layout = None
    if layout != LAYOUT:
        raise DataError(
            f"the bytes tokenizer has one layout, {json.dumps(LAYOUT)}; {path} says otherwise; "
            "leave tokenizer.path empty"
        )
    return Bytes(sentinels)


def train(
    texts: Iterable[str], directory: epath.PathLike, *, vocab_size: int, sentinels: int = 0
) -> None:
    """Writes the layout; nothing is learnt from `texts`, and `vocab_size` is only a limit."""
    del texts, vocab_size, sentinels
    (epath.Path(directory) / FILE).write_text(json.dumps(LAYOUT) + "\n")
