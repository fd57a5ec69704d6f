"""Compares the ids of a tokenizer of this package with those of Hugging Face's, text by text."""

from collections.abc import Iterable, Iterator

import numpy as np
import tokenizers

from pretrain_jax.errors import DataError, short_repr
from pretrain_jax.huggingface import _sentencepiece_backend
from pretrain_jax.huggingface._difficult_texts import DIFFICULT
from pretrain_jax.tokenizers import Tokenizer
from pretrain_jax.tokenizers.sentencepiece import SentencePiece

SHOWN = 8
"""Ids of each side that a message shows, from the first that differs."""


def check_ids(tokenizer: Tokenizer, backend: tokenizers.Tokenizer, *, what: str) -> None:
    """Compares both tokenizers on DIFFICULT and on the text of each id.

    Leaves out texts with the spelling of a special token, which Hugging Face takes for the token.
    what: what is exported or read, for the message. Raises DataError with the first text that has
    different ids.
    """
    for text in _without(backend, _texts(tokenizer)):
        ours, theirs = tokenizer.encode(text).tolist(), encode(backend, text)
        if ours != theirs and not _are_equally_likely(tokenizer, ours, theirs):
            at = next(
                (n for n, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b),
                min(len(ours), len(theirs)),
            )
            raise DataError(
                f"{what} must give the same ids in pretrain_jax and in Hugging Face; the text "
                f"{short_repr(text)} has the ids {ours[at : at + SHOWN]} here and "
                f"{theirs[at : at + SHOWN]} there, from token {at} on"
            )


def encode(backend: tokenizers.Tokenizer, text: str) -> list[int]:
    """The ids of `text` without the special ids that are added around it."""
    return backend.encode(text, add_special_tokens=False).ids


def _texts(tokenizer: Tokenizer) -> Iterator[str]:
    yield from DIFFICULT
    for i in np.flatnonzero(~tokenizer.special).tolist():
        yield tokenizer.decode([i])


def _without(backend: tokenizers.Tokenizer, texts: Iterable[str]) -> Iterator[str]:
    """The texts that have no special token of `backend`, also after normalization."""
    spellings = [token.content for token in backend.get_added_tokens_decoder().values()]
    normalize = backend.normalizer.normalize_str if backend.normalizer else str
    for text in texts:
        normalized = normalize(text)
        if not any(spelling in text or spelling in normalized for spelling in spellings):
            yield text


def _are_equally_likely(tokenizer: Tokenizer, ours: list[int], theirs: list[int]) -> bool:
    """Whether a unigram model can choose either, because only rounding tells them apart."""
    return (
        isinstance(tokenizer, SentencePiece)
        and _sentencepiece_backend.same_likelihood(tokenizer.model, ours, theirs)
        and tokenizer.decode(ours) == tokenizer.decode(theirs)
    )
