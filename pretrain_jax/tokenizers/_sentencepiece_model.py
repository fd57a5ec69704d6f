"""The ids of a SentencePiece model (.model file) and of the sentinels after them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sentencepiece import sentencepiece_model_pb2

from pretrain_jax.tokenizers import sentinel_ids

ModelProto = sentencepiece_model_pb2.ModelProto  # pyright: ignore[reportAttributeAccessIssue]
Piece = ModelProto.SentencePiece


@dataclass(frozen=True)
class Vocabulary:
    """The ids of a model, then those of the appended sentinels."""

    spellings: list[str]
    byte_counts: list[int]
    """UTF-8 bytes of the text of each id."""
    control: dict[str, int]
    """Ids of the control pieces by spelling."""
    sentinels: tuple[int, ...]
    """The id of <extra_id_0>, <extra_id_1>, ..."""


def read_vocabulary(model: Any, sentinels: int) -> Vocabulary:
    """The vocabulary of a model, with at least `sentinels` sentinels.

    Turns special pieces that are "user defined" into control pieces, in `model` too.
    """
    spellings = [piece.piece for piece in model.pieces]
    existing = _find_sentinels(spellings)
    _make_control(model, existing)
    control = {p.piece: i for i, p in enumerate(model.pieces) if p.type == Piece.CONTROL}
    appended = max(sentinels - len(existing), 0)
    numbers = range(len(existing) + appended - 1, len(existing) - 1, -1)
    return Vocabulary(
        spellings=spellings + [f"<extra_id_{i}>" for i in numbers],
        byte_counts=[_size(piece) for piece in model.pieces] + [0] * appended,
        control=control,
        sentinels=existing + sentinel_ids(len(spellings) + appended, appended),
    )


def _size(piece: Any) -> int:
    """UTF-8 bytes of the text of a piece."""
    if piece.type == Piece.BYTE:
        return 1
    if piece.type in (Piece.NORMAL, Piece.USER_DEFINED):
        return len(spaced(piece.piece).encode())
    return 0


def spaced(text: str) -> str:
    """The text of pieces, in which "\u2581" is a space."""
    return text.replace("\u2581", " ")


def _find_sentinels(spellings: Sequence[str]) -> tuple[int, ...]:
    """The ids of <extra_id_0>, <extra_id_1>, ... up to the first one that the model lacks."""
    ids = {spelling: i for i, spelling in enumerate(spellings)}
    sentinels = []
    while (i := ids.get(f"<extra_id_{len(sentinels)}>")) is not None:
        sentinels.append(i)
    return tuple(sentinels)


def _make_control(model: Any, sentinels: Iterable[int]) -> None:
    """Turns "user defined" special pieces, which `encode` would return, into control pieces."""
    names = {f"[{name}]" for name in ("MASK", "CLS", "SEP")} | {"<mask>", "<cls>", "<sep>"}
    sentinels = set(sentinels)
    for i, piece in enumerate(model.pieces):
        if piece.type == Piece.USER_DEFINED and (i in sentinels or piece.piece in names):
            piece.type = Piece.CONTROL
