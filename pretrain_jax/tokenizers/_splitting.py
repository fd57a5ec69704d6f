"""Normalization and word splitting for WordPiece, before the vocabulary is used.

`bert` is google-research/bert, tokenization.py: it removes control characters, makes each Chinese
character and each punctuation character a word, and with `lower_case` lowers the case and removes
accents.

`every_script` is for vocabularies that are learned here. It splits scripts without spaces between
words into characters with their combining marks, as BERT splits Chinese. It splits long words. It
removes accents only from letters of the scripts ACCENTED: in other scripts, combining marks are
vowels and tones.
"""

from collections.abc import Iterable

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers

# Scripts of Unicode's line break classes SA and ID, Javanese and Balinese. Tibetan is not needed:
# it has a mark between syllables, at which BERT splits.
UNSPACED = (
    "Han Hiragana Katakana Bopomofo Yi Tangut Nushu Thai Lao Khmer Myanmar Tai_Le New_Tai_Lue "
    "Tai_Tham Tai_Viet Ahom Javanese Balinese"
).split()
ACCENTED = ["Latin", "Greek", "Cyrillic"]
LONGEST_WORD = 100
OPTIONS = {"accents_of": ACCENTED, "characters_of": UNSPACED, "longest_word": LONGEST_WORD}
"""Stored next to a vocabulary that was learned with `every_script`."""


def bert(lower_case: bool) -> Tokenizer:
    """BERT's normalization and splitting."""
    splitter = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    splitter.normalizer = normalizers.BertNormalizer(
        clean_text=True, handle_chinese_chars=True, strip_accents=lower_case, lowercase=lower_case
    )
    splitter.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return splitter


def every_script(lower_case: bool) -> Tokenizer:
    """BERT's splitting, extended to all scripts (see the module docstring)."""
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
    """A pattern that matches one character of these scripts."""
    return "[" + "".join(f"\\p{{{script}}}" for script in scripts) + "]"
