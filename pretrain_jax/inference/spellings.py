"""Special tokens that a user spells in a text: "The capital is <mask>.", "Thank <extra_id_0> much".

Training never reads a spelling as a special token; prompts do.
"""

import itertools
import re
from collections.abc import Iterator

import numpy as np

from pretrain_jax.tokenizers import Tokenizer

CHARACTERS = 4
"""UTF-8 bytes of the longest character. A tokenizer whose tokens are single characters or bytes
has the space before a word as a token of its own."""


def spellings(tokenizer: Tokenizer) -> dict[str, int]:
    """Ids by spelling: <mask>, <extra_id_0> and so on, and the vocabulary's own spellings.

    For a BERT vocabulary, {"<mask>": 103, "[MASK]": 103, "<cls>": 101, "[CLS]": 101, ...}.
    """
    ids = {name: i for name, i in tokenizer.special_ids.items() if name != "unk"}
    found = {f"<{name}>": i for name, i in ids.items()}
    found |= {f"<extra_id_{number}>": i for number, i in enumerate(tokenizer.sentinels)}
    special = (*ids.values(), *tokenizer.sentinels)
    return found | {tokenizer.id_to_token(i): i for i in special}


def encode(text: str, tokenizer: Tokenizer, special: bool = True) -> np.ndarray:
    """int32 [n]: the ids of a text, in which spellings of special tokens are these tokens.

    A mask or a sentinel stands for a word with the space before it, if tokens are longer than a
    character, so that space is dropped, as in training. special: whether spellings count; otherwise
    they are text.
    """
    parts = list(split(text, spellings(tokenizer))) if special else [text]
    joins = int(tokenizer.token_bytes.max()) > CHARACTERS
    hidden = {tokenizer.mask, *tokenizer.sentinels}
    ids: list[int] = []
    for number, part in enumerate(parts):
        if isinstance(part, int):
            ids.append(part)
            continue
        if joins and number + 1 < len(parts) and parts[number + 1] in hidden:
            part = part.removesuffix(" ")
        ids += tokenizer.encode(part).tolist()
    return np.array(ids, np.int32)


def split(text: str, ids: dict[str, int]) -> Iterator[str | int]:
    """The texts between special tokens, and the ids of these.

    >>> list(split("a <mask> b", {"<mask>": 4}))
    ['a ', 4, ' b']
    """
    if not ids:
        yield text
        return
    longest_first = sorted(ids, key=len, reverse=True)
    pattern = "|".join(map(re.escape, longest_first))
    for part in re.split(f"({pattern})", text):
        if part in ids:
            yield ids[part]
        elif part:
            yield part


def decode(ids: np.ndarray, tokenizer: Tokenizer) -> str:
    """The text of ids, with special tokens spelled out, for display, and without the places of an
    adapter (objectives/_places.py)."""
    names = {i: tokenizer.id_to_token(i) for i in tokenizer.special_ids.values()}
    names |= {i: f"<extra_id_{number}>" for number, i in enumerate(tokenizer.sentinels)}
    parts = []
    for is_special, group in itertools.groupby(ids[ids >= 0].tolist(), names.__contains__):
        run = list(group)
        parts += [names[i] for i in run] if is_special else [tokenizer.decode(run)]
    return "".join(parts)
