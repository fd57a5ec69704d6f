"""SentencePiece models from Hugging Face: a .model file with added tokens, or a tokenizer.json.

A tokenizer.json has all that a model has: the pieces, a table of characters, and how white space is
treated. What it does differently shows when ids are compared (`_tokenizer_files.read`).
"""

import base64
import re
from collections.abc import Mapping, Sequence
from typing import Any

from pretrain_jax.errors import DataError
from pretrain_jax.tokenizers.sentencepiece import ModelProto, Piece

BYTE = re.compile("<0x[0-9A-F]{2}>")
UNKNOWN = "<unk>"
"""Where tokenizer.json names none: LlamaTokenizer leaves it to tokenizer_config.json."""
UNIGRAM, BPE = 1, 2
"""trainer_spec.model_type."""


def with_control_pieces(content: bytes, spellings: Sequence[str]) -> bytes:
    """A serialized model with more control pieces after its last id; unchanged without any.

    [PAD], [BOS] and [EOS] become its padding, begin and end if it has none.
    """
    if not spellings:
        return content
    model = ModelProto.FromString(content)
    own, trainer = {piece.piece for piece in model.pieces}, model.trainer_spec
    for spelling in {"[PAD]", "[BOS]", "[EOS]"}.intersection(spellings):
        field = f"{spelling[1:-1].lower()}_piece"
        if getattr(trainer, field) not in own:
            setattr(trainer, field, spelling)
    model.pieces.extend(Piece(piece=spelling, type=Piece.CONTROL) for spelling in spellings)
    return model.SerializeToString(deterministic=True)


def steps(part: Mapping[str, Any] | None) -> list[Mapping[str, Any]]:
    """The steps of a normalizer or pre-tokenizer of a tokenizer.json, which may be a sequence."""
    if part is None:
        return []
    inner = part.get("normalizers", part.get("pretokenizers"))
    return [part] if inner is None else [found for step in inner for found in steps(step)]


def to_model(content: Mapping[str, Any], spellings: Sequence[str]) -> bytes:
    """The serialized model of a tokenizer.json whose ids have these spellings.

    Scores of BPE pieces are their negative priorities, as SentencePiece's trainer writes them.
    """
    stored = content["model"]
    unigram = stored["type"] == "Unigram"
    scores = dict(stored["vocab"]) if unigram else _bpe_scores(stored)
    unknown = spellings[stored["unk_id"]] if unigram else stored["unk_token"] or UNKNOWN
    if unknown not in spellings:
        raise DataError(
            "a SentencePiece model must have an id for unknown text; tokenizer.json has no "
            f"{unknown}"
        )
    control = {token["content"] for token in content["added_tokens"]}
    model = ModelProto()
    for spelling in spellings:
        piece = model.pieces.add(piece=spelling, score=scores.get(spelling, 0.0), type=Piece.NORMAL)
        if spelling == unknown:
            piece.type = Piece.UNKNOWN
        elif spelling in control:
            piece.type = Piece.CONTROL
        elif stored["byte_fallback"] and BYTE.fullmatch(spelling):
            piece.type = Piece.BYTE
    trainer = model.trainer_spec
    trainer.model_type = UNIGRAM if unigram else BPE
    trainer.vocab_size = len(spellings)
    trainer.byte_fallback = stored["byte_fallback"]
    trainer.unk_piece, trainer.unk_id = unknown, spellings.index(unknown)
    _describe_white_space(model.normalizer_spec, content)
    return model.SerializeToString(deterministic=True)


def _bpe_scores(stored: Mapping[str, Any]) -> dict[str, float]:
    """The score of each result of a merge: 0 for the first, -1 for the second."""
    return {
        token: -float(n)
        for n, token in enumerate(dict.fromkeys(a + b for a, b in stored["merges"]))
    }


def _describe_white_space(spec: Any, content: Mapping[str, Any]) -> None:
    """Fills in a normalizer_spec."""
    found = steps(content["normalizer"]) + steps(content["pre_tokenizer"])
    table = next((s["precompiled_charsmap"] for s in found if s["type"] == "Precompiled"), "")
    spec.precompiled_charsmap = base64.b64decode(table)
    spec.remove_extra_whitespaces = any(
        s["type"] == "WhitespaceSplit" or s.get("pattern") == {"Regex": " {2,}"} for s in found
    )
    spec.add_dummy_prefix = any(
        s["type"] == "Prepend" or s.get("prepend_scheme") in ("first", "always") for s in found
    )
    spec.escape_whitespaces = True
