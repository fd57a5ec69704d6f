"""Byte-level BPE in GPT-2's file format: encoder.json (spelling → id) and vocab.bpe (merges).

Hugging Face's names for the same two files, vocab.json and merges.txt, are read as well. Encoding
is `tiktoken`'s: text is split by GPT-2's pattern and every special token is plain text. Nothing
is ever downloaded. A space belongs to the word after it: a word starts at a token that begins
with whitespace.

RoBERTa splits text as GPT-2 does and numbers it otherwise. Its ids come from a third file of the
same folder, fairseq's dict.txt: <s> 0, <pad> 1, </s> 2, <unk> 3, the lines of dict.txt from 4 on,
<mask> after them. Hugging Face's vocab.json of RoBERTa has these ids already and needs no dict.txt.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import tiktoken
import tokenizers
from etils import epath

from pretrain_jax.errors import ConfigError, DataError
from pretrain_jax.files import parsing
from pretrain_jax.process import child
from pretrain_jax.tokenizers import (
    NAMED,
    Tokenizer,
    digest,
    read,
    sentinel_ids,
    table,
    take,
    well_formed,
)

# GPT-2's `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`
# (openai/gpt-2, src/encoder.py) as tiktoken writes it: the same pieces, found faster.
PATTERN = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s"
# What the pattern calls \s. Python's own \s has U+001C to U+001F besides.
WHITESPACE = "[\\t-\\r \\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000]"
# The pattern gives up on longer runs, having to step back from their end; see `_split_runs`.
LONG_RUN = re.compile(f"{WHITESPACE}{{1000,}}(?={WHITESPACE}[^{WHITESPACE[1:]})")

FILES = (("encoder.json", "vocab.bpe"), ("vocab.json", "merges.txt"))
FAIRSEQ_FILE = "dict.txt"
SPECIAL = re.compile(r"<\S+>|madeupword\d+")  # fairseq pads its vocabularies with made-up words
SPECIALS = ("<|endoftext|>", "<|pad|>", "<|mask|>", "<|cls|>", "<|sep|>")
# GPT-2 and what is trained here, RoBERTa. RoBERTa begins with <s>, where BERT has [CLS], and
# separates with </s>.
SPELLINGS = {
    "pad": ("<|pad|>", "<pad>"),
    "unk": ("<unk>",),
    "bos": ("<s>", "<|endoftext|>"),
    "eos": ("</s>", "<|endoftext|>"),
    "mask": ("<|mask|>", "<mask>"),
    "cls": ("<|cls|>", "<s>"),
    "sep": ("<|sep|>", "</s>"),
}
TRAIN_CHARACTERS = 50_000_000
"""Training reads this much of the corpus: more text hardly changes the merges."""
LONGEST_RUN = 1024
"""Characters; longer runs without a space, or of nothing else, are cut for training. A merge looks
at all of a word, so the time grows with the square of its length."""
RUN = re.compile(rf"(?<!\S)\S{{{LONGEST_RUN},}}|(?<!\s)\s{{{LONGEST_RUN},}}")


def _byte_alphabet() -> dict[str, int]:
    """The published way to spell the 256 bytes by visible characters (openai/gpt-2, encoder.py).

    Printable Latin-1 stands for itself; the 68 others are U+0100 and on, in their order: the
    space, byte 32, is "Ġ" (U+0120).
    """
    visible = [b for b in range(256) if chr(b).isprintable() and chr(b) != " "]
    hidden = [b for b in range(256) if b not in visible]
    return {chr(b): b for b in visible} | {chr(256 + n): b for n, b in enumerate(hidden)}


ALPHABET = _byte_alphabet()


class ByteBPE(Tokenizer):
    """Ids in the order of encoder.json, then the sentinels; nothing is unknown.

    `merged` are the 256 bytes and the merges' results by priority, `ids` are theirs, `specials`
    are the entries of encoder.json that no merge makes.
    """

    def __init__(
        self, merged: list[bytes], ids: list[int], specials: dict[str, int], sentinels: int
    ):
        size = len(merged) + len(specials)
        self.size = size + sentinels
        self.pad, self.unk, self.bos, self.eos, self.mask, self.cls, self.sep = (
            next((specials[spelling] for spelling in SPELLINGS[name] if spelling in specials), None)
            for name in NAMED
        )
        self.sentinels = sentinel_ids(self.size, sentinels)
        self._special_spelling = {i: spelling for spelling, i in specials.items()}
        self._bytes = [b""] * self.size
        for token, i in zip(merged, ids, strict=True):
            self._bytes[i] = token
        self._word_starts = table(token[:1].isspace() or not token for token in self._bytes)
        self._token_bytes = table(map(len, self._bytes), np.int32)
        # tiktoken takes ids for priorities; where the file orders ids otherwise, map afterwards.
        self._id_of_rank = None if ids == list(range(len(ids))) else np.array(ids, np.int32)
        self._encoding = tiktoken.Encoding(
            "byte_bpe",
            pat_str=PATTERN,
            mergeable_ranks={token: rank for rank, token in enumerate(merged)},
            # Never allowed, so never found; without any, tiktoken is slower by half.
            special_tokens={"<|endoftext|>": len(merged)},
        )
        self.fingerprint = digest(
            "byte_bpe", PATTERN, [token.hex() for token in merged], ids, specials, sentinels
        )

    def encode(self, text: str) -> np.ndarray:
        ranks = self._ranks(text).view(np.int32)
        return ranks if self._id_of_rank is None else self._id_of_rank[ranks]

    def _ranks(self, text: str) -> np.ndarray:
        try:
            return self._encoding.encode_to_numpy(text, disallowed_special=())
        except UnicodeEncodeError:
            return self._ranks(well_formed(text))
        except ValueError:
            parts = _split_runs(text)
            if len(parts) == 1:
                raise
            return np.concatenate([self._ranks(part) for part in parts])

    def decode(self, ids: Sequence[int] | np.ndarray) -> str:
        table = self._bytes
        return b"".join([table[i] for i in np.asarray(ids).tolist()]).decode("utf-8", "replace")

    def spell(self, token: int) -> str:
        if token in self.sentinels:
            return f"<extra_id_{self.sentinels.index(token)}>"
        return self._special_spelling.get(token) or _spelling(self._bytes[token])

    @cached_property
    def special(self) -> np.ndarray:
        """Of bytes nothing is unknown: here <unk> stands for no text either."""
        return table(not token for token in self._bytes)

    @property
    def word_starts(self) -> np.ndarray:
        return self._word_starts

    @property
    def token_bytes(self) -> np.ndarray:
        return self._token_bytes

    def remedy(self, name: str) -> str:
        return f'the entry "{SPELLINGS[name][0]}" of {FILES[0][0]}'


def load(path: epath.PathLike, *, sentinels: int = 0) -> ByteBPE:
    """Reads encoder.json and vocab.bpe, and dict.txt where there is one, from the folder `path`.

    GPT-2's own: 50257 ids, bos = eos = <|endoftext|> = 50256, no padding. RoBERTa's, with its
    dict.txt beside them: 50265 ids, bos = cls = <s> = 0, eos = sep = </s> = 2, <pad> 1, <mask>
    50264. Raises DataError when the files do not describe one vocabulary.
    """
    folder = epath.Path(path)
    encoder_file, merges_file = next((f for f in FILES if (folder / f[0]).exists()), FILES[0])
    encoder = _read_encoder(read(folder / encoder_file, encoder_file), folder / encoder_file)
    if (folder / FAIRSEQ_FILE).exists():
        encoder = _renumbered(encoder, (folder / FAIRSEQ_FILE).read_bytes(), folder / FAIRSEQ_FILE)
    merged = _read_merges(read(folder / merges_file, merges_file), folder / merges_file)
    spellings = [_spelling(token) for token in merged]
    missing = next((spelling for spelling in spellings if spelling not in encoder), None)
    if missing is not None:
        raise DataError(
            f"every byte and every merge of {merges_file} must have an id in {encoder_file}; "
            f"{missing!r} has none in {path}; are both files of one vocabulary?"
        )
    ids = [encoder.pop(spelling) for spelling in spellings]
    unmade = next((spelling for spelling in encoder if not SPECIAL.fullmatch(spelling)), None)
    if unmade is not None:
        raise DataError(
            f"every id of {encoder_file} must be a byte, a merge of {merges_file} or a special "
            f"token like <|endoftext|>; {unmade!r} is none in {path}; is {merges_file} complete?"
        )
    return ByteBPE(merged, ids, encoder, sentinels)


def train(
    texts: Iterable[str], directory: epath.PathLike, *, vocab_size: int, sentinels: int = 0
) -> None:
    """Learns merges and writes encoder.json and vocab.bpe.

    The same texts give the same files, in any process. Ids: 256 bytes, merges, then
    <|endoftext|> (begin and end of a document, as in GPT-2), <|pad|>, <|mask|>, <|cls|>, <|sep|>.
    """
    room = vocab_size - len(SPECIALS) - sentinels
    if room < len(ALPHABET):
        raise ConfigError(
            f"model.vocab_size must hold 256 bytes, {len(SPECIALS)} special ids and tokenizer."
            f"sentinels={sentinels}, {vocab_size - room + 256} in all; received {vocab_size}"
        )
    parts = [part for text in take(texts, TRAIN_CHARACTERS) for part in _cut_long_runs(text)]
    model = child.call(learn, texts=parts, size=room)
    encoder = model["vocab"]
    for special in SPECIALS:
        encoder[special] = len(encoder)
    merges = "".join(f"{left} {right}\n" for left, right in model["merges"])
    folder = epath.Path(directory)
    (folder / "encoder.json").write_bytes(json.dumps(encoder).encode())
    (folder / "vocab.bpe").write_bytes(f"#version: 0.2\n{merges}".encode())


def learn(texts: list[str], size: int) -> dict[str, Any]:
    """The library's model of the alphabet and its merges, `size` in all: "vocab" and "merges"."""
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(
        add_prefix_space=False, use_regex=True
    )
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=size, initial_alphabet=sorted(ALPHABET), show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    return json.loads(tokenizer.to_str())["model"]


def _cut_long_runs(text: str) -> Iterator[str]:
    """`text` in parts, cut inside runs that are longer than LONGEST_RUN and nowhere else."""
    at = 0
    for run in RUN.finditer(text):
        for cut in range(run.start() + LONGEST_RUN, run.end(), LONGEST_RUN):
            yield text[at:cut]
            at = cut
    yield text[at:]


def _spelling(token: bytes) -> str:
    return "".join(SPELLING[byte] for byte in token)


SPELLING = {byte: character for character, byte in ALPHABET.items()}


def _read_encoder(content: bytes, file: epath.Path) -> dict[str, int]:
    try:
        encoder = parsing.parse(content)
    except ValueError as error:
        raise DataError(f"{file} must be a JSON object of spelling → id; {error}") from error
    ids = list(encoder.values()) if isinstance(encoder, dict) else [None]
    if not all(type(i) is int for i in ids) or set(ids) != set(range(len(ids))):
        raise DataError(f"{file} must be a JSON object whose values are 0 .. n - 1, each once")
    return encoder


def _renumbered(encoder: dict[str, int], content: bytes, file: epath.Path) -> dict[str, int]:
    """The spellings of encoder.json with fairseq's ids; a line is an id of encoder.json, a count.

    RoBERTa's first line is "13 850314647": "." has the id 13 in encoder.json, 4 here.
    """
    spellings = {str(i): spelling for spelling, i in encoder.items()}
    lines = content.decode("utf-8", "replace").splitlines()
    words = Counter(line.rpartition(" ")[0] for line in lines)
    words.update(dict.fromkeys(spellings, 0))
    ordered = ["<s>", "<pad>", "</s>", "<unk>", *(spellings.get(w, w) for w in words), "<mask>"]
    wrong = [w for w, n in words.items() if n != 1 or not (w in spellings or SPECIAL.fullmatch(w))]
    if wrong or len(set(ordered)) < len(ordered):
        raise DataError(
            f"the lines of {file} must be the ids of encoder.json, each once, with a count, and "
            "the special tokens <s>, <pad>, </s>, <unk> and <mask> in neither file; "
            f"wrong is {(wrong or ['a special token'])[0][:80]!r}"
        )
    return {spelling: i for i, spelling in enumerate(ordered)}


def _read_merges(content: bytes, file: epath.Path) -> list[bytes]:
    """The 256 bytes, then what each merge makes, by priority."""
    try:
        lines = content.decode().split("\n")
    except UnicodeDecodeError as error:
        raise DataError(f"{file} must be UTF-8; {error}") from error
    merged = {bytes([byte]): None for byte in ALPHABET.values()}
    for number, line in enumerate(lines, start=1):
        if not line.strip() or (number == 1 and line.startswith("#version")):
            continue
        parts = line.split()
        known = len(parts) == 2 and all(set(part) <= ALPHABET.keys() for part in parts)
        pair = [bytes(ALPHABET[c] for c in part) for part in parts] if known else []
        if not known or not all(part in merged for part in pair) or b"".join(pair) in merged:
            raise DataError(
                f"each line of {file} must join two tokens of the lines before it into a new "
                f"one; line {number} is {line[:80]!r}"
            )
        merged[b"".join(pair)] = None
    return list(merged)


def _split_runs(text: str) -> list[str]:
    """Cuts long runs of whitespace where the pattern would: before their last character.

    "a" + 5000 spaces + "b" is "a" and 4999 spaces, then " b": the pieces stay the same.
    """
    cuts = [match.end() for match in LONG_RUN.finditer(text)]
    return [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
