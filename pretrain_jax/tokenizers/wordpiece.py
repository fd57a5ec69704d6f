"""WordPiece in BERT's format: vocab.txt with one piece per line; "##" marks pieces inside a word.

With a published vocabulary, text is normalized and split as in BERT. A vocabulary that is learned
here also splits scripts without spaces (_splitting.py), and has splitting.json next to vocab.txt.
Neither is reversible: `decode` puts one space between words. A piece without "##" starts a word.
"""

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property

import numpy as np
import tokenizers
from etils import epath

from pretrain_jax.errors import ConfigError, DataError
from pretrain_jax.files import parsing
from pretrain_jax.process import child
from pretrain_jax.tokenizers import (
    Tokenizer,
    _offsets,
    _splitting,
    fingerprint_of,
    limit_characters,
    read_only_array,
    read_vocabulary_file,
    replace_surrogates,
    sentinel_ids,
)

FILE = "vocab.txt"
SPECIALS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[BOS]", "[EOS]")
LONGEST_WORD = 200
"""Characters; a longer word is one [UNK] (google-research/bert: max_input_chars_per_word)."""
TRAIN_CHARACTERS = 50_000_000
"""Training reads this much of the corpus; more text hardly changes the pieces."""
COVERED = 0.9999
"""Characters get ids before pieces until they cover this share of the text ..."""
LEAST, MOST = 1 / 4, 3 / 4
"""... but use at least and at most these shares of the ids."""
FEWEST = 14
"""The smallest number of ids: the special ids, and some letters with and without "##"."""

SPLITTING_FILE = "splitting.json"
"""Next to a vocabulary that was learned here: how it splits text. Next to a vocabulary from Hugging
Face, whose words have up to 100 characters: {"longest_word": 100}."""

# Long texts are encoded in parts to bound memory; BERT also splits at these characters.
PART = 1 << 16
SPACE = re.compile("[ \t\n\r]")


class WordPiece(Tokenizer):
    """Ids are the lines of vocab.txt, then the sentinels; SPECIALS are the special spellings.

    With the vocabulary of BERT's test (un ##want ##ed runn ##ing ,), "UNwantéd,running" becomes
    un ##want ##ed , runn ##ing.

    `token_bytes` counts the text that `decode` returns, with a space before each word: 3 for "un",
    4 for "##want", 2 for ",".
    """

    lead_bytes = 1

    def __init__(
        self,
        pieces: list[str],
        lower_case: bool,
        sentinels: int,
        every_script: bool = False,
        longest_word: int = LONGEST_WORD,
    ):
        ids = {piece: i for i, piece in enumerate(pieces)}
        self.size = len(pieces) + sentinels
        self.pad, self.unk, self.cls, self.sep, self.mask, self.bos, self.eos = (
            ids.get(special) for special in SPECIALS
        )
        self.sentinels = sentinel_ids(self.size, sentinels)
        self.every_script = every_script
        self.pieces = pieces
        self.backend = (_splitting.every_script if every_script else _splitting.bert)(lower_case)
        self.backend.model = tokenizers.models.WordPiece(
            ids, unk_token="[UNK]", max_input_chars_per_word=longest_word
        )
        splitting = [_splitting.OPTIONS] if every_script else []
        self.fingerprint = fingerprint_of(
            "wordpiece", pieces, lower_case, longest_word, sentinels, *splitting
        )

    def encode(self, text: str) -> np.ndarray:
        encode = self.backend.encode_batch_fast
        parts = _parts(replace_surrogates(text))
        return np.concatenate([np.array(encode([part])[0].ids, np.int32) for part in parts])

    def encode_with_offsets(self, text: str, before: str = "") -> tuple[np.ndarray, np.ndarray]:
        ids, spans, begin = [], [], 0
        for part in _parts(replace_surrogates(text)):
            (encoded,) = self.backend.encode_batch([part])
            ids += encoded.ids
            spans.append(np.reshape(encoded.offsets, (-1, 2)).astype(np.int64) + begin)
            begin += len(part)
        return np.array(ids, np.int32), _offsets.in_original(np.concatenate(spans), text)

    def unknown_bytes(self, text: str) -> int:
        text = replace_surrogates(text)
        ids, spans = self.encode_with_offsets(text)
        return sum(len(text[a:b].encode()) for a, b in spans[ids == self.unk].tolist())

    def decode(self, ids: Sequence[int] | np.ndarray) -> str:
        special = self.special
        pieces = (self.pieces[i] for i in np.asarray(ids).tolist() if not special[i])
        return " ".join(pieces).replace(" ##", "")

    def _size(self, token: int) -> int:
        """Bytes of an id, as in `token_bytes`."""
        if token == self.unk or self.special[token]:
            return 0
        space = int(self.word_starts[token])
        return space + len(self.pieces[token].removeprefix("##").encode())

    def id_to_token(self, token: int) -> str:
        if token in self.sentinels:
            return f"<extra_id_{self.sentinels.index(token)}>"
        return self.pieces[token]

    @cached_property
    def word_starts(self) -> np.ndarray:
        starts = (not piece.startswith("##") for piece in self.pieces)
        return read_only_array([*starts, *[True] * len(self.sentinels)])

    @cached_property
    def token_bytes(self) -> np.ndarray:
        return read_only_array(map(self._size, range(self.size)), np.int32)

    def how_to_add(self, names: Sequence[str]) -> str:
        lines = " and ".join(f"[{name.upper()}]" for name in names)
        return f"append the line{'s' * (len(names) > 1)} {lines} to {FILE}"


def load(path: epath.PathLike, *, lower_case: bool = True, sentinels: int = 0) -> WordPiece:
    """Reads a vocab.txt. Only [UNK] is required. BERT's uncased vocabulary has 30522 pieces."""
    try:
        lines = read_vocabulary_file(path, FILE).decode().split("\n")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} must be UTF-8; {error}") from error
    pieces = [line.rstrip("\r") for line in lines]
    if not pieces[-1]:
        pieces.pop()
    repeated = next((piece for piece, n in Counter(pieces).items() if n > 1), None)
    if repeated is not None:
        raise DataError(f"{path} must hold every piece once; {repeated!r} occurs twice")
    if "[UNK]" not in pieces:
        raise DataError(f"{path} must hold one piece per line, including [UNK]; there is no [UNK]")
    return WordPiece(pieces, lower_case, sentinels, *_read_splitting(epath.Path(path)))


def _read_splitting(path: epath.Path) -> tuple[bool, int]:
    """(whether a vocabulary splits every script, its longest word), from splitting.json if any."""
    file = (path if path.is_dir() else path.parent) / SPLITTING_FILE
    if not file.exists():
        return False, LONGEST_WORD
    stored = parsing.read_json(file, "restore it")
    if stored == _splitting.OPTIONS:
        return True, LONGEST_WORD
    longest = stored.get("longest_word")
    if len(stored) != 1 or type(longest) is not int or not 0 < longest < 2**31:
        raise DataError(
            f"{file} must hold {json.dumps(_splitting.OPTIONS)}, as written with a learned "
            'vocabulary, or {"longest_word": N}; it has other content. Restore it, or remove it if '
            f"{FILE} was made for BERT's splitting"
        )
    return False, longest


def train(
    texts: Iterable[str],
    directory: epath.PathLike,
    *,
    vocab_size: int,
    lower_case: bool = True,
    sentinels: int = 0,
) -> None:
    """Learns pieces and writes vocab.txt and splitting.json. Equal texts give equal files.

    The most frequent characters get ids first, as COVERED, LEAST and MOST define. The other
    characters get the ids that remain after the pieces. So in a vocabulary of 8192, 2,000 Chinese
    characters, which form no longer pieces, all have ids.

    The library numbers "##x" in the order of a hash table, which differs between runs, and breaks
    ties by number. Here the alphabet, with and without "##", comes first and sorted, so the library
    numbers none of it.
    """
    room = vocab_size - sentinels
    if room < FEWEST:
        raise ConfigError(
            f"model.vocab_size must hold {len(SPECIALS)} special ids, tokenizer.sentinels="
            f"{sentinels} and some letters twice, {FEWEST + sentinels} at least; received "
            f"{vocab_size}"
        )
    strings = list(limit_characters(texts, TRAIN_CHARACTERS))
    splitter = _splitting.every_script(lower_case)
    counts = _characters(splitter, strings)
    forms = {character: _forms(splitter, character) for character in counts}
    kept = _first(counts, forms, room - len(SPECIALS))
    inside = [form for character in kept for form in forms[character][1:]]
    pieces = child.call_in_child(
        learn,
        texts=strings,
        lower_case=lower_case,
        size=room,
        first=[*SPECIALS, *inside],
        alphabet=kept,
        unknown=sorted(counts.keys() - set(kept)),
    )
    for character in sorted(counts.keys() - set(kept), key=lambda c: (-counts[c], c)):
        if len(pieces) + len(forms[character]) <= room:
            pieces += forms[character]
    folder = epath.Path(directory)
    (folder / FILE).write_bytes("".join(f"{piece}\n" for piece in pieces).encode())
    (folder / SPLITTING_FILE).write_text(json.dumps(_splitting.OPTIONS) + "\n")


def learn(
    texts: list[str],
    lower_case: bool,
    size: int,
    first: list[str],
    alphabet: list[str],
    unknown: list[str],
) -> list[str]:
    """At most `size` pieces: `first`, the alphabet, and learned pieces.

    An unknown character ends a word, so no piece spans it.
    """
    splitter = _splitting.every_script(lower_case)
    spaces = str.maketrans(dict.fromkeys(unknown, " "))
    # The library can replace only a limited number of characters.
    normalized = (splitter.normalizer.normalize_str(text).translate(spaces) for text in texts)
    tokenizer = tokenizers.Tokenizer(splitter.model)
    tokenizer.pre_tokenizer = splitter.pre_tokenizer
    trainer = tokenizers.trainers.WordPieceTrainer(
        vocab_size=size,
        special_tokens=first,
        initial_alphabet=alphabet,
        limit_alphabet=len(alphabet),
        show_progress=False,
    )
    tokenizer.train_from_iterator(normalized, trainer)
    ids = tokenizer.get_vocab()
    return sorted(ids, key=ids.__getitem__)


def _characters(splitter: tokenizers.Tokenizer, strings: Iterable[str]) -> Counter[str]:
    """Counts of the characters after normalization, without whitespace."""
    counts: Counter[str] = Counter()
    for string in strings:
        for part in _parts(string):
            counts.update(splitter.normalizer.normalize_str(part))
    counts = Counter({character: n for character, n in counts.items() if not character.isspace()})
    if not counts:
        raise DataError("the corpus must hold at least one character to train a tokenizer on it")
    return counts


def _forms(splitter: tokenizers.Tokenizer, character: str) -> list[str]:
    """The pieces of a character. A Chinese character or a full stop is never inside a word."""
    between = splitter.normalizer.normalize_str(f"a{character}a")
    alone = len(splitter.pre_tokenizer.pre_tokenize_str(between)) == 3
    if alone and not unicodedata.category(character).startswith("M"):
        return [character]
    return [character, f"##{character}"]


def _first(counts: Counter[str], forms: dict[str, list[str]], room: int) -> list[str]:
    """The sorted characters that get ids before pieces are learned; ties go to the lower one."""
    kept, ids, covered, total = [], 0, 0, counts.total()
    for character in sorted(counts, key=lambda c: (-counts[c], c)):
        ids += len(forms[character])
        if ids > room * (LEAST if covered >= total * COVERED else MOST):
            break
        kept.append(character)
        covered += counts[character]
    return sorted(kept)


def _parts(text: str) -> Iterator[str]:
    """Splits `text` at whitespace into parts of about PART characters."""
    begin = 0
    while begin == 0 or begin < len(text):
        space = SPACE.search(text, begin + PART)
        end = space.end() if space else len(text)
        yield text[begin:end]
        begin = max(end, 1)
