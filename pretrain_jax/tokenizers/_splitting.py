"""How WordPiece normalizes a text and splits it into words, before any vocabulary.

`bert` is google-research/bert, tokenization.py: control characters out, Chinese characters and
punctuation words of their own, and with `lower_case` lower case without accents.

`every_script` is for vocabularies that are learned here. Scripts that put no space between words
are split into characters, each with its marks, as BERT splits Chinese; longer words are cut; and
accents are taken from the letters of ACCENTED only, for elsewhere such marks are vowels and tones.
"""

from collections.abc import Iterable

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers

# Unicode's line break classes SA and ID, Javanese and Balinese. Tibetan has a mark between
# syllables, at which BERT splits.
UNSPACED = (
    "Han Hiragana Katakana Bopomofo Yi Tangut Nushu Thai Lao Khmer Myanmar Tai_Le New_Tai_Lue "
    "Tai_Tham Tai_Viet Ahom Javanese Balinese"
).split()
ACCENTED = ["Latin", "Greek", "Cyrillic"]
LONGEST_WORD = 100
OPTIONS = {"accents_of": ACCENTED, "characters_of": UNSPACED, "longest_word": LONGEST_WORD}
"""What is kept on disk beside a vocabulary that was learned with `every_script`."""


def bert(lower_case: bool) -> Tokenizer:
    """BERT's own way."""
    splitter = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    splitter.normalizer = normalizers.BertNormalizer(
        clean_text=True, handle_chinese_chars=True, strip_accents=lower_case, lowercase=lower_case
    )
    splitter.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return splitter


def every_script(lower_case: bool) -> Tokenizer:
    """BERT's way, and what it lacks: see above."""
    splitter = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    cleaned = normalizers.BertNormalizer(
        clean_text=True, handle_chinese_chars=True, strip_accents=False, lowercase=lower_case
    )
    accents = Regex(f"(?<={_any_of(ACCENTED)})\\p{{Mn}}+")
    unaccented = [normalizers.NFD(), normalizers.Replace(accents, ""), normalizers.NFC()]
    splitter.normalizer = normalizers.Sequence([cleaned, *(unaccented if lower_case else [])])
    split = pre_tokenizers.Split
    splitter.pre_tokenizer = pre_tokenizers.Sequence(
        [
            split(Regex(f"{_any_of(UNSPACED)}\\p{{M}}*"), "isolated"),
            pre_tokenizers.BertPreTokenizer(),
            split(Regex(f".{{{LONGEST_WORD}}}"), "isolated"),
        ]
    )
    return splitter


def _any_of(scripts: Iterable[str]) -> str:
    """A pattern of one character of these scripts."""
    return "[" + "".join(f"\\p{{{script}}}" for script in scripts) + "]"
