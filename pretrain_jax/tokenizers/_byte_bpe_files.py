"""The files of byte-level BPE: encoder.json, vocab.bpe and fairseq's dict.txt."""

import re
from collections import Counter

from etils import epath

from pretrain_jax.errors import DataError
from pretrain_jax.files import parsing

SPECIAL = re.compile(r"<\S+>|madeupword\d+")  # fairseq pads vocabularies with these words


def byte_alphabet() -> dict[str, int]:
    """GPT-2's visible characters for the 256 bytes (openai/gpt-2, encoder.py).

    Printable Latin-1 bytes map to themselves. The 68 other bytes map to U+0100 and the following
    characters, in order; the space, byte 32, is "Ġ" (U+0120).
    """
    visible = [b for b in range(256) if chr(b).isprintable() and chr(b) != " "]
    hidden = [b for b in range(256) if b not in visible]
    return {chr(b): b for b in visible} | {chr(256 + n): b for n, b in enumerate(hidden)}


ALPHABET = byte_alphabet()


def spell(token: bytes) -> str:
    return "".join(SPELLING[byte] for byte in token)


SPELLING = {byte: character for character, byte in ALPHABET.items()}


def read_encoder(content: bytes, file: epath.Path) -> dict[str, int]:
    try:
        encoder = parsing.parse_json(content)
    except ValueError as error:
        raise DataError(f"{file} must be a JSON object of spelling → id; {error}") from error
    ids = list(encoder.values()) if isinstance(encoder, dict) else [None]
    if not all(type(i) is int for i in ids) or set(ids) != set(range(len(ids))):
        raise DataError(f"{file} must be a JSON object whose values are 0 .. n - 1, each once")
    return encoder


def renumber(encoder: dict[str, int], content: bytes, file: epath.Path) -> dict[str, int]:
    """The spellings of encoder.json with fairseq's ids. A line is "ID_IN_ENCODER_JSON COUNT".

    The first line of RoBERTa is "13 850314647": "." has id 13 in encoder.json and 4 here.
    """
    spellings = {str(i): spelling for spelling, i in encoder.items()}
    lines = content.decode("utf-8", "replace").splitlines()
    words = Counter(line.rpartition(" ")[0] for line in lines)
    words.update(dict.fromkeys(spellings, 0))
    ordered = ["<s>", "<pad>", "</s>", "<unk>", *(spellings.get(w, w) for w in words), "<mask>"]
    wrong = [w for w, n in words.items() if n != 1 or not (w in spellings or SPECIAL.fullmatch(w))]
    if wrong or len(set(ordered)) < len(ordered):
        raise DataError(
            f"each line of {file} must be an id of encoder.json and a count, each id must occur "
            "once, and neither file may have <s>, <pad>, </s>, <unk> or <mask>; "
            f"received {(wrong or ['a special token'])[0][:80]!r}"
        )
    return {spelling: i for i, spelling in enumerate(ordered)}


def merged_tokens(merges: list[tuple[bytes, bytes]]) -> list[bytes]:
    """The 256 bytes, then the results of the merges by priority."""
    return [
        *(bytes([byte]) for byte in ALPHABET.values()),
        *(left + right for left, right in merges),
    ]


def read_merges(content: bytes, file: epath.Path) -> list[tuple[bytes, bytes]]:
    """The pairs of tokens that are merged, by priority."""
    try:
        lines = content.decode().split("\n")
    except UnicodeDecodeError as error:
        raise DataError(f"{file} must be UTF-8; {error}") from error
    known = {bytes([byte]): bytes([byte]) for byte in ALPHABET.values()}
    merges = []
    for number, line in enumerate(lines, start=1):
        if not line.strip() or (number == 1 and line.startswith("#version")):
            continue
        parts = line.split()
        spelled = len(parts) == 2 and all(set(part) <= ALPHABET.keys() for part in parts)
        pair = [known.get(bytes(ALPHABET[c] for c in part)) for part in parts] if spelled else []
        left, right = pair or (None, None)
        if left is None or right is None or left + right in known:
            raise DataError(
                f"each line of {file} must merge two tokens of earlier lines into a new "
                f"token; line {number} is {line[:80]!r}"
            )
        known[left + right] = left + right
        merges.append((left, right))
    return merges
