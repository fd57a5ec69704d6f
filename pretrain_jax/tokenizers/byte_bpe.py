"""Byte-level BPE in GPT-2's file format: encoder.json (spelling → id) and vocab.bpe (merges).

The Hugging Face names of these files, vocab.json and merges.txt, work as well. `tiktoken` encodes:
it splits text with GPT-2's pattern, and special tokens are plain text. Nothing is downloaded. A
space belongs to the word after it: a token that starts with whitespace starts a word. LLaMA 3's
vocabulary splits text otherwise (_byte_bpe_splits.py), which splitting.json in the folder says.

RoBERTa splits text like GPT-2 but has other ids. They come from a third file in the same folder,
fairseq's dict.txt: <s> 0, <pad> 1, </s> 2, <unk> 3, then the lines of dict.txt from 4 on, then
<mask>. Hugging Face's vocab.json of RoBERTa already has these ids and needs no dict.txt.
"""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import tiktoken
import tokenizers
from etils import epath

from pretrain_jax.errors import ConfigError, DataError, short_repr
from pretrain_jax.files import parsing
from pretrain_jax.process import child
from pretrain_jax.tokenizers import (
    SPECIAL_NAMES,
    Tokenizer,
    _added,
    fingerprint_of,
    limit_characters,
    read_only_array,
    read_vocabulary_file,
    replace_surrogates,
    sentinel_ids,
)
from pretrain_jax.tokenizers._byte_bpe_files import (
    ALPHABET,
    SPECIAL,
    merged_tokens,
    read_encoder,
    read_merges,
    renumber,
    spell,
)
from pretrain_jax.tokenizers._byte_bpe_splits import SPLITS

FILES = (("encoder.json", "vocab.bpe"), ("vocab.json", "merges.txt"))
FAIRSEQ_FILE = "dict.txt"
SPLITTING_FILE = "splitting.json"
"""{"split": "llama3"}, or absent for GPT-2's pattern."""
SPECIALS = ("<|endoftext|>", "<|pad|>", "<|mask|>", "<|cls|>", "<|sep|>")
# Spellings of GPT-2 and of vocabularies trained here, those of RoBERTa, and those of LLaMA 3.
# RoBERTa starts with <s>, where BERT has [CLS], and separates with </s>.
SPELLINGS = {
    "pad": ("<|pad|>", "<pad>", "<|finetune_right_pad_id|>"),
    "unk": ("<unk>",),
    "bos": ("<s>", "<|endoftext|>", "<|begin_of_text|>"),
    "eos": ("</s>", "<|endoftext|>", "<|end_of_text|>"),
    "mask": ("<|mask|>", "<mask>"),
    "cls": ("<|cls|>", "<s>"),
    "sep": ("<|sep|>", "</s>"),
}
ADDED = "<|{}|>"
"""Spelling of an added id, by name."""
TRAIN_CHARACTERS = 50_000_000
"""Training reads this much of the corpus; more text hardly changes the merges."""
LONGEST_RUN = 1024
"""Characters; longer runs without whitespace, or of whitespace only, are split for training. A
merge scans its word, so the time grows with the square of the word length."""
RUN = re.compile(rf"(?<!\S)\S{{{LONGEST_RUN},}}|(?<!\s)\s{{{LONGEST_RUN},}}")


class ByteBPE(Tokenizer):
    """Ids of encoder.json, then the sentinels, then the added special ids. No text is unknown.

    merges     the pairs of tokens that are merged, by priority
    ids        the ids of the 256 bytes and of the results of the merges
    specials   the other entries of encoder.json
    split      name of the pattern that splits a text into words, one of SPLITS
    added      names of special ids that `specials` lacks
    """

    def __init__(
        self,
        merges: list[tuple[bytes, bytes]],
        ids: list[int],
        specials: dict[str, int],
        sentinels: int,
        split: str = "gpt2",
        added: Sequence[str] = (),
    ):
        merged = merged_tokens(merges)
        self.merges = merges
        self.split = SPLITS[split]
        size = len(merged) + len(specials)
        self.size = size + sentinels
        self.pad, self.unk, self.bos, self.eos, self.mask, self.cls, self.sep = (
            next((specials[spelling] for spelling in SPELLINGS[name] if spelling in specials), None)
            for name in SPECIAL_NAMES
        )
        self.sentinels = sentinel_ids(self.size, sentinels)
        self._special_spelling = {i: spelling for spelling, i in specials.items()}
        self._bytes = [b""] * self.size
        for token, i in zip(merged, ids, strict=True):
            self._bytes[i] = token
        # tiktoken uses ids as priorities; ids in another order are mapped afterwards.
        self._id_of_rank = None if ids == list(range(len(ids))) else np.array(ids, np.int32)
        self._encoding = tiktoken.Encoding(
            "byte_bpe",
            pat_str=self.split.pattern,
            mergeable_ranks={token: rank for rank, token in enumerate(merged)},
            # Never allowed, so never matched; without any, tiktoken is 50 % slower.
            special_tokens={"<|endoftext|>": len(merged)},
        )
        self.fingerprint = fingerprint_of(
            *("byte_bpe", self.split.pattern, [token.hex() for token in merged]),
            *(ids, specials, sentinels, *([list(added)] if added else [])),
        )
        for spelling, i in _added.append_ids(self, added, ADDED.format).items():
            self._special_spelling[i] = spelling
            self._bytes.append(b"")

    def encode(self, text: str) -> np.ndarray:
        ranks = self._ranks(text).view(np.int32)
        return ranks if self._id_of_rank is None else self._id_of_rank[ranks]

    def _ranks(self, text: str) -> np.ndarray:
        try:
            return self._encoding.encode_to_numpy(text, disallowed_special=())
        except UnicodeEncodeError:
            return self._ranks(replace_surrogates(text))
        except ValueError:
            parts = self.split.cut_long_runs(text)
            if len(parts) == 1:
                raise
            return np.concatenate([self._ranks(part) for part in parts])

    def decode(self, ids: Sequence[int] | np.ndarray) -> str:
        spellings = self._bytes
        return b"".join([spellings[i] for i in np.asarray(ids).tolist()]).decode("utf-8", "replace")

    def id_to_token(self, token: int) -> str:
        if token in self.sentinels:
            return f"<extra_id_{self.sentinels.index(token)}>"
        return self._special_spelling.get(token) or spell(self._bytes[token])

    @cached_property
    def special(self) -> np.ndarray:
        """All ids without bytes. No byte is unknown, so this includes <unk>."""
        return read_only_array(not token for token in self._bytes)

    @cached_property
    def word_starts(self) -> np.ndarray:
        return read_only_array(token[:1].isspace() or not token for token in self._bytes)

    @cached_property
    def token_bytes(self) -> np.ndarray:
        return read_only_array(map(len, self._bytes), np.int32)

    def how_to_add(self, names: Sequence[str]) -> str:
        return _added.how_to_add(names)


def load(path: epath.PathLike, *, sentinels: int = 0, added: tuple[str, ...] = ()) -> ByteBPE:
    """Reads encoder.json, vocab.bpe and, if present, dict.txt from the folder `path`.

    GPT-2: 50257 ids, bos = eos = <|endoftext|> = 50256, no padding. RoBERTa, with its dict.txt:
    50265 ids, bos = cls = <s> = 0, eos = sep = </s> = 2, <pad> 1, <mask> 50264.

    Raises DataError if the files do not belong to one vocabulary, ConfigError for an added id that
    it has already.
    """
    folder = epath.Path(path)
    encoder_file, merges_file = next((f for f in FILES if (folder / f[0]).exists()), FILES[0])
    encoder = read_encoder(
        read_vocabulary_file(folder / encoder_file, encoder_file), folder / encoder_file
    )
    if (folder / FAIRSEQ_FILE).exists():
        encoder = renumber(encoder, (folder / FAIRSEQ_FILE).read_bytes(), folder / FAIRSEQ_FILE)
    merges = read_merges(
        read_vocabulary_file(folder / merges_file, merges_file), folder / merges_file
    )
    spellings = [spell(token) for token in merged_tokens(merges)]
    missing = next((spelling for spelling in spellings if spelling not in encoder), None)
    if missing is not None:
        raise DataError(
            f"every byte and every merge of {merges_file} must have an id in {encoder_file}; "
            f"{missing!r} has none in {path}; do both files belong to one vocabulary?"
        )
    ids = [encoder.pop(spelling) for spelling in spellings]
    unmade = next((spelling for spelling in encoder if not SPECIAL.fullmatch(spelling)), None)
    if unmade is not None:
        raise DataError(
            f"every id of {encoder_file} must be a byte, a merge of {merges_file} or a special "
            f"token like <|endoftext|>; {unmade!r} in {path} is none of these; is {merges_file} "
            "complete?"
        )
    return ByteBPE(merges, ids, encoder, sentinels, _read_split(folder / SPLITTING_FILE), added)


def _read_split(file: epath.Path) -> str:
    """The name of the pattern in splitting.json; GPT-2's without that file."""
    if not file.exists():
        return "gpt2"
    split = parsing.read_json(file, "restore it", {"split": str})["split"]
    if split not in SPLITS:
        raise DataError(
            f'{file} must hold {{"split": NAME}} with one of the patterns {", ".join(SPLITS)}; '
            f"received {short_repr(split)}"
        )
    return split


def train(
    texts: Iterable[str],
    directory: epath.PathLike,
    *,
    vocab_size: int,
    sentinels: int = 0,
    added: tuple[str, ...] = (),
) -> None:
    """Learns merges and writes encoder.json and vocab.bpe.

    The same texts give the same files in every process. Ids: 256 bytes, merges, then
    <|endoftext|> (begin and end of a document, as in GPT-2), <|pad|>, <|mask|>, <|cls|>, <|sep|>.
    Raises ConfigError for any id in `added`.
    """
    _added.refuse_to_train(added)
    room = vocab_size - len(SPECIALS) - sentinels
    if room < len(ALPHABET):
        raise ConfigError(
            f"model.vocab_size must hold 256 bytes, {len(SPECIALS)} special ids and tokenizer."
            f"sentinels={sentinels}, {vocab_size - room + 256} in all; received {vocab_size}"
        )
    parts = [
        part for text in limit_characters(texts, TRAIN_CHARACTERS) for part in _cut_long_runs(text)
    ]
    model = child.call_in_child(learn, texts=parts, size=room)
    encoder = model["vocab"]
    for special in SPECIALS:
        encoder[special] = len(encoder)
    merges = "".join(f"{left} {right}\n" for left, right in model["merges"])
    folder = epath.Path(directory)
    (folder / "encoder.json").write_bytes(json.dumps(encoder).encode())
    (folder / "vocab.bpe").write_bytes(f"#version: 0.2\n{merges}".encode())


def learn(texts: list[str], size: int) -> dict[str, Any]:
    """A model of `size` bytes and merges in the format of the library: "vocab" and "merges"."""
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
    """Splits `text`, but only inside runs that are longer than LONGEST_RUN."""
    at = 0
    for run in RUN.finditer(text):
        for cut in range(run.start() + LONGEST_RUN, run.end(), LONGEST_RUN):
            yield text[at:cut]
            at = cut
    yield text[at:]
