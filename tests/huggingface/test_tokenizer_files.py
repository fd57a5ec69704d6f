"""Exported tokenizers give our ids, in `tokenizers` and in transformers, and can be read back."""

import json
import random
import unicodedata

import pytest
import tokenizers
from etils import epath
from vocabularies import CORPUS, KINDS

from pretrain_jax.errors import ConfigError, DataError, UnwritableWorkdir
from pretrain_jax.huggingface import _tokenizer_files
from pretrain_jax.huggingface._difficult_texts import DIFFICULT
from pretrain_jax.huggingface._sentencepiece_backend import same_likelihood
from pretrain_jax.tokenizers import byte_bpe, sentencepiece, wordpiece

MODEL_TYPES = ("gpt2", "openai-gpt", "llama", "bert", "roberta", "electra", "t5")
PLAIN = "The river runs past the old mill."


def export(tokenizer, folder, model_type="gpt2"):
    _tokenizer_files.write(tokenizer, epath.Path(folder), model_type=model_type, max_length=64)
    return folder


def comparable(tokenizer, texts):
    """The texts without the spelling of a special token."""
    special = [tokenizer.id_to_token(i) for i in range(tokenizer.size) if tokenizer.special[i]]
    special.append("<unk>")
    return [text for text in texts if not any(s in text for s in special) and "\uff1c" not in text]


def assert_same(tokenizer, encode, texts):
    """The ids are ours, but for the two inexact things that _sentencepiece_backend.py names."""
    texts, lost = comparable(tokenizer, texts), 0
    for text in texts:
        ours, theirs = tokenizer.encode(text).tolist(), encode(text)
        if ours != theirs:
            assert isinstance(tokenizer, sentencepiece.SentencePiece), text
            lost += not same_likelihood(tokenizer.model, ours, theirs)
            assert not lost or any(map(unicodedata.combining, text)), text
    assert lost <= len(texts) / 100


@pytest.mark.parametrize("kind", KINDS)
def test_ids_in_the_library_are_ours(learned, strings, tmp_path, kind):
    _, tokenizer = learned(kind)
    export(tokenizer, tmp_path)
    backend = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    assert backend.get_vocab_size() == tokenizer.size
    texts = [*DIFFICULT, *CORPUS, *strings]
    assert_same(tokenizer, lambda text: backend.encode(text).ids, texts)
    for i in (*tokenizer.special_ids.values(), *tokenizer.sentinels):
        spelling = tokenizer.id_to_token(i)
        assert backend.encode(spelling).ids == [i] == [backend.token_to_id(spelling)]
        assert tokenizer.encode(spelling).tolist() != [i]  # the one difference by design


@pytest.mark.parametrize("kind", KINDS)
def test_text_comes_back_in_the_library(learned, tmp_path, kind):
    _, tokenizer = learned(kind)
    export(tokenizer, tmp_path)
    backend = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    for text in (PLAIN, "  two  spaces\n", CORPUS[0], CORPUS[2], CORPUS[5], "a 12\t"):
        ids = [i for i in tokenizer.encode(text).tolist() if i != tokenizer.unk]
        assert backend.decode(ids) == tokenizer.decode(ids)


@pytest.mark.filterwarnings("ignore")  # those of transformers and torch
@pytest.mark.parametrize("kind", KINDS)
def test_auto_tokenizer_gives_our_ids(learned, strings, tmp_path, kind):
    """With and without the model's config.json, which has a say in the class."""
    transformers = pytest.importorskip("transformers")
    _, tokenizer = learned(kind)
    first = list(KINDS).index(kind)
    for n in (first % 7, (first + 3) % 7):
        model_type = MODEL_TYPES[n]
        folder = export(tokenizer, tmp_path / model_type, model_type)
        for has_config in (False, True):
            if has_config:
                (folder / "config.json").write_text(json.dumps({"model_type": model_type}))
            loaded = transformers.AutoTokenizer.from_pretrained(folder)
            assert len(loaded) == tokenizer.size and loaded.model_max_length == 64
            named = {f"{name}_token_id": i for name, i in tokenizer.special_ids.items()}
            assert {name: getattr(loaded, name) for name in named} == named
            texts = [*DIFFICULT, *strings[n::4]]
            assert_same(tokenizer, lambda t, a=loaded: a.encode(t, add_special_tokens=False), texts)
            ids = loaded(PLAIN).input_ids
            assert loaded.decode(ids, skip_special_tokens=True) == tokenizer.decode(
                tokenizer.encode(PLAIN)
            )


SURROUNDINGS = {
    "gpt2": ([], []),
    "openai-gpt": ([], []),
    "llama": (["bos"], []),
    "bert": (["cls"], ["sep"]),
    "electra": (["cls"], ["sep"]),
    "roberta": (["cls"], ["sep"]),
    "t5": ([], ["eos"]),
}


@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_a_text_gets_what_the_objectives_add(learned, tmp_path, model_type):
    _, tokenizer = learned("byte_bpe")
    export(tokenizer, tmp_path, model_type)
    backend = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    begin, end = (
        [getattr(tokenizer, name) for name in names] for names in SURROUNDINGS[model_type]
    )
    ids = tokenizer.encode(PLAIN).tolist()
    assert backend.encode(PLAIN).ids == [*begin, *ids, *end]
    pair = backend.encode(PLAIN, PLAIN)
    if model_type in ("bert", "electra"):
        assert pair.ids == [*begin, *ids, *end, *ids, *end]
        assert pair.type_ids == [0] * (len(ids) + 2) + [1] * (len(ids) + 1)
    config = json.loads((tmp_path / "tokenizer_config.json").read_text())
    assert ("token_type_ids" in config["model_input_names"]) == (model_type in ("bert", "electra"))


@pytest.mark.parametrize("kind", ["byte_bpe", "sentencepiece unigram", "sentencepiece bpe lossy"])
def test_masks_and_sentinels_take_the_space_before_them(learned, tmp_path, kind):
    """The ids are those of training, which replaces the word "old" with its space."""
    _, tokenizer = learned(kind)
    export(tokenizer, tmp_path, "bert")
    backend = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    before, after = tokenizer.encode("past the").tolist(), tokenizer.encode_after(" mill, and", "d")
    for i in (tokenizer.mask, tokenizer.sentinel(1)):
        text = f"past the {tokenizer.id_to_token(i)} mill, and"
        ids = backend.encode(text, add_special_tokens=False).ids
        assert ids == [*before, i, *after.tolist()]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sentinels", [0, 3])
def test_what_was_written_is_read_back(learned, placed, tmp_path, kind, sentinels):
    _, tokenizer = learned(kind, sentinels)
    export(tokenizer, tmp_path / "hf")
    imported = _tokenizer_files.read(epath.Path(tmp_path / "hf"), vocab_size=tokenizer.size)
    assert imported.name == kind.split()[0]
    again = placed(imported)
    assert again.fingerprint == tokenizer.fingerprint
    assert again.special_ids == tokenizer.special_ids and again.sentinels == tokenizer.sentinels


def test_a_changed_merge_is_noticed(learned, tmp_path):
    folder, _ = learned("byte_bpe")
    tokenizer = byte_bpe.load(folder, sentinels=3)
    merges = tokenizer.merges
    known = set(byte_bpe.merged_tokens(merges))
    number, pair = next(
        (n, (token[:cut], token[cut:]))
        for n, token in enumerate(left + right for left, right in merges)
        for cut in range(1, len(token))
        if (token[:cut], token[cut:]) != merges[n] and {token[:cut], token[cut:]} <= known
    )
    merges[number] = pair  # the same token, made from another pair
    with pytest.raises(DataError, match=r"must give the same ids .* the text '.*' has the ids"):
        export(tokenizer, tmp_path / "hf")
    assert not (tmp_path / "hf").exists()


@pytest.mark.parametrize("kind", ["wordpiece", "sentencepiece unigram", "sentencepiece bpe"])
def test_a_changed_vocabulary_is_noticed(learned, tmp_path, kind, monkeypatch):
    """Two pieces change places in what is exported, but not in what encodes here."""
    folder, _ = learned(kind)
    if kind == "wordpiece":
        tokenizer = wordpiece.load(folder, sentinels=3)
        vocabulary = tokenizer.backend.get_vocab()
        vocabulary["r"], vocabulary["m"] = vocabulary["m"], vocabulary["r"]
        model = tokenizers.models.WordPiece(vocabulary, unk_token="[UNK]")
        exported = tokenizers.Tokenizer.from_str(tokenizer.backend.to_str())
        exported.model = model
        monkeypatch.setattr(tokenizer, "backend", exported)
        original = wordpiece.load(folder, sentinels=3)
        monkeypatch.setattr(tokenizer, "encode", original.encode)
    else:
        tokenizer = sentencepiece.load(folder, sentinels=3)
        model = sentencepiece.ModelProto.FromString(tokenizer.model)
        first, second = (n for n, p in enumerate(model.pieces) if p.piece in ("r", "m"))
        model.pieces[first].piece, model.pieces[second].piece = "m", "r"
        tokenizer.model = model.SerializeToString(deterministic=True)
    with pytest.raises(DataError, match="must give the same ids"):
        export(tokenizer, tmp_path / "hf")
    assert not (tmp_path / "hf").exists()


def test_a_random_merge_table_is_noticed_by_its_own_tokens(learned, tmp_path):
    """The texts of all ids are compared: no merge is too rare."""
    folder, _ = learned("byte_bpe")
    draw = random.Random(0)
    for _ in range(5):
        tokenizer = byte_bpe.load(folder)
        del tokenizer.merges[draw.randrange(len(tokenizer.merges))]
        with pytest.raises(DataError):
            export(tokenizer, tmp_path)


def test_refusals(learned, tmp_path):
    _, tokenizer = learned("byte_bpe")
    with pytest.raises(ConfigError, match=r"model_type must be one of bert, .* did you mean bert"):
        export(tokenizer, tmp_path, "berd")
    (tmp_path / "vocab.txt").write_text("[UNK]\na\n")
    with pytest.raises(
        ConfigError, match=r"special ids cls and sep; this one has no cls and no sep"
    ):
        export(wordpiece.load(tmp_path), tmp_path, "bert")
    (tmp_path / "file").write_text("")
    with pytest.raises(UnwritableWorkdir, match="file must be writable"):
        export(tokenizer, tmp_path / "file")
    with pytest.raises(
        ConfigError, match="that Hugging Face can express; object has no form there"
    ):
        export(object(), tmp_path)
