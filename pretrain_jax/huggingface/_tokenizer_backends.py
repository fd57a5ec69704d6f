"""The tokenizers of this package as `tokenizers.Tokenizer`, the library behind Hugging Face's.

Each gives the ids of ours. A vocabulary keeps its ids, special ids and sentinels included: GPT-2's
"<|endoftext|>" stays 50256, and T5's "<extra_id_0>" stays 32099.

    bytes, byte_bpe   byte-level BPE; `bytes` is one without merges
    chars             BPE without merges; each unknown character is one <unk>
    wordpiece         our own normalization and splitting, which this library does here too
    sentencepiece     see _sentencepiece_backend.py

In Hugging Face, the spelling of a special token in a text is the special id; here it is plain text.
Where a token includes the space before a word, <mask> and <extra_id_N> take the space before them:
"a <mask> b" has the ids that training makes when it hides a word.
"""

from functools import singledispatch

import tokenizers
from tokenizers import AddedToken, Regex, decoders, models, pre_tokenizers

from pretrain_jax.errors import ConfigError, DataError
from pretrain_jax.huggingface import _sentencepiece_backend
from pretrain_jax.tokenizers import Tokenizer
from pretrain_jax.tokenizers._byte_bpe_files import ALPHABET, spell
from pretrain_jax.tokenizers._byte_bpe_splits import SPLITS, Split
from pretrain_jax.tokenizers.byte_bpe import ByteBPE
from pretrain_jax.tokenizers.bytes import Bytes
from pretrain_jax.tokenizers.chars import Chars
from pretrain_jax.tokenizers.sentencepiece import SentencePiece
from pretrain_jax.tokenizers.wordpiece import WordPiece


def make_backend(tokenizer: Tokenizer) -> tokenizers.Tokenizer:
    """The backend of `tokenizer`, with its special tokens.

    Raises ConfigError for a tokenizer of another kind, DataError for a vocabulary that the library
    cannot hold.
    """
    backend = _without_specials(tokenizer)
    spaced = isinstance(tokenizer, ByteBPE | SentencePiece)
    replacing = {tokenizer.mask, *tokenizer.sentinels}
    # In id order: an id that the model does not have becomes the next one. SentencePiece finds the
    # specials in the normalized text, so that only the text as a whole gets a space in front.
    backend.add_special_tokens(
        [
            AddedToken(
                tokenizer.id_to_token(i),
                special=True,
                lstrip=spaced and i in replacing,
                normalized=isinstance(tokenizer, SentencePiece),
            )
            for i in special_ids(tokenizer)
        ]
    )
    return backend


def special_ids(tokenizer: Tokenizer) -> list[int]:
    """The ids that are special tokens in Hugging Face, ascending: those without text, and unk."""
    return [i for i in range(tokenizer.size) if tokenizer.special[i] or i == tokenizer.unk]


@singledispatch
def _without_specials(tokenizer: Tokenizer) -> tokenizers.Tokenizer:
    raise ConfigError(
        f"a tokenizer must be of a kind that Hugging Face can express; {type(tokenizer).__name__} "
        "has no form there. Use byte_bpe, wordpiece, sentencepiece, chars or bytes"
    )


@_without_specials.register
def _(tokenizer: Bytes) -> tokenizers.Tokenizer:
    specials = {tokenizer.id_to_token(i): i for i in range(len(ALPHABET), tokenizer.size)}
    return _byte_level(models.BPE({**ALPHABET, **specials}, []), None)


@_without_specials.register
def _(tokenizer: ByteBPE) -> tokenizers.Tokenizer:
    merges = [(spell(left), spell(right)) for left, right in tokenizer.merges]
    return _byte_level(models.BPE(ids_by_spelling(tokenizer), merges), tokenizer.split)


@_without_specials.register
def _(tokenizer: Chars) -> tokenizers.Tokenizer:
    lone = next((c for c in tokenizer.characters if "\ud800" <= c <= "\udfff"), None)
    if lone is not None:
        raise DataError(
            "a vocabulary of characters must hold whole characters to be exported; this one has "
            f"the unpaired surrogate {lone!r}. Train it on text without it"
        )
    unknown = tokenizer.id_to_token(len(tokenizer.characters))
    backend = tokenizers.Tokenizer(models.BPE(ids_by_spelling(tokenizer), [], unk_token=unknown))
    backend.decoder = decoders.Fuse()
    return backend


@_without_specials.register
def _(tokenizer: WordPiece) -> tokenizers.Tokenizer:
    backend = tokenizers.Tokenizer.from_str(tokenizer.backend.to_str())
    backend.decoder = decoders.WordPiece(prefix="##", cleanup=False)
    return backend


@_without_specials.register
def _(tokenizer: SentencePiece) -> tokenizers.Tokenizer:
    return _sentencepiece_backend.from_model(tokenizer.model)


def ids_by_spelling(tokenizer: Tokenizer) -> dict[str, int]:
    """The ids of a vocabulary by spelling: {"!": 0, ..., "<|endoftext|>": 50256}."""
    return {tokenizer.id_to_token(i): i for i in range(tokenizer.size)}


def _byte_level(model: models.Model, split: Split | None) -> tokenizers.Tokenizer:
    """A backend over GPT-2's spelling of bytes; split: how it splits text into words, if at all."""
    own = split is SPLITS["gpt2"]  # the library has this pattern
    level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=own)
    backend = tokenizers.Tokenizer(model)
    backend.pre_tokenizer = level
    if split is not None and not own:
        words = pre_tokenizers.Split(Regex(split.published), "isolated")
        backend.pre_tokenizer = pre_tokenizers.Sequence([words, level])
    backend.decoder = decoders.ByteLevel()
    return backend
