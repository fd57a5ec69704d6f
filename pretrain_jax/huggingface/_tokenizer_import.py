"""Reading the tokenizer of a Hugging Face folder; see `read`."""

import contextlib
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tokenizers
from etils import epath
from google.protobuf.message import DecodeError
from tokenizers import models, pre_tokenizers

from pretrain_jax import registry
from pretrain_jax.errors import DataError, InputMissing, UserError
from pretrain_jax.files import parsing
from pretrain_jax.huggingface import _tokenizer_readers as readers
from pretrain_jax.huggingface._tokenizer_check import check_ids
from pretrain_jax.huggingface._tokenizer_readers import Imported as Imported
from pretrain_jax.tokenizers import Tokenizer
from pretrain_jax.tokenizers.bytes import Bytes
from pretrain_jax.tokenizers.sentencepiece import ModelProto

JSON = "tokenizer.json"
MODELS = ("spiece.model", "tokenizer.model", "sentencepiece.bpe.model")
EXTRA_IDS = 100
"""Sentinels that T5Tokenizer adds by default."""
FIX = "download the folder again"


def read(folder: epath.Path, *, vocab_size: int) -> Imported:
    """The tokenizer of a Hugging Face folder, as one of this package with the same ids.

    vocab_size: ids of the model; the tokenizer may have fewer (T5: 32100 of 32128).

    Uses the first of these files that the folder has:

    - tokenizer.json with byte-level BPE (GPT-2, RoBERTa)
    - spiece.model or tokenizer.model (T5, LLaMA 1 and 2), and the tokens that other files add. It
      defines the ids; a tokenizer.json next to it is Hugging Face's copy, which must have the same
      spellings, but may split rare characters otherwise
    - any other tokenizer.json (BERT, ELECTRA, a SentencePiece model without its own file)
    - vocab.json and merges.txt (GPT-2, RoBERTa)
    - vocab.txt (BERT, ELECTRA)

    Raises InputMissing without any of them, DataError if they are damaged, if nothing here
    corresponds to the tokenizer, or if a text has other ids here (`check_ids`).
    """
    imported, backend, defines = _find(folder, vocab_size)
    tokenizer = _load(imported, folder)
    if tokenizer.size > vocab_size:
        raise DataError(
            f"a tokenizer must have at most as many ids as its model; that of {folder} has "
            f"{tokenizer.size} and the model {vocab_size}"
        )
    if backend is not None:
        _check_spellings(tokenizer, backend, folder)
        if defines:
            with _report_damage(folder):
                check_ids(tokenizer, backend, what=f"the tokenizer of {folder}")
    return imported


def _find(
    folder: epath.Path, vocab_size: int
) -> tuple[Imported, tokenizers.Tokenizer | None, bool]:
    """(the tokenizer, Hugging Face's own if it has a file, whether that one defines the ids)."""
    backend = _read_backend(folder / JSON) if (folder / JSON).exists() else None
    content = {} if backend is None else json.loads(backend.to_str())
    file = next((folder / name for name in MODELS if (folder / name).exists()), None)
    if file is not None and not (content and readers.has_byte_level(content)):
        model = _read_bytes(file)
        pieces = _count_pieces(model, file)
        with _report_damage(folder):
            added = _added_tokens(folder, content, pieces, vocab_size)
        return readers.read_sentencepiece(model, added), backend, False
    if backend is not None:
        return readers.read_tokenizer_json(content), backend, True
    if (folder / "vocab.json").exists():
        vocabulary = parsing.read_json(folder / "vocab.json", FIX)
        lines = _read_bytes(folder / "merges.txt").decode("utf-8", "replace").split("\n")
        merges = [line.split() for line in lines if line and not line.startswith("#version")]
        backend = _gpt2_backend(vocabulary, merges, folder)
        return readers.read_byte_bpe(vocabulary, merges), backend, True
    if (folder / "vocab.txt").exists():
        config = _read_optional(folder / "tokenizer_config.json")
        return readers.read_vocab_txt(_read_bytes(folder / "vocab.txt"), config), None, False
    raise InputMissing(
        f"a folder with a tokenizer must have {JSON}, {', '.join(MODELS[:2])}, vocab.json and "
        f"merges.txt, or vocab.txt; {folder} has none of them; {FIX}"
    )


def _read_backend(file: epath.Path) -> tokenizers.Tokenizer:
    """The tokenizer of a tokenizer.json. Raises DataError if the library cannot use it."""
    content = _read_bytes(file)
    parsing.parse_json_as(content, dict, str(file), FIX)
    with _report_damage(file):
        return tokenizers.Tokenizer.from_str(content.decode())


@contextlib.contextmanager
def _report_damage(path: epath.Path) -> Iterator[None]:
    """A block that uses content of `path`: what it raises becomes a DataError.

    The library raises plain Exceptions, and for some damage a panic, which is a BaseException.
    Values of a wrong type in a JSON file raise here too.
    """
    try:
        yield
    except (UserError, KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:
        raise DataError(f"{path} must be a tokenizer of Hugging Face; {error}; {FIX}") from error


def _gpt2_backend(
    vocabulary: dict[str, Any], merges: list[list[str]], folder: epath.Path
) -> tokenizers.Tokenizer:
    """Hugging Face's tokenizer of a vocab.json and a merges.txt."""
    with _report_damage(folder / "vocab.json"):
        model = models.BPE(vocabulary, [(left, right) for left, right in merges])
    backend = tokenizers.Tokenizer(model)
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return backend


def _count_pieces(content: bytes, file: epath.Path) -> int:
    """The number of ids of a .model file. Raises DataError if it is no SentencePiece model."""
    try:
        if pieces := len(ModelProto.FromString(content).pieces):
            return pieces
        raise DecodeError("it has no pieces")
    except DecodeError as error:
        raise DataError(f"{file} must be a SentencePiece model; {error}; {FIX}") from error


def _added_tokens(
    folder: epath.Path, content: dict[str, Any], pieces: int, vocab_size: int
) -> dict[str, int]:
    """Ids of the tokens that Hugging Face adds to a .model file with so many pieces."""
    config = _read_optional(folder / "tokenizer_config.json")
    model_type = _read_optional(folder / "config.json").get("model_type")
    listed = config.get("added_tokens_decoder") or {}
    tokens = content.get("added_tokens") or [{**token, "id": int(i)} for i, token in listed.items()]
    added = {token["content"]: token["id"] for token in tokens if token["id"] >= pieces}
    added = added or _read_optional(folder / "added_tokens.json")
    if not added and (model_type == "t5" or "extra_ids" in config):
        extra = config.get("extra_ids", EXTRA_IDS if pieces + EXTRA_IDS <= vocab_size else 0)
        added = {f"<extra_id_{n}>": pieces + extra - 1 - n for n in range(extra)}
    if sorted(added.values()) != list(range(pieces, pieces + len(added))):
        raise DataError(
            f"the tokens that are added to a SentencePiece model must have the ids that follow its "
            f"{pieces} pieces; those of {folder} have {sorted(added.values())[:8]} ..."
        )
    return added


def _load(imported: Imported, folder: epath.Path) -> Tokenizer:
    """The tokenizer, read from its files as a run reads them. Raises DataError."""
    module = registry.load("tokenizers", imported.name, "tokenizer.name")
    with tempfile.TemporaryDirectory() as place:
        for name, content in imported.files.items():
            (Path(place) / name).write_bytes(content)
        try:
            return module.load(place, **imported.options)
        except DataError as error:
            reason = str(error).replace(place, f"its {imported.name} form")
            raise DataError(f"the tokenizer of {folder} must be whole; {reason}") from error


def _check_spellings(
    tokenizer: Tokenizer, backend: tokenizers.Tokenizer, folder: epath.Path
) -> None:
    """Raises DataError unless each id has the same spelling in both."""
    first = 256 if isinstance(tokenizer, Bytes) else 0  # which have no spelling
    for i in range(first, max(tokenizer.size, backend.get_vocab_size())):
        ours = tokenizer.id_to_token(i) if i < tokenizer.size else None
        if ours != backend.id_to_token(i):
            raise DataError(
                f"the files of a tokenizer must have the same tokens; in {folder}, id {i} is "
                f"{backend.id_to_token(i)!r} in one and {ours!r} in another; {FIX}"
            )


def _read_bytes(file: epath.Path) -> bytes:
    try:
        return file.read_bytes()
    except FileNotFoundError as error:
        raise InputMissing(f"{file} must exist; {error.strerror}; {FIX}") from error
    except OSError as error:
        raise DataError(f"{file} must be readable; {error.strerror or error}; {FIX}") from error


def _read_optional(file: epath.Path) -> dict[str, Any]:
    """The object in a JSON file; {} if there is no such file."""
    return parsing.read_json(file, FIX) if file.exists() else {}
