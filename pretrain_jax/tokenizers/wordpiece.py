"""WordPiece as BERT has it: vocab.txt, one piece a line, "##" before a piece inside a word.

A published vocabulary is normalized and split as BERT does it. One that is learned here splits
scripts without spaces, too (_splitting.py), and has splitting.json beside vocab.txt. Neither can be
undone: `decode` puts one space between words. A word starts at a piece without "##".
"""

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import tokenizers
from etils import epath

from pretrain_jax.errors import ConfigError, DataError
from pretrain_jax.files import parsing
from pretrain_jax.process import child
from pretrain_jax.tokenizers import (
    Tokenizer,
    _splitting,
    digest,
    read,
    sentinel_ids,
    table,
    take,
    well_formed,
)

FILE = "vocab.txt"
SPECIALS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[BOS]", "[EOS]")
LONGEST_WORD = 200
"""A longer word is [UNK] as a whole (google-research/bert: max_input_chars_per_word)."""
TRAIN_CHARACTERS = 50_000_000
"""Training reads this much of the corpus: more text hardly changes the pieces."""
COVERED = 0.9999
"""Characters get ids before pieces do until they make this share of the text ..."""
LEAST, MOST = 1 / 4, 3 / 4
"""... and take at least and at most these shares of the ids."""
FEWEST = 14
"""Ids below which nothing can be learned: the special ones, and some letters twice."""

SPLITTING_FILE = "splitting.json"
"""Beside a vocabulary that was learned here: how it splits text."""

# Long texts are encoded in parts, which keeps memory flat; BERT splits at these characters too.
PART = 1 << 16
SPACE = re.compile("[ \t\n\r]")


class WordPiece(Tokenizer):
    """Ids by line of vocab.txt, then the sentinels; special ids by their spelling in SPECIALS.

    With the vocabulary of BERT's own test (un ##want ##ed runn ##ing ,), "UNwantéd,running" is
    un ##want ##ed , runn ##ing.

    `token_bytes` are of the text that `decode` writes, with a space before each word: 3 of "un", 4
    of "##want", 2 of ",".
    """

    lead_bytes = 1

    def __init__(
        self, pieces: list[str], lower_case: bool, sentinels: int, every_script: bool = False
    ):
        ids = {piece: i for i, piece in enumerate(pieces)}
        self.size = len(pieces) + sentinels
        self.pad, self.unk, self.cls, self.sep, self.mask, self.bos, self.eos = (
            ids.get(special) for special in SPECIALS
        )
        self.sentinels = sentinel_ids(self.size, sentinels)
        self._pieces = pieces
        inside = (piece.startswith("##") for piece in [*pieces, *[""] * sentinels])
        self._word_starts = table(not piece for piece in inside)
        self._token_bytes = table(map(self._size, range(self.size)), np.int32)
        self._tokenizer = (_splitting.every_script if every_script else _splitting.bert)(lower_case)
        self._tokenizer.model = tokenizers.models.WordPiece(
            ids, unk_token="[UNK]", max_input_chars_per_word=LONGEST_WORD
        )
        splitting = [_splitting.OPTIONS] if every_script else []
        self.fingerprint = digest(
            "wordpiece", pieces, lower_case, LONGEST_WORD, sentinels, *splitting
        )

    def encode(self, text: str) -> np.ndarray:
        encode = self._tokenizer.encode_batch_fast
        parts = _parts(well_formed(text))
        return np.concatenate([np.array(encode([part])[0].ids, np.int32) for part in parts])

    def unknown_bytes(self, text: str) -> int:
        found = 0
        for part in _parts(well_formed(text)):
            (encoded,) = self._tokenizer.encode_batch([part])
            places = zip(encoded.ids, encoded.offsets, strict=True)
            found += sum(len(part[a:b].encode()) for i, (a, b) in places if i == self.unk)
        return found

    def decode(self, ids: Sequence[int] | np.ndarray) -> str:
        special = self.special
        pieces = (self._pieces[i] for i in np.asarray(ids).tolist() if not special[i])
        return " ".join(pieces).replace(" ##", "")

    def _size(self, token: int) -> int:
        """Bytes of one id."""
        if token == self.unk or self.special[token]:
            return 0
        space = int(self._word_starts[token])
        return space + len(self._pieces[token].removeprefix("##").encode())

    def spell(self, token: int) -> str:
        if token in self.sentinels:
            return f"<extra_id_{self.sentinels.index(token)}>"
        return self._pieces[token]

    @property
    def word_starts(self) -> np.ndarray:
        return self._word_starts

    @property
    def token_bytes(self) -> np.ndarray:
        return self._token_bytes

    def remedy(self, name: str) -> str:
        return f"the last line [{name.upper()}] of {FILE}"


def load(path: epath.PathLike, *, lower_case: bool = True, sentinels: int = 0) -> WordPiece:
    """Reads a vocab.txt; only [UNK] must be in it. BERT's uncased one has 30522 pieces."""
    try:
        lines = read(path, FILE).decode().split("\n")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} must be UTF-8; {error}") from error
    pieces = [line.rstrip("\r") for line in lines]
    if not pieces[-1]:
        pieces.pop()
    repeated = next((piece for piece, n in Counter(pieces).items() if n > 1), None)
    if repeated is not None:
        raise DataError(f"{path} must hold every piece once; {repeated!r} is there twice")
    if "[UNK]" not in pieces:
        raise DataError(f"{path} must hold one piece a line, [UNK] among them; there is no [UNK]")
    return WordPiece(pieces, lower_case, sentinels, _splits_every_script(epath.Path(path)))


def _splits_every_script(path: epath.Path) -> bool:
    """Whether a vocabulary was learned here: splitting.json lies beside its vocab.txt."""
    file = (path if path.is_dir() else path.parent) / SPLITTING_FILE
    if not file.exists():
        return False
    if parsing.read_json(file, "restore it") != _splitting.OPTIONS:
        raise DataError(
            f"{file} must be as it is written beside a vocabulary that is learned, "
            f"{json.dumps(_splitting.OPTIONS)}; it says otherwise. Restore it, or take it "
            f"away where {FILE} was made for BERT's own splitting"
        )
    return True


def train(
    texts: Iterable[str],
    directory: epath.PathLike,
    *,
    vocab_size: int,
    lower_case: bool = True,
    sentinels: int = 0,
) -> None:
    """Learns pieces, writes vocab.txt and splitting.json; equal texts give equal files everywhere.

    Characters come first, the commonest first, as COVERED, LEAST and MOST say; the others get
    the ids that no piece takes. So 2,000 Chinese characters, which make no longer pieces, all have
    their ids in a vocabulary of 8192.

    The library numbers "##x" in the order of a hash table that differs from run to run, and
    breaks ties by number. Here the alphabet, plain and with "##", stands first and sorted, so
    that nothing is left to number.
    """
    room = vocab_size - sentinels
    if room < FEWEST:
        raise ConfigError(
            f"model.vocab_size must hold {len(SPECIALS)} special ids, tokenizer.sentinels="
            f"{sentinels} and some letters twice, {FEWEST + sentinels} at least; received "
            f"{vocab_size}"
        )
    strings = list(take(texts, TRAIN_CHARACTERS))
    splitter = _splitting.every_script(lower_case)
    counts = _characters(splitter, strings)
    forms = {character: _forms(splitter, character) for character in counts}
    kept = _first(counts, forms, room - len(SPECIALS))
    inside = [form for character in kept for form in forms[character][1:]]
    pieces = child.call(
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
    """At most `size` pieces: those that stand first, the alphabet, and what is learned.

    A word ends at an unknown character: nothing is learned across it.
    """
    splitter = _splitting.every_script(lower_case)
    spaces = str.maketrans(dict.fromkeys(unknown, " "))
    # The library's own replacing takes only so many characters.
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
    """How often each character occurs after normalization, without white space."""
    counts: Counter[str] = Counter()
    for string in strings:
        for part in _parts(string):
            counts.update(splitter.normalizer.normalize_str(part))
    counts = Counter({character: n for character, n in counts.items() if not character.isspace()})
    if not counts:
        raise DataError("the corpus must hold at least one character to train a tokenizer on it")
    return counts


def _forms(splitter: tokenizers.Tokenizer, character: str) -> list[str]:
    """The pieces that a character can be: a Chinese one or a full stop is never inside a word."""
    between = splitter.normalizer.normalize_str(f"a{character}a")
    alone = len(splitter.pre_tokenizer.pre_tokenize_str(between)) == 3
    if alone and not unicodedata.category(character).startswith("M"):
        return [character]
    return [character, f"##{character}"]


def _first(counts: Counter[str], forms: dict[str, list[str]], room: int) -> list[str]:
    """Characters that get ids before anything is learned, sorted; ties go to the lower one."""
    kept, ids, seen, whole = [], 0, 0, counts.total()
    for character in sorted(counts, key=lambda c: (-counts[c], c)):
        ids += len(forms[character])
        if ids > room * (LEAST if seen >= whole * COVERED else MOST):
            break
        kept.append(character)
        seen += counts[character]
    return sorted(kept)


def _parts(text: str) -> Iterator[str]:
    """`text` cut at white space into parts of about PART characters."""
    begin = 0
    while begin == 0 or begin < len(text):
        space = SPACE.search(text, begin + PART)
        end = space.end() if space else len(text)
        yield text[begin:end]
        begin = max(end, 1)
