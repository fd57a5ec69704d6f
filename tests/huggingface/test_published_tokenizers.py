"""Published vocabularies, exported and read; needs PRETRAIN_JAX_SHARED."""

import json
import shutil

import pytest
import tokenizers
from etils import epath

from pretrain_jax.huggingface import _tokenizer_files
from pretrain_jax.huggingface._difficult_texts import DIFFICULT
from pretrain_jax.huggingface._sentencepiece_backend import same_likelihood
from pretrain_jax.tokenizers import byte_bpe, sentencepiece, wordpiece

MODELS = ["test_model", "seqio_test", "albert_30k", "t5_test_fixture", "bpe_test_fixture"]


def export(tokenizer, folder, model_type="gpt2"):
    _tokenizer_files.write(tokenizer, epath.Path(folder), model_type=model_type, max_length=512)
    return tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))


def published(shared, name, folder):
    """One of the byte-level vocabularies and BERT's, from their published files."""
    if name == "bert":
        return wordpiece.load(shared / "vocab" / "bert")
    files = ["gpt2/encoder.json", "gpt2/vocab.bpe"]
    for file in files + (["roberta/dict.txt"] if name == "roberta" else []):
        shutil.copy(shared / "vocab" / file, folder)
    return byte_bpe.load(folder)


@pytest.mark.parametrize("name", ["gpt2", "roberta", "bert"])
def test_published_vocabularies(shared, placed, strings, tmp_path_factory, name):
    tokenizer = published(shared, name, tmp_path_factory.mktemp("published"))
    folder = tmp_path_factory.mktemp("hf")
    backend = export(tokenizer, folder, name)
    assert backend.get_vocab_size() == tokenizer.size
    for text in [*strings, *DIFFICULT]:
        if not any(t.content in text for t in backend.get_added_tokens_decoder().values()):
            assert (
                tokenizer.encode(text).tolist()
                == backend.encode(text, add_special_tokens=False).ids
            )
    ids = backend.encode("Hello world").ids
    ends = {"gpt2": ([], []), "roberta": ([0], [2]), "bert": ([101], [102])}[name]
    assert ids == [*ends[0], *tokenizer.encode("Hello world").tolist(), *ends[1]]
    again = placed(_tokenizer_files.read(epath.Path(folder), vocab_size=tokenizer.size))
    assert again.fingerprint == tokenizer.fingerprint
    assert again.special_ids == tokenizer.special_ids


@pytest.mark.parametrize("name", ["gpt2", "roberta"])
def test_vocab_json_and_merges_txt(shared, placed, tmp_path, name):
    """The files that GPT2Tokenizer and RobertaTokenizer read, without tokenizer.json."""
    tokenizer = published(shared, name, tmp_path)
    export(tokenizer, tmp_path / "hf", name)
    (tmp_path / "hf" / "tokenizer.json").unlink()
    again = placed(_tokenizer_files.read(epath.Path(tmp_path / "hf"), vocab_size=50304))
    assert again.fingerprint == tokenizer.fingerprint


def test_ids_of_the_golden_file(shared, tmp_path):
    backend = export(published(shared, "gpt2", tmp_path), tmp_path / "hf")
    golden = json.loads((shared / "golden" / "tokenizers" / "gpt2_bpe.json").read_text())
    for case in golden["published"] + golden["computed"]:
        if "<|endoftext|>" not in case["text"]:
            assert backend.encode(case["text"]).ids == case["ids"], case


@pytest.mark.parametrize("name", MODELS)
def test_published_sentencepiece_models(shared, placed, tmp_path, name):
    file = shared / "vocab" / "sentencepiece" / f"{name}.model"
    tokenizer = sentencepiece.load(file, sentinels=10)
    backend = export(tokenizer, tmp_path, "t5" if tokenizer.eos is not None else "gpt2")
    book = (shared / "vocab" / "sentencepiece" / "botchan.txt").read_text().split("\n")
    for text in book:
        ours, theirs = (
            tokenizer.encode(text).tolist(),
            backend.encode(text, add_special_tokens=False).ids,
        )
        assert ours == theirs or same_likelihood(tokenizer.model, ours, theirs), text
    again = placed(_tokenizer_files.read(epath.Path(tmp_path), vocab_size=tokenizer.size))
    assert again.fingerprint == tokenizer.fingerprint
