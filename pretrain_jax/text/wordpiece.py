"""WordPiece as BERT has it: vocab.txt, one piece a line, "##" before a piece inside a word.

Normalization and splitting are BERT's (google-research/bert, tokenization.py): control characters
out, Chinese characters and punctuation words of their own, and with `lower_case` lower case
without accents. It cannot be undone: `decode` puts one space between words. A word starts at a
piece without "##".
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import tokenizers
from etils import epath

from pretrain_jax import child
from pretrain_jax.errors import ConfigError, DataError
from pretrain_jax.text import Tokenizer, digest, read, sentinel_ids, table, take, well_formed

FILE = "vocab.txt"
SPECIALS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[BOS]", "[EOS]")
LONGEST_WORD = 200
"""A longer word is [UNK] as a whole (google-research/bert: max_input_chars_per_word)."""
TRAIN_CHARACTERS = 50_000_000
"""Training reads this much of the corpus: more text hardly changes the pieces."""
LARGEST_ALPHABET = 1000
"""The commonest characters of the corpus make words; a word with any other is [UNK]."""

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

    def __init__(self, pieces: list[str], lower_case: bool, sentinels: int):
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
        self._tokenizer = _splitter(lower_case)
        self._tokenizer.model = tokenizers.models.WordPiece(
            ids, unk_token="[UNK]", max_input_chars_per_word=LONGEST_WORD
        )
        self.fingerprint = digest("wordpiece", pieces, lower_case, LONGEST_WORD, sentinels)

    def encode(self, text: str) -> np.ndarray:
        encode = self._tokenizer.encode_batch_fast
        parts = _parts(well_formed(text))
        return np.concatenate([np.array(encode([part])[0].ids, np.int32) for part in parts])

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
    return WordPiece(pieces, lower_case, sentinels)


def train(
    texts: Iterable[str],
    directory: epath.PathLike,
    *,
    vocab_size: int,
    lower_case: bool = True,
    sentinels: int = 0,
) -> None:
    """Learns pieces and writes vocab.txt; the same texts give the same file, in any process.

    The library numbers "##x" in the order of a hash table that differs from run to run, and
    breaks ties by number. Here the alphabet, plain and with "##", stands first and sorted, so
    that nothing is left to number.
    """
    room = vocab_size - sentinels
    strings = list(take(texts, TRAIN_CHARACTERS))
    alphabet = _alphabet(_splitter(lower_case), strings, min(LARGEST_ALPHABET, room // 4))
    inside = [f"##{character}" for character in alphabet]
    first = [*SPECIALS, *inside]
    if len(first) + len(alphabet) > room:
        raise ConfigError(
            f"model.vocab_size must hold {len(SPECIALS)} special ids, tokenizer.sentinels="
            f"{sentinels} and some letters twice, {len(SPECIALS) * 2 + sentinels} at least; "
            f"received {vocab_size}"
        )
    ids = child.call(
        learn, texts=strings, lower_case=lower_case, size=room, first=first, alphabet=alphabet
    )
    lines = "".join(f"{piece}\n" for piece in sorted(ids, key=ids.__getitem__))
    (epath.Path(directory) / FILE).write_bytes(lines.encode())


def learn(
    texts: list[str], lower_case: bool, size: int, first: list[str], alphabet: list[str]
) -> dict[str, int]:
    """The ids of `size` pieces: those that stand first, the alphabet, and what is learned."""
    trainer = tokenizers.trainers.WordPieceTrainer(
        vocab_size=size,
        special_tokens=first,
        initial_alphabet=alphabet,
        limit_alphabet=len(alphabet),
        show_progress=False,
    )
    tokenizer = _splitter(lower_case)
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer.get_vocab()


def _splitter(lower_case: bool) -> tokenizers.Tokenizer:
    """BERT's normalization and splitting into words, before any vocabulary."""
    splitter = tokenizers.Tokenizer(tokenizers.models.WordPiece(unk_token="[UNK]"))
    splitter.normalizer = tokenizers.normalizers.BertNormalizer(
        clean_text=True, handle_chinese_chars=True, strip_accents=lower_case, lowercase=lower_case
    )
    splitter.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    return splitter


def _alphabet(tokenizer: tokenizers.Tokenizer, strings: Iterable[str], most: int) -> list[str]:
    """The commonest characters after normalization, sorted; ties go to the lower code point."""
    counts: Counter[str] = Counter()
    normalizer = tokenizer.normalizer
    for string in strings:
        for part in _parts(string):
            counts.update(normalizer.normalize_str(part))
    characters = [character for character in counts if not character.isspace()]
    if not characters:
        raise DataError("the corpus must hold at least one character to train a tokenizer on it")
    return sorted(sorted(characters, key=lambda c: (-counts[c], c))[:most])


def _parts(text: str) -> Iterator[str]:
    """`text` cut at white space into parts of about PART characters."""
    begin = 0
    while begin == 0 or begin < len(text):
        space = SPACE.search(text, begin + PART)
        end = space.end() if space else len(text)
        yield text[begin:end]
        begin = max(end, 1)
