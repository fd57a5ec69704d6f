"""Ids of published vocabularies on published cases; needs PRETRAIN_JAX_SHARED."""

import hashlib
import json
import shutil

import pytest

from pretrain_jax.composition.check_special_tokens import check_special_tokens
from pretrain_jax.errors import ConfigError
from pretrain_jax.tokenizers import byte_bpe, sentencepiece, wordpiece

MODELS = ["test_model", "seqio_test", "albert_30k", "t5_test_fixture", "bpe_test_fixture"]


def cases(shared, name):
    return json.loads((shared / "golden" / "tokenizers" / f"{name}.json").read_text())


@pytest.fixture(scope="module")
def gpt2(shared):
    return byte_bpe.load(shared / "vocab" / "gpt2")


def test_gpt2(shared, gpt2):
    golden = cases(shared, "gpt2_bpe")
    for case in golden["published"] + golden["computed"]:
        assert gpt2.encode(case["text"]).tolist() == case["ids"], case
        assert gpt2.decode(case["ids"]) == case["text"]
    assert (gpt2.size, gpt2.bos, gpt2.eos, gpt2.pad) == (50257, 50256, 50256, None)
    for case in golden["special"]:  # with the special id added by hand, as whoever arranges does
        assert case["ids"][-1] == gpt2.eos
        ids = gpt2.encode(case["text"].removesuffix("<|endoftext|>")).tolist()
        assert [*ids, gpt2.eos] == case["ids"]
        assert gpt2.eos not in gpt2.encode(case["text"])


def test_gpt2_whole_files(shared, gpt2):
    for file, expected in cases(shared, "gpt2_bpe")["whole_files"].items():
        if not file.startswith("shared/data/"):
            text = (shared / "tinyshakespeare" / "input.txt").read_bytes().decode()
            cut = int(len(text) * 0.9)
            counts = [len(gpt2.encode(part)) for part in (text[:cut], text[cut:])]
            assert counts == expected["n_tokens"]
            continue
        text = (shared / file.removeprefix("shared/data/")).read_bytes().decode()
        ids = gpt2.encode(text)
        assert len(ids) == expected["n_tokens"]
        digest = hashlib.sha256(ids.astype("<u2").tobytes()).hexdigest()
        assert digest == expected["sha256_of_little_endian_uint16_ids"]


@pytest.fixture(scope="module")
def roberta(shared, tmp_path_factory):
    """The layout that a user makes: GPT-2's two files and fairseq's dict.txt in one folder."""
    folder = tmp_path_factory.mktemp("roberta")
    for file in ("gpt2/encoder.json", "gpt2/vocab.bpe", "roberta/dict.txt"):
        shutil.copy(shared / "vocab" / file, folder)
    return byte_bpe.load(folder)


def test_roberta(shared, roberta, gpt2):
    golden = cases(shared, "roberta_bpe")
    for case in golden["published"] + golden["computed"]:
        assert [roberta.cls, *roberta.encode(case["text"]).tolist(), roberta.sep] == case["ids"]
        assert roberta.decode(case["ids"]) == case["text"]
    assert roberta.size == 50265
    named = {"bos": 0, "cls": 0, "pad": 1, "eos": 2, "sep": 2, "unk": 3, "mask": 50264}
    assert roberta.special_ids == named
    assert (
        roberta.id_to_token(50264) == "<mask>"
        and roberta.id_to_token(4) == gpt2.id_to_token(13) == "."
    )
    assert roberta.special.sum() == 4 + 1 + 3 + 1  # with <|endoftext|> and three made-up words
    check_special_tokens(roberta, ("cls", "sep", "mask", "pad", "bos", "eos"), 0, "an encoder")


def test_roberta_as_hugging_face_writes_it(roberta, gpt2, shared, tmp_path):
    """vocab.json holds the ids of RoBERTa itself."""
    encoder = {roberta.id_to_token(i): i for i in range(roberta.size)}
    (tmp_path / "vocab.json").write_text(json.dumps(encoder))
    shutil.copy(shared / "vocab" / "gpt2" / "vocab.bpe", tmp_path / "merges.txt")
    assert byte_bpe.load(tmp_path).fingerprint == roberta.fingerprint != gpt2.fingerprint


def test_what_published_vocabularies_lack(shared, gpt2):
    bert = wordpiece.load(shared / "vocab" / "bert")
    check_special_tokens(bert, ("cls", "sep", "mask", "pad"), 0, "an encoder")
    with pytest.raises(
        ConfigError, match=r"no eos .*append the line \[EOS\] to vocab.txt; .*30523"
    ):
        check_special_tokens(bert, ("eos",), 0, "a decoder")
    added = r"no mask and no cls .* Or set tokenizer\.added=\('mask', 'cls'\); .* 50259 or more"
    with pytest.raises(ConfigError, match=added):
        check_special_tokens(gpt2, ("mask", "cls"), 0, "an encoder")


def test_sentence_ends(shared, gpt2, roberta):
    bert = wordpiece.load(shared / "vocab" / "bert")
    for tokenizer in (gpt2, roberta, bert):
        ids = tokenizer.encode("He left. Did she? Yes, in 1984!")
        assert tokenizer.sentence_ends[ids].sum() == 3
        assert tokenizer.sentence_ends[ids[-1]]


def test_bert(shared):
    bert = wordpiece.load(shared / "vocab" / "bert" / "vocab.txt")
    golden = cases(shared, "bert_wordpiece")
    for case in golden["computed"]:
        assert bert.encode(case["text"]).tolist() == case["ids"], case
    for case in golden["published"]["bert_base_uncased"]:
        first, second = bert.encode(case["text"]).tolist(), bert.encode(case["pair"]).tolist()
        assert [bert.cls, *first, bert.sep, *second, bert.sep] == case["ids"]
    assert (bert.size, bert.pad, bert.unk, bert.cls, bert.sep, bert.mask) == (
        30522,
        0,
        100,
        101,
        102,
        103,
    )


@pytest.mark.parametrize("part", ["full_tokenizer", "basic_tokenizer", "wordpiece"])
def test_bert_parts(shared, tmp_path, part):
    for case in cases(shared, "bert_wordpiece")["published"][part]:
        vocabulary = case.get("vocab", ["[UNK]", *dict.fromkeys(case["tokens"])])
        (tmp_path / "vocab.txt").write_text("\n".join(vocabulary) + "\n")
        tokenizer = wordpiece.load(tmp_path, lower_case=case.get("lower", True))
        ids = tokenizer.encode(case["text"]).tolist()
        if "X" in case["text"]:  # WordPiece alone: its case goes in without lower-casing
            ids = wordpiece.load(tmp_path, lower_case=False).encode(case["text"]).tolist()
        assert [tokenizer.id_to_token(i) for i in ids] == case["tokens"]
        assert ids == case.get("ids", ids)


@pytest.mark.parametrize("name", MODELS)
def test_sentencepiece(shared, name):
    golden = cases(shared, "sentencepiece")["models"]
    assert sorted(golden) == sorted(MODELS)
    file, expected = shared / "vocab" / "sentencepiece" / f"{name}.model", golden[name]
    tokenizer = sentencepiece.load(file)
    assert tokenizer.size == expected["vocab_size"]
    for field in ("pad", "unk", "bos", "eos"):
        wanted = expected[f"{field}_id"]
        assert getattr(tokenizer, field) == (None if wanted < 0 else wanted)
    for case in expected["computed"] + expected.get("published", []):
        if "extra_ids" in case:
            continue
        ids = tokenizer.encode(case["text"]).tolist()
        assert ids == case["ids"], case
        for i, piece in zip(ids, case.get("pieces", map(tokenizer.id_to_token, ids)), strict=True):
            assert i == tokenizer.unk or tokenizer.id_to_token(i) == piece


def test_sentencepiece_sentinels_of_t5(shared):
    """seqio finds sentinels in the text, ours are added: the ids are the same."""
    golden = cases(shared, "sentencepiece")["models"]["seqio_test"]["published"]
    (case,) = (case for case in golden if "extra_ids" in case)
    file = shared / "vocab" / "sentencepiece" / "seqio_test.model"
    tokenizer = sentencepiece.load(file, sentinels=case["extra_ids"])
    assert tokenizer.size == case["vocab_size_with_extra_ids"]
    text = tokenizer.encode("v").tolist()
    ids = [tokenizer.sentinel(0), tokenizer.sentinel(1), *text, tokenizer.sentinel(9)]
    assert ids == case["ids"]
