"""Tokenizer files of Hugging Face as tokenizers of this package, one function for each kind.

Each returns an `Imported`, or raises DataError with what the kind here cannot express. Nothing is
compared here; `_tokenizer_files.read` compares ids.
"""

import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pretrain_jax.errors import DataError, short_repr
from pretrain_jax.huggingface import _sentencepiece_import
from pretrain_jax.huggingface._sentencepiece_import import steps
from pretrain_jax.tokenizers import (
    SPECIAL_NAMES,
    _splitting,
    byte_bpe,
    chars,
    sentencepiece,
    wordpiece,
)
from pretrain_jax.tokenizers._byte_bpe_files import ALPHABET
from pretrain_jax.tokenizers._byte_bpe_splits import SPLITS
from pretrain_jax.tokenizers.bytes import FILE as BYTES_FILE
from pretrain_jax.tokenizers.bytes import LAYOUT

LONGEST_WORD = 100
"""BertTokenizer's max_input_chars_per_word, which vocab.txt does not have."""


@dataclass(frozen=True)
class Imported:
    """A tokenizer of this package: `tokenizer.name`, its options, and its files."""

    name: str
    options: dict[str, Any]
    """Keys of `tokenizer`: {"sentinels": 100}."""
    files: dict[str, bytes]
    """Content by name, for the folder `tokenizer/` of a workdir."""


def read_tokenizer_json(content: Mapping[str, Any]) -> Imported:
    """The tokenizer of a tokenizer.json, as the library `tokenizers` writes it."""
    model = content["model"]
    matched = next((t["content"] for t in content["added_tokens"] if not t["special"]), None)
    if matched is not None:
        raise DataError(
            "all added tokens of tokenizer.json must be special; Hugging Face looks for "
            f"{short_repr(matched)} in a text before it splits words, which no tokenizer here does"
        )
    if model["type"] == "WordPiece":
        return _read_wordpiece_json(content)
    if model["type"] == "BPE" and has_byte_level(content):
        return _read_byte_level_json(content)
    if model["type"] == "BPE" and not model["merges"]:
        return _read_chars_json(content)
    if model["type"] not in ("BPE", "Unigram") or model.get("end_of_word_suffix"):
        raise DataError(
            "the model of tokenizer.json must be byte-level BPE, WordPiece, or SentencePiece's BPE "
            f"or unigram; it is {model['type']}"
            + (" with marks at the ends of words" if model.get("end_of_word_suffix") else "")
        )
    vocabulary = _vocabulary(content)
    n = count_sentinels(vocabulary)
    file = _sentencepiece_import.to_model(content, list(vocabulary)[: len(vocabulary) - n])
    return Imported("sentencepiece", {"sentinels": n}, {sentencepiece.FILE: file})


def read_sentencepiece(content: bytes, added: Mapping[str, int]) -> Imported:
    """A .model file; added: ids that follow those of the model, by spelling."""
    n = count_sentinels(added)
    others = sorted(added, key=added.__getitem__)[: len(added) - n]
    file = _sentencepiece_import.with_control_pieces(content, others)
    return Imported("sentencepiece", {"sentinels": n}, {sentencepiece.FILE: file})


def read_vocab_txt(content: bytes, config: Mapping[str, Any]) -> Imported:
    """BERT's vocab.txt, with the options of BertTokenizer in tokenizer_config.json."""
    lower_case = config.get("do_lower_case", True)
    _check_bert(
        {
            "lowercase": lower_case,
            "strip_accents": config.get("strip_accents"),
            "handle_chinese_chars": config.get("tokenize_chinese_chars", True),
            "clean_text": True,
        }
    )
    pieces = content.decode("utf-8", "replace").rstrip("\r\n").split("\n")
    return _wordpiece([piece.rstrip("\r") for piece in pieces], lower_case, _limit(LONGEST_WORD))


def read_byte_bpe(
    vocabulary: Mapping[str, int], merges: Sequence[Sequence[str]], split: str = "gpt2"
) -> Imported:
    """A byte-level BPE: ids by spelling, pairs by priority, and how it splits text into words.

    A tokenizer.json made from tiktoken's format has a token several times, once for each pair that
    makes it. tiktoken, which encodes here, merges every pair that makes a token, so one is enough:
    the first of two earlier tokens.
    """
    vocabulary, added = _without_added(vocabulary)
    n = count_sentinels(vocabulary)
    encoder = {spelling: i for spelling, i in vocabulary.items() if i < len(vocabulary) - n}
    pairs: dict[str, list[Sequence[str]]] = {}
    for pair in merges:
        pairs.setdefault("".join(pair), []).append(pair)
    earlier, lines = set(ALPHABET), ["#version: 0.2\n"]
    for token, ways in pairs.items():
        lines.append(" ".join(next((w for w in ways if earlier.issuperset(w)), ways[0])) + "\n")
        earlier.add(token)
    files = {"encoder.json": json.dumps(encoder).encode(), "vocab.bpe": "".join(lines).encode()}
    if split != "gpt2":
        files[byte_bpe.SPLITTING_FILE] = (json.dumps({"split": split}) + "\n").encode()
    return Imported("byte_bpe", {"sentinels": n, **added}, files)


def _without_added(
    vocabulary: Mapping[str, int],
) -> tuple[Mapping[str, int], dict[str, tuple[str, ...]]]:
    """(the ids up to the sentinels, {"added": names of the special ids after them} if any).

    Without sentinels, special ids at the end are entries of encoder.json like any other.
    """
    names = {byte_bpe.ADDED.format(name): name for name in SPECIAL_NAMES}
    spellings = sorted(vocabulary, key=vocabulary.__getitem__, reverse=True)
    last = list(itertools.takewhile(names.__contains__, spellings))
    before = {spelling: vocabulary[spelling] for spelling in spellings[len(last) :]}
    if not last or not count_sentinels(before):
        return vocabulary, {}
    return before, {"added": tuple(names[spelling] for spelling in reversed(last))}


def count_sentinels(vocabulary: Mapping[str, int]) -> int:
    """How many of the last ids are <extra_id_N>, in T5's order: the very last is <extra_id_0>.

    >>> count_sentinels({"a": 0, "<extra_id_1>": 1, "<extra_id_0>": 2})
    2
    """
    last = max(vocabulary.values(), default=-1)
    n = 0
    while vocabulary.get(f"<extra_id_{n}>") == last - n:
        n += 1
    return n


def _read_byte_level_json(content: Mapping[str, Any]) -> Imported:
    vocabulary, merges = _vocabulary(content), content["model"]["merges"]
    *splits, level = steps(content["pre_tokenizer"])
    own = [SPLITS["gpt2"].published] if level["use_regex"] else []
    patterns = [split.get("pattern", {}).get("Regex", split["type"]) for split in splits] + own
    changes = [step["type"] for step in steps(content["normalizer"])]
    changes += ["a space in front of every text"] if level["add_prefix_space"] else []
    if changes:
        raise DataError(
            "byte_bpe reads a text as it is; tokenizer.json changes it before it splits words "
            f"({', '.join(changes)})"
        )
    if not patterns and not merges and all(vocabulary.get(c) == b for c, b in ALPHABET.items()):
        options = {"sentinels": count_sentinels(vocabulary)}
        return Imported("bytes", options, {BYTES_FILE: json.dumps(LAYOUT).encode()})
    split = next((name for name, split in SPLITS.items() if [split.published] == patterns), None)
    if split is None:
        raise DataError(
            "byte_bpe splits a text into words with the pattern of GPT-2 or of LLaMA 3; "
            f"tokenizer.json has {short_repr(' and '.join(patterns) or 'no pattern')}"
        )
    return read_byte_bpe(vocabulary, merges, split)


def _read_chars_json(content: Mapping[str, Any]) -> Imported:
    vocabulary = _vocabulary(content)
    characters = [token for token in vocabulary if len(token) == 1]
    if content["pre_tokenizer"] or content["normalizer"]:
        raise DataError(
            "BPE without merges must read a text as it is, as chars does; tokenizer.json has a "
            "normalizer or a pre-tokenizer"
        )
    options = {"sentinels": count_sentinels(vocabulary)}
    return Imported("chars", options, {chars.FILE: json.dumps(characters).encode()})


def _read_wordpiece_json(content: Mapping[str, Any]) -> Imported:
    model, vocabulary = content["model"], _vocabulary(content)
    for lower_case in (True, False):
        ours = json.loads(_splitting.every_script(lower_case).to_str())
        if all(content[part] == ours[part] for part in ("normalizer", "pre_tokenizer")):
            return _wordpiece(list(vocabulary), lower_case, _splitting.OPTIONS)
    normalizer, splitter = content["normalizer"] or {}, content["pre_tokenizer"] or {}
    if splitter.get("type") != "BertPreTokenizer" or model["continuing_subword_prefix"] != "##":
        raise DataError(
            'WordPiece must split words as BERT does, with "##" inside a word; tokenizer.json has '
            f"{short_repr(splitter.get('type'))} and {model['continuing_subword_prefix']!r}"
        )
    _check_bert(normalizer)
    limit = _limit(model["max_input_chars_per_word"])
    return _wordpiece(list(vocabulary), normalizer["lowercase"], limit)


def _check_bert(normalizer: Mapping[str, Any]) -> None:
    """Raises DataError unless a BertNormalizer does what `wordpiece` does."""
    lower_case = normalizer.get("lowercase")
    accents = normalizer.get("strip_accents")
    if not (
        isinstance(lower_case, bool)
        and accents in (None, lower_case)
        and normalizer.get("handle_chinese_chars")
        and normalizer.get("clean_text")
    ):
        raise DataError(
            "wordpiece normalizes as BERT does: it cleans the text, splits Chinese, and "
            "lower-cases exactly if it strips accents; this tokenizer has "
            f"{short_repr(dict(normalizer))}"
        )


def _limit(longest_word: int) -> dict[str, Any]:
    """The content of splitting.json for BERT's splitting; {} for none."""
    return {} if longest_word == wordpiece.LONGEST_WORD else {"longest_word": longest_word}


def _wordpiece(spellings: Sequence[str], lower_case: bool, splitting: Any) -> Imported:
    n = count_sentinels({spelling: i for i, spelling in enumerate(spellings)})
    lines = "".join(f"{piece}\n" for piece in spellings[: len(spellings) - n])
    files = {wordpiece.FILE: lines.encode()}
    if splitting:
        files[wordpiece.SPLITTING_FILE] = (json.dumps(splitting) + "\n").encode()
    return Imported("wordpiece", {"lower_case": lower_case, "sentinels": n}, files)


def has_byte_level(content: Mapping[str, Any]) -> bool:
    """Whether a tokenizer.json splits text into GPT-2's spelling of bytes."""
    return "ByteLevel" in [step["type"] for step in steps(content["pre_tokenizer"])[-1:]]


def _vocabulary(content: Mapping[str, Any]) -> dict[str, int]:
    """Ids by spelling, added tokens included, ascending. Raises DataError unless 0 .. n - 1."""
    ids = content["model"]["vocab"]
    if isinstance(ids, list):  # unigram: [[piece, score], ...]
        ids = {piece: i for i, (piece, _) in enumerate(ids)}
    ids = {**ids, **{token["content"]: token["id"] for token in content["added_tokens"]}}
    ids = dict(sorted(ids.items(), key=lambda item: item[1]))
    if list(ids.values()) != list(range(len(ids))):
        raise DataError(
            "the ids of tokenizer.json must be 0 .. n - 1, each once; it has "
            f"{len(ids)} tokens up to id {max(ids.values(), default=None)}"
        )
    return ids
