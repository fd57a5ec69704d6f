"""A SentencePiece model as a `tokenizers.Tokenizer` with the same ids.

The model's normalization becomes a sequence of replacements: its own table of characters
(`Precompiled`), then white space as `normalizer_spec` says. The space at the start of a text ("a" →
"▁a") comes from `Metaspace`, which adds none where the text has one. So where SentencePiece adds a
second one (" a" → "▁▁a"), the first is doubled before.

Two things are not exact:

- Unigram models: SentencePiece adds scores in 32 bits, `tokenizers` in 64. Where two ways to split
  a text are equally likely, they may choose different ones: in 29 of 30,469 lines of Python with
  8,000 pieces learned from it, in 1 with ALBERT's 30,000 (`same_likelihood`).
- Models with a table of characters (T5; ours with lossless=False): `tokenizers` drops a mark where
  a letter has several (decomposed Vietnamese) or where the table replaces the character before it,
  and does not compose decomposed Korean or half-width kana with a sound mark. Composed text is
  exact, and so is a letter with one mark; 5 of 3,020 random texts differ. All of Hugging Face's
  tokenizers with such a table do this, T5's too.
"""

import re
from collections.abc import Sequence
from typing import Any

import tokenizers
from tokenizers import Regex, decoders, models, normalizers, pre_tokenizers

from pretrain_jax.tokenizers.sentencepiece import ModelProto, Piece

UNIGRAM = 1
"""trainer_spec.model_type of a unigram model."""
NEVER = 1000.0
"""How far the score of a control or byte piece is below all others: its spelling in a text is plain
text, which the library would otherwise take for the piece."""
ROUNDING = 1e-6
"""Relative difference up to which two sums of scores are equal."""


def from_model(content: bytes) -> tokenizers.Tokenizer:
    """The backend of a serialized model, without special tokens."""
    model = ModelProto.FromString(content)
    spec, trainer = model.normalizer_spec, model.trainer_spec
    user_defined = [p.piece for p in model.pieces if p.type == Piece.USER_DEFINED]
    make = _unigram if trainer.model_type == UNIGRAM else _bpe
    backend = tokenizers.Tokenizer(make(model))
    if steps := _normalization(spec):
        backend.normalizer = normalizers.Sequence(steps)
    scheme = "first" if spec.add_dummy_prefix else "never"
    splits: list[pre_tokenizers.PreTokenizer] = [
        pre_tokenizers.Metaspace("▁", prepend_scheme=scheme, split=False)
    ]
    if user_defined:  # SentencePiece takes them whole
        pattern = "|".join(map(re.escape, sorted(user_defined, key=len, reverse=True)))
        splits.append(pre_tokenizers.Split(Regex(pattern), "isolated"))
    backend.pre_tokenizer = pre_tokenizers.Sequence(splits)
    joined = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    stripped = [decoders.Strip(" ", 1, 0)] if spec.add_dummy_prefix else []
    backend.decoder = decoders.Sequence([*joined, *stripped])
    return backend


def _unigram(model: Any) -> models.Model:
    spelled = (Piece.NORMAL, Piece.USER_DEFINED)
    never = min(p.score for p in model.pieces if p.type in spelled) - NEVER
    pieces = [(p.piece, p.score if p.type in spelled else never) for p in model.pieces]
    return models.Unigram(pieces, model.trainer_spec.unk_id, model.trainer_spec.byte_fallback)


def _bpe(model: Any) -> models.Model:
    """SentencePiece merges the pair whose result has the highest score: any two normal pieces."""
    ranks = {p.piece: (-p.score, i) for i, p in enumerate(model.pieces) if p.type == Piece.NORMAL}
    pairs = sorted(
        (rank, piece[:cut], piece[cut:])
        for piece, rank in ranks.items()
        for cut in range(1, len(piece))
        if piece[:cut] in ranks and piece[cut:] in ranks
    )
    return models.BPE(
        {p.piece: i for i, p in enumerate(model.pieces)},
        [(left, right) for _, left, right in pairs],
        unk_token=model.trainer_spec.unk_piece,
        fuse_unk=True,
        byte_fallback=model.trainer_spec.byte_fallback,
        # so that a user-defined piece, which no merge makes, is one token
        ignore_merges=any(p.type == Piece.USER_DEFINED for p in model.pieces),
    )


def _normalization(spec: Any) -> list[normalizers.Normalizer]:
    """What happens to a text before it is split."""
    replace = normalizers.Replace
    steps: list[normalizers.Normalizer] = []
    if spec.precompiled_charsmap:
        steps.append(normalizers.Precompiled(spec.precompiled_charsmap))
    if spec.remove_extra_whitespaces:  # spaces; tabs and newlines are in the table of characters
        steps += [replace(Regex(r"[ ▁]+\z"), ""), replace(Regex(" {2,}"), " ")]
        if not spec.add_dummy_prefix:
            steps.append(replace(Regex(r"\A +"), ""))
    elif spec.add_dummy_prefix:
        steps.append(replace(Regex(r"\A "), "  "))
    if spec.add_dummy_prefix:
        steps.append(replace(Regex(r"\A▁"), " ▁"))
    return steps


def is_unigram(content: bytes) -> bool:
    """Whether a serialized model is a unigram model; otherwise it is BPE."""
    return ModelProto.FromString(content).trainer_spec.model_type == UNIGRAM


def same_likelihood(content: bytes, one: Sequence[int], other: Sequence[int]) -> bool:
    """Whether a unigram model gives two lists of ids the same likelihood, but for rounding."""
    model = ModelProto.FromString(content)
    if not is_unigram(content) or max([*one, *other]) >= len(model.pieces):
        return False
    first, second = (sum(model.pieces[i].score for i in ids) for ids in (one, other))
    return abs(first - second) <= ROUNDING * abs(first)
