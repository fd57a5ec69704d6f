"""WordPiece that is learned here keeps the text of every script; published ones are BERT's."""

import random

import numpy as np
import pytest
import tokenizers
from text_samples import CORPUS, NASTY

from pretrain_jax.tokenizers import fingerprint_of, wordpiece

LINES = {
    "thai": "ที่นี่เป็นประเทศไทยและผู้คนพูดภาษาไทยกันทุกวัน",
    "lao": "ຂ້ອຍຮັກພາສາລາວແລະຄົນລາວ",
    "khmer": "ខ្ញុំស្រឡាញ់ភាសាខ្មែរនិងប្រទេសកម្ពុជា",
    "burmese": "ကျွန်တော်မြန်မာစကားကိုချစ်တယ်",
    "japanese": "これはひらがなとカタカナとガギグゲゴのラーメンです々",
    "tibetan": "བོད་སྐད་དང་བོད་ཡིག་ནི་བོད་པའི་སྐད་ཡིག་ཡིན།",
    "hindi": "हिन्दीभाषाबहुतसुन्दरहैऔरइसकेमात्राएँ",
    "dna": "acgtgatacaccatgga",
}


@pytest.fixture
def learned(tmp_path):
    """learned(texts, vocab_size) -> a vocabulary learned from them."""

    def learn(texts, vocab_size=600, **options):
        wordpiece.train(texts, tmp_path, vocab_size=vocab_size, **options)
        return wordpiece.load(tmp_path, **options)

    return learn


def spelled(tokenizer, text):
    return [tokenizer.id_to_token(i) for i in tokenizer.encode(text)]


def test_every_character_has_an_id_while_ids_are_free(learned):
    """2,000 characters of Chinese fit into 2,200 ids, of which none goes to what cannot occur."""
    draw = random.Random(0)
    characters = [chr(0x4E00 + i) for i in range(2000)]
    texts = ["".join(draw.sample(characters, 2000)) for _ in range(3)]
    tokenizer = learned(texts, 2200)
    assert spelled(tokenizer, texts[0]) == list(texts[0])
    assert not any(tokenizer.id_to_token(i).startswith("##") for i in range(tokenizer.size))


def test_rare_characters_do_not_take_the_ids_of_words(learned):
    """Of 20,000 characters that occur once, some are kept, and English keeps its pieces."""
    rare = "".join(map(chr, range(0x3400, 0xD700, 2)))
    without = learned([CORPUS], 2000).encode(CORPUS)
    tokenizer = learned([CORPUS, rare], 2000)
    assert len(tokenizer.encode(CORPUS)) < 2 * len(without)
    assert 0 < np.count_nonzero(tokenizer.encode(rare) == tokenizer.unk) < len(rare)


@pytest.mark.parametrize("lower_case", [True, False])
def test_long_lines_without_spaces_are_not_lost(learned, lower_case):
    tokenizer = learned(LINES.values(), 2000, lower_case=lower_case)
    for name, text in LINES.items():
        line = text * 30
        assert len(line) > wordpiece.LONGEST_WORD
        ids = tokenizer.encode(line)
        assert tokenizer.unk not in ids, name
        assert tokenizer.decode(ids).replace(" ", "") == line


def test_accents_are_taken_from_latin_greek_and_cyrillic_only(learned):
    tokenizer = learned(["Ärger façade Ἀθῆναι ёлка İ ガ ที่ 한국 Việt"])
    expected = "arger facade αθηναι елка i ガ ที่ 한국 viet"
    assert (
        tokenizer.decode(tokenizer.encode("Ärger façade Ἀθῆναι ёлка İ ガ ที่ 한국 Việt")) == expected
    )


def test_the_library_s_own_file_splits_the_same(learned):
    """What is done to the text before pieces are looked up can be written as tokenizer.json."""
    tokenizer = learned([*LINES.values(), CORPUS, NASTY], 2000)
    again = tokenizers.Tokenizer.from_str(tokenizer.backend.to_str())
    for text in (*LINES.values(), CORPUS, NASTY):
        assert again.encode(text).ids == tokenizer.encode(text).tolist()


def test_a_vocabulary_without_its_splitting_is_split_as_bert_does(tmp_path, learned):
    """Published vocabularies, and those that were learned before splitting.json was written."""
    own = learned([*LINES.values(), CORPUS], 2000)
    (tmp_path / wordpiece.SPLITTING_FILE).unlink()
    tokenizer = wordpiece.load(tmp_path / wordpiece.FILE)
    bert = tokenizers.Tokenizer(
        tokenizers.models.WordPiece(
            {tokenizer.id_to_token(i): i for i in range(tokenizer.size)},
            unk_token="[UNK]",
            max_input_chars_per_word=200,
        )
    )
    bert.normalizer = tokenizers.normalizers.BertNormalizer(strip_accents=True, lowercase=True)
    bert.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    for text in (*LINES.values(), CORPUS, NASTY, LINES["thai"] * 30):
        assert tokenizer.encode(text).tolist() == bert.encode(text).ids
    assert tokenizer.encode(LINES["thai"] * 30).tolist() == [tokenizer.unk]
    pieces = [tokenizer.id_to_token(i) for i in range(tokenizer.size)]
    assert (
        tokenizer.fingerprint
        == fingerprint_of("wordpiece", pieces, True, 200, 0)
        != own.fingerprint
    )


def test_the_file_alone_is_loaded_as_its_folder_is(tmp_path, learned):
    tokenizer = learned([*LINES.values(), CORPUS])
    alone = wordpiece.load(tmp_path / wordpiece.FILE)
    assert alone.fingerprint == tokenizer.fingerprint
