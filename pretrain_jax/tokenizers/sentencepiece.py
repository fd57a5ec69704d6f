"""SentencePiece: a .model file, unigram or BPE, as T5, ALBERT and LLaMA use it.

A word starts at a piece that starts with "▁" (U+2581), which stands for a space, or with a newline
or a tab. `encode` never returns control pieces (<s>, [MASK], <extra_id_0> ...), even if a document
contains their spelling.
"""

import base64
import io
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import sentencepiece
from etils import epath
from google.protobuf.message import DecodeError

from pretrain_jax.errors import ConfigError, DataError
from pretrain_jax.process import child
from pretrain_jax.tokenizers import (
    Tokenizer,
    _added,
    _offsets,
    fingerprint_of,
    limit_characters,
    read_only_array,
    read_vocabulary_file,
    replace_surrogates,
)
from pretrain_jax.tokenizers._sentencepiece_model import ModelProto as ModelProto
from pretrain_jax.tokenizers._sentencepiece_model import Piece as Piece
from pretrain_jax.tokenizers._sentencepiece_model import read_vocabulary, spaced

FILE = "sentencepiece.model"
KINDS = ("unigram", "bpe")
WHITESPACE = ("\u2581", "\t", "\r", "<0x09>", "<0x0A>", "<0x0B>", "<0x0C>", "<0x0D>")
TRAIN_CHARACTERS = 10_000_000
"""Training reads this much of the corpus. It uses one thread, so that it is deterministic."""
LONGEST_LINE = 4000
"""Characters; longer lines are split for training (the library would skip them)."""
RUN_CHARACTERS = 250_000
"""Training reads this much of runs of LONGEST_LINE ASCII characters without a space (DNA, base64).
The time to train a unigram model grows faster than their length, and no language has such words."""


class SentencePiece(Tokenizer):
    """Ids of the model, then additional sentinels if the model has fewer than `sentinels`, then the
    special ids `added`.

    T5's spiece.model has 32000 pieces; with 100 sentinels, <extra_id_0> is 32099 and <extra_id_99>
    is 32000, as in T5.
    """

    def __init__(self, model: Any, sentinels: int, added: Sequence[str] = ()):
        self._vocabulary = vocabulary = read_vocabulary(model, sentinels)
        self.model = serialized = model.SerializeToString(deterministic=True)
        self._processor = sentencepiece.SentencePieceProcessor(model_proto=serialized)
        self._collapses = model.normalizer_spec.remove_extra_whitespaces
        self.lead_bytes = int(model.normalizer_spec.add_dummy_prefix)
        model.normalizer_spec.add_dummy_prefix = False
        self._within = sentencepiece.SentencePieceProcessor(model_proto=model.SerializeToString())
        self.size = len(vocabulary.spellings)
        self.sentinels = vocabulary.sentinels
        self.pad, self.unk, self.bos, self.eos = (
            None if i < 0 else i
            for i in (
                self._processor.pad_id(),
                self._processor.unk_id(),
                self._processor.bos_id(),
                self._processor.eos_id(),
            )
        )
        self.mask, self.cls, self.sep = (
            vocabulary.control.get(f"[{name}]", vocabulary.control.get(f"<{name.lower()}>"))
            for name in ("MASK", "CLS", "SEP")
        )
        appended = self.size - len(model.pieces)
        parts = [serialized.hex(), appended, *([list(added)] if added else [])]
        self.fingerprint = fingerprint_of("sentencepiece", *parts)
        for spelling, i in _added.append_ids(self, added, lambda name: f"[{name.upper()}]").items():
            vocabulary.spellings.append(spelling)
            vocabulary.byte_counts.append(0)
            vocabulary.control[spelling] = i

    def encode(self, text: str) -> np.ndarray:
        return self._processor.encode(replace_surrogates(text), return_type="numpy")

    def encode_after(self, text: str, before: str) -> np.ndarray:
        """Encodes without the space that the model adds at the start of a text.

        If the model collapses whitespace and there is whitespace at the split, that space stands
        for it, because the model strips whitespace at both ends.
        """
        processor = self._processor_after(text, before)
        return processor.encode(replace_surrogates(text), return_type="numpy")

    def _processor_after(self, text: str, before: str) -> sentencepiece.SentencePieceProcessor:
        has_space = self._collapses and (before.isspace() or text[:1].isspace())
        return self._processor if not before or has_space else self._within

    def encode_with_offsets(self, text: str, before: str = "") -> tuple[np.ndarray, np.ndarray]:
        processor, readable = self._processor_after(text, before), replace_surrogates(text)
        ids = processor.encode(readable, return_type="numpy")
        normalized, places = processor.normalize(readable, with_offsets=True)
        sizes = self.token_bytes[ids]
        if unknown := np.flatnonzero(ids == self.unk).tolist():
            pieces = processor.encode(readable, return_type=str)  # the text of each <unk>
            sizes[unknown] = [len(spaced(pieces[i]).encode()) for i in unknown]
        spans = _offsets.normalized_spans(spaced(normalized), places, sizes)
        return ids, _offsets.in_original(spans, text)

    def unknown_bytes(self, text: str) -> int:
        lost = 0
        for line in replace_surrogates(text).split("\n"):  # limits the number of piece objects
            pieces = self._processor.encode(line, return_type="proto").pieces
            lost += sum(len(p.surface.encode()) for p in pieces if p.id == self.unk)
        return lost

    def decode(self, ids: Sequence[int] | np.ndarray) -> str:
        ids = np.asarray(ids, np.int64)
        return self._processor.decode(ids[~self.special[ids]].tolist())

    def id_to_token(self, token: int) -> str:
        return self._vocabulary.spellings[token]

    @cached_property
    def special(self) -> np.ndarray:
        ids = {*self._vocabulary.control.values(), *self.sentinels}
        return read_only_array(i in ids for i in range(self.size))

    @cached_property
    def word_starts(self) -> np.ndarray:
        starts = (spelling.startswith(WHITESPACE) for spelling in self._vocabulary.spellings)
        return read_only_array(a or b for a, b in zip(self.special, starts, strict=True))

    @cached_property
    def token_bytes(self) -> np.ndarray:
        return read_only_array(self._vocabulary.byte_counts, np.int32)

    def how_to_add(self, names: Sequence[str]) -> str:
        return _added.how_to_add(names)


def load(path: epath.PathLike, *, sentinels: int = 0, added: tuple[str, ...] = ()) -> SentencePiece:
    """Reads a .model file. `sentinels` counts its own <extra_id_0>, <extra_id_1> ..., then new ids.

    The file contains all other options of `train`. Raises DataError for another file, ConfigError
    for an added id that it has already.
    """
    content = read_vocabulary_file(path, FILE)
    model = ModelProto()
    try:
        model.ParseFromString(content)
        if not (model.pieces and model.HasField("trainer_spec")):
            raise ValueError("it is cut short")
        if not all(isinstance(piece.piece, str) for piece in model.pieces):
            raise ValueError("a piece is not valid UTF-8")
        return SentencePiece(model, sentinels, added)
    except (DecodeError, RuntimeError, ValueError) as error:
        raise DataError(f"{path} must be a SentencePiece model; {error}") from error


def train(
    texts: Iterable[str],
    directory: epath.PathLike,
    *,
    vocab_size: int,
    kind: str = "unigram",
    character_coverage: float = 0.9995,
    lossless: bool = True,
    sentinels: int = 0,
    added: tuple[str, ...] = (),
) -> None:
    """Learns a unigram or BPE model; the same texts give the same file, in any process.

    character_coverage: share of the characters of the corpus that have their own piece.
    lossless: whether `decode` returns the original text, as in LLaMA: text is not normalized, white
        space is kept, and a character without a piece is encoded as bytes. (Only "▁" itself is
        decoded as a space.) If False, as in T5: NFKC is applied, a run of white space becomes one
        space, and a character without a piece becomes <unk>.

    Ids: <pad> 0, </s> 1, <unk> 2 as in T5, <s> 3, [MASK] 4, [CLS] 5, [SEP] 6, then the pieces.
    Raises ConfigError for any id in `added`.
    """
    _added.refuse_to_train(added)
    if kind not in KINDS:
        raise ConfigError(f"tokenizer.kind must be one of {', '.join(KINDS)}; received {kind!r}")
    lines = list(_lines(limit_characters(texts, TRAIN_CHARACTERS)))
    options = {
        "model_type": kind,
        "vocab_size": vocab_size - sentinels,
        "hard_vocab_limit": False,
        "character_coverage": character_coverage,
        "byte_fallback": lossless,
        "normalization_rule_name": "identity" if lossless else "nmt_nfkc",
        "remove_extra_whitespaces": not lossless,
        "allow_whitespace_only_pieces": lossless,
        "max_sentence_length": 4 * LONGEST_LINE,
        "control_symbols": ["[MASK]", "[CLS]", "[SEP]"],
        "pad_id": 0,
        "eos_id": 1,
        "unk_id": 2,
        "bos_id": 3,
        "num_threads": 1,  # the unigram model's sums differ with the number of threads
        "minloglevel": 2,
    }
    try:
        model = child.call_in_child(learn, lines=lines, options=options)
    except RuntimeError as error:
        raise ConfigError(
            f"SentencePiece could not train {vocab_size - sentinels} pieces (model.vocab_size - "
            f"tokenizer.sentinels) on this corpus: {error}"
        ) from error
    (epath.Path(directory) / FILE).write_bytes(base64.b64decode(model))


def learn(lines: list[str], options: dict[str, Any]) -> str:
    """The base64 of the .model file of a model trained on these lines."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines), model_writer=model, **options
    )
    return base64.b64encode(model.getvalue()).decode()


def _lines(texts: Iterable[str]) -> Iterator[str]:
    """The lines of the texts, without characters that would make the library skip a line."""
    left = RUN_CHARACTERS
    for text in texts:
        for line in text.replace("\0", "").split("\n"):
            for begin in range(0, len(line), LONGEST_LINE):
                part = line[begin : begin + LONGEST_LINE]
                if len(part) == LONGEST_LINE and part.isascii() and len(part.split()) == 1:
                    left -= len(part)
                    if left < 0:
                        continue
                yield part
