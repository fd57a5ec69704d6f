"""The characters of each token: the library's own where it has them, and the word in all cases."""

# ruff: noqa: RUF001

import random
import shutil
import unicodedata

import numpy as np
import pytest
import sentencepiece as sentencepiece_library
import tokenizers
from text_samples import CORPUS, LANGUAGES, NASTY

from pretrain_jax import registry
from pretrain_jax.tokenizers import _offsets, byte_bpe, sentencepiece, wordpiece

LOSSLESS = {
    "byte_bpe": ("byte_bpe", {}),
    "llama3": ("byte_bpe", {}),
    "roberta": ("byte_bpe", {}),
    "sentencepiece": ("sentencepiece", {}),
    "sentencepiece bpe": ("sentencepiece", {"kind": "bpe"}),
    "bytes": ("bytes", {}),
    "chars": ("chars", {}),
}
LOSSY = {
    "wordpiece": ("wordpiece", {}),
    "wordpiece cased": ("wordpiece", {"lower_case": False}),
    "bert": ("wordpiece", {}),
    "nfkc unigram": ("sentencepiece", {"lossless": False}),
    "nfkc bpe": ("sentencepiece", {"lossless": False, "kind": "bpe"}),
}
KINDS = {name: (name, {}) for name in registry.names("tokenizers")} | LOSSLESS | LOSSY
FAMILY = "\U0001f469\u200d\U0001f469\u200d\U0001f467"
HARD = [
    *("é", "e\u0301", "½", "ﬁ", "㍍", "ﷺ", "Ａ", "İ", "ß", "ŉ", "\u0344", "\u0301\u0302", "\u0f73"),
    *(
        "각",
        "가",
        "\u1100\u1161\u11a8",
        "中",
        "文",
        "ガ",
        "\uff76\uff9e",
        "ที่",
        FAMILY,
        "🇩🇪",
        "\ufe0f",
    ),
    *("\0", "\x01", "\x1f", "\t", "\n", "\r\n", "  ", " ", "\u3000", "\xa0", "\u2028", "\u200b"),
    *(
        "\xad",
        "\ufeff",
        "\ud83d",
        "\ude00",
        "\ud800",
        "\udfff",
        ".",
        "'",
        "a",
        "X",
        " the",
        "argument",
    ),
]


@pytest.fixture
def tokenizer(vocabulary, trained, tmp_path):
    """tokenizer(kind): one of KINDS."""

    def make(kind):
        name, options = KINDS[kind]
        if kind not in ("llama3", "roberta", "bert"):
            return trained(name, **options)
        folder = shutil.copytree(vocabulary(name), tmp_path / kind)
        if kind == "bert":  # without the extension to every script
            (folder / "splitting.json").unlink()
            return wordpiece.load(folder)
        if kind == "llama3":
            (folder / "splitting.json").write_text('{"split": "llama3"}')
        else:  # other ids than priorities
            encoder = (folder / "encoder.json").read_text().replace('"<|pad|>"', '"<|other|>"')
            (folder / "encoder.json").write_text(encoder)
            order = random.Random(0).sample(range(trained(name).size), trained(name).size)
            (folder / "dict.txt").write_text("".join(f"{i} 7\n" for i in order))
        return byte_bpe.load(folder)

    return make


def random_texts(count: int) -> list[str]:
    draw = random.Random(0)
    assigned = [
        chr(c) for c in range(0x110000) if unicodedata.category(chr(c)) not in ("Cn", "Co", "Cs")
    ]
    pools = [assigned, assigned[:5000], HARD, HARD, [*"abc ABC .,\t\n", " parser", "  "]]
    return ["".join(draw.choices(draw.choice(pools), k=draw.randint(0, 40))) for _ in range(count)]


TEXTS = ["", " ", "\n\n", NASTY, CORPUS[:3000], *LANGUAGES.values(), *random_texts(200)]


def words(tokenizer, text, before=""):
    """The text of each token."""
    _, spans = tokenizer.encode_with_offsets(text, before)
    return [text[begin:end] for begin, end in spans.tolist()]


@pytest.mark.parametrize("kind", KINDS)
def test_what_holds_for_every_text(tokenizer, kind):
    tokenizer = tokenizer(kind)
    for text in TEXTS:
        for before in ("", " ", "x"):
            ids, spans = tokenizer.encode_with_offsets(text, before)
            assert ids.dtype == spans.dtype == np.int32 and spans.shape == (len(ids), 2)
            np.testing.assert_array_equal(ids, tokenizer.encode_after(text, before))
            begins, ends = spans.T
            assert (begins >= 0).all() and (begins <= ends).all() and (ends <= len(text)).all()
            assert (np.diff(begins) >= 0).all()
            assert all(word == word.strip() for word in words(tokenizer, text, before))


@pytest.mark.parametrize("kind", LOSSLESS)
def test_every_character_but_white_space_has_a_token(tokenizer, kind):
    tokenizer = tokenizer(kind)
    for text in TEXTS:
        covered = np.zeros(len(text), np.bool_)
        for begin, end in tokenizer.encode_with_offsets(text)[1].tolist():
            covered[begin:end] = True
        # SentencePiece reads "▁" as a space.
        lost = [c for c, hit in zip(text, covered, strict=True) if not hit and c != "▁"]
        assert not "".join(lost).strip(), text


@pytest.mark.parametrize("kind", LOSSLESS)
def test_the_word_is_what_the_token_decodes_to(tokenizer, kind):
    """Tokens with whole characters; the text has both surrogates of a character, and lone ones."""
    tokenizer, compared = tokenizer(kind), 0
    text = f"{NASTY} \ud83d\ude00the\ud800 parser {NASTY}"
    ids, spans = tokenizer.encode_with_offsets(text)
    for i, (begin, end) in zip(ids.tolist(), spans.tolist(), strict=True):
        written = tokenizer.decode([i]).strip()
        if "\ufffd" not in written and written:
            assert text[begin:end] == written
            compared += 1
    assert compared > 100


@pytest.mark.parametrize(
    "kind, text, expected",
    [
        ("byte_bpe", "  the é", ["", "the", "", "é", "é"]),
        ("bytes", "é \U0001f600", ["é", "é", "", *["\U0001f600"] * 4]),
        ("bytes", "\0\t", ["\0", ""]),
        ("bytes", "a\ud83d\ude00\ud800", ["a", *["\ud83d\ude00"] * 4, *["\ud800"] * 3]),
        ("chars", "a \ud83d\ude00", ["a", "", "\ud83d", "\ude00"]),
        ("sentencepiece bpe", "the\U0001f600", ["the", *["\U0001f600"] * 4]),
        ("nfkc unigram", "\u3000the  \u200bthe", ["the", "the"]),
        ("wordpiece", "THÉ\tthé 中文x", ["THÉ", "thé", "中", "文", "x"]),
        ("wordpiece", "the\ud83d\ude00 a\u0301", ["the\ud83d\ude00", "a"]),
        ("bert", "THE\u0301\n中\u0301the", ["THE", "中", "the"]),
    ],
)
def test_examples(tokenizer, kind, text, expected):
    assert words(tokenizer(kind), text) == expected


def test_a_part_of_what_a_character_becomes_covers_it(tmp_path):
    """NFKC makes "½" three characters, and one character of "e" and an accent."""
    sentencepiece_library.SentencePieceTrainer.train(
        sentence_iterator=iter(["a fine 1⁄2 é x"] * 50),
        model_prefix=str(tmp_path / "small"),
        model_type="char",
        character_coverage=1.0,
        vocab_size=16,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    tokenizer = sentencepiece.load(tmp_path / "small.model")
    assert words(tokenizer, "\ufb01ne ½ e\u0301 ☃☃x") == [
        *("", "\ufb01", "\ufb01", "n", "e", "", "½", "½", "½"),
        *("", "e\u0301", "", "☃☃", "x"),
    ]
    assert words(tokenizer, "\ufb01", "x") == ["\ufb01"] * 2  # no space in front


def comparable(texts):
    """Texts that the library `tokenizers` takes as they are."""
    return [text for text in texts if not any("\ud800" <= c <= "\udfff" for c in text)]


def test_nfkc_spans_contain_their_pieces(tokenizer):
    """The characters of a token, normalized alone, have the text of the token in them."""
    for kind in ("nfkc unigram", "nfkc bpe"):
        lossy = tokenizer(kind)
        normalizer = sentencepiece_library.SentencePieceProcessor(model_proto=lossy.model)
        for text in comparable(TEXTS):
            ids, spans = lossy.encode_with_offsets(text)
            for i, (begin, end) in zip(ids.tolist(), spans.tolist(), strict=True):
                piece = lossy.id_to_token(i).replace("▁", "")
                if i != lossy.unk:
                    assert piece in normalizer.normalize(text[begin:end]), text


@pytest.mark.parametrize("kind", ["wordpiece", "wordpiece cased", "bert"])
@pytest.mark.parametrize("part", [10, 1 << 16])
def test_wordpiece_has_the_offsets_of_the_library(tokenizer, kind, part, monkeypatch):
    """Also where a long text is encoded in parts."""
    monkeypatch.setattr(wordpiece, "PART", part)
    tokenizer = tokenizer(kind)
    backend = tokenizers.Tokenizer.from_str(tokenizer.backend.to_str())
    for text in comparable(TEXTS):
        ids, spans = tokenizer.encode_with_offsets(text)
        encoded = backend.encode(text)
        assert ids.tolist() == encoded.ids
        assert spans.tolist() == [list(span) for span in encoded.offsets]


@pytest.mark.parametrize("kind", ["byte_bpe", "roberta"])
def test_byte_bpe_has_the_offsets_of_the_library(tokenizer, vocabulary, kind):
    """It trims spaces, but no lines and tabs, which are tokens of their own."""
    tokenizer, folder = tokenizer(kind), vocabulary("byte_bpe")
    compare_byte_bpe(tokenizer, folder, comparable(TEXTS))


def compare_byte_bpe(tokenizer, folder, texts):
    files = [str(folder / name) for name in ("encoder.json", "vocab.bpe")]
    model = tokenizers.models.BPE.from_file(*files)
    backend = tokenizers.Tokenizer(model)
    backend.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.post_processor = tokenizers.processors.ByteLevel(
        add_prefix_space=False, trim_offsets=True
    )
    for text in texts:
        if set(text) & set("\x1c\x1d\x1e\x1f"):  # white space for Python alone
            continue
        ids, spans = tokenizer.encode_with_offsets(text)
        theirs = backend.encode(text).offsets
        assert len(theirs) == len(ids)
        for ours, (begin, end) in zip(spans.tolist(), theirs, strict=True):
            if text[begin:end].strip():
                assert ours == [begin, end], text
            else:
                assert ours[0] == ours[1] >= end, text


def test_a_long_text(tokenizer):
    text = (CORPUS * 3)[:200_000]
    for kind in KINDS:
        assert "".join(words(tokenizer(kind), text)) == "".join(text.split())


def test_a_tokenizer_that_counts_otherwise_needs_its_own():
    with pytest.raises(ValueError, match="have its 2 bytes; they have 3"):
        _offsets.byte_spans("é", np.array([1, 2]))


@pytest.mark.parametrize("name", ["gpt2", "bert"])
def test_published(shared, name):
    folder = shared / "vocab" / name
    texts = comparable(TEXTS)
    if name == "gpt2":
        compare_byte_bpe(byte_bpe.load(folder), folder, texts)
        return
    for lower_case in (True, False):
        bert = wordpiece.load(folder, lower_case=lower_case)
        for text in texts:
            spans = bert.encode_with_offsets(text)[1]
            assert [tuple(span) for span in spans.tolist()] == bert.backend.encode(text).offsets


@pytest.mark.parametrize("name", ["albert_30k", "t5_test_fixture", "bpe_test_fixture"])
def test_published_sentencepiece(shared, name):
    tokenizer = sentencepiece.load(shared / "vocab" / "sentencepiece" / f"{name}.model")
    for text in TEXTS:
        ids, spans = tokenizer.encode_with_offsets(text, "x")
        np.testing.assert_array_equal(ids, tokenizer.encode_after(text, "x"))
        assert (np.diff(spans[:, 0]) >= 0).all() and (spans[:, 0] <= spans[:, 1]).all()
    assert "".join(words(tokenizer, "he told the world")) == "hetoldtheworld"
