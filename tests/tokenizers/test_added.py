"""tokenizer.added: special ids after all ids of a vocabulary that lacks them."""

import json
import pickle
import shutil

import numpy as np
import pytest
import sentencepiece as sentencepiece_library
import tokenizers
from etils import epath
from text_samples import CORPUS, NASTY

from pretrain_jax import registry
from pretrain_jax.composition import init_from
from pretrain_jax.composition.check_special_tokens import check_special_tokens
from pretrain_jax.composition.tokenizer import load_or_train
from pretrain_jax.errors import ConfigError
from pretrain_jax.huggingface import _tokenizer_files
from pretrain_jax.inference import spellings
from pretrain_jax.tokenizers import byte_bpe, fingerprint_of, sentencepiece

MODULES = {"byte_bpe": byte_bpe, "sentencepiece": sentencepiece}
ADDED = ("cls", "sep", "mask", "pad")
SPELLED = {
    "byte_bpe": ["<|cls|>", "<|sep|>", "<|mask|>", "<|pad|>"],
    "sentencepiece": ["[CLS]", "[SEP]", "[MASK]", "[PAD]"],
}
NAMES = [*MODULES]


@pytest.fixture(scope="module")
def published(vocabulary, tmp_path_factory):
    """Folders of vocabularies as GPT-2's and LLaMA's: without the ids in ADDED."""
    gpt2, llama = (tmp_path_factory.mktemp(name) for name in ("gpt2", "llama"))
    encoder = json.loads((vocabulary("byte_bpe") / "encoder.json").read_text())
    kept = {spelling: i for spelling, i in encoder.items() if spelling not in SPELLED["byte_bpe"]}
    (gpt2 / "encoder.json").write_text(json.dumps(kept))
    shutil.copy(vocabulary("byte_bpe") / "vocab.bpe", gpt2)
    sentencepiece_library.SentencePieceTrainer.train(
        sentence_iterator=iter(CORPUS.splitlines()),
        model_prefix=str(llama / "sentencepiece"),
        vocab_size=600,
        byte_fallback=True,
        minloglevel=2,
    )
    return {"byte_bpe": gpt2, "sentencepiece": llama}


@pytest.fixture
def load(published):
    """load(name, **options): the tokenizer of one of these folders."""
    return lambda name, **options: MODULES[name].load(published[name], **options)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("sentinels", [0, 3])
def test_added_ids_follow_all_others(load, name, sentinels):
    plain = load(name, sentinels=sentinels)
    tokenizer = load(name, sentinels=sentinels, added=ADDED)
    n = plain.size
    new = list(range(n, n + 4))
    assert tokenizer.size == n + 4 and tokenizer.sentinels == plain.sentinels
    assert tokenizer.special_ids == {**plain.special_ids, **dict(zip(ADDED, new, strict=True))}
    assert [tokenizer.id_to_token(i) for i in new] == SPELLED[name]
    assert [tokenizer.id_to_token(i) for i in range(n)] == [*map(plain.id_to_token, range(n))]
    for table, value in (
        ("special", True),
        ("unscored", True),
        ("word_starts", True),
        ("token_bytes", 0),
        ("sentence_ends", False),
    ):
        expected = [*getattr(plain, table).tolist(), *[value] * 4]
        assert getattr(tokenizer, table).tolist() == expected
    text = f"{NASTY} {' '.join(SPELLED[name])} the parser"
    ids = tokenizer.encode(text)
    np.testing.assert_array_equal(ids, plain.encode(text))
    assert tokenizer.decode([n, *ids, *new, *ids[-2:]]) == plain.decode([*ids, *ids[-2:]])
    assert pickle.loads(pickle.dumps(tokenizer)).special_ids == tokenizer.special_ids


@pytest.mark.parametrize("name", NAMES)
def test_the_order_is_that_of_the_option(load, name):
    tokenizer = load(name, added=("pad", "cls"))
    assert (tokenizer.pad, tokenizer.cls) == (tokenizer.size - 2, tokenizer.size - 1)
    assert tokenizer.sep is None and tokenizer.mask is None


def test_fingerprints(load):
    """Without added ids, those of older code."""
    for name in NAMES:
        variants = [(), ("cls",), ("sep",), ("cls", "sep"), ("sep", "cls")]
        found = [load(name, added=added).fingerprint for added in variants]
        assert len(set(found)) == 5 and load(name).fingerprint == found[0]
        assert load(name, added=["cls"]).fingerprint == found[1]  # as read from JSON
    model = load("sentencepiece", sentinels=2)
    assert model.fingerprint == fingerprint_of("sentencepiece", model.model.hex(), 2)
    bpe = load("byte_bpe", sentinels=2)
    tokens, n = byte_bpe.merged_tokens(bpe.merges), bpe.size - 3
    parts = ([token.hex() for token in tokens], list(range(n)), {"<|endoftext|>": n}, 2)
    assert bpe.fingerprint == fingerprint_of("byte_bpe", bpe.split.pattern, *parts)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_refused(load, published, name):
    eos = load(name).eos
    with pytest.raises(ConfigError, match=rf"it has eos already, as id {eos}\. Leave eos out"):
        load(name, added=("cls", "eos"))
    size = load(name).size
    with pytest.raises(ConfigError, match=f"it has cls already, as id {size}"):
        load(name, added=("cls", "cls"))
    for unknown in ("unk", "clas", "sentinels"):
        with pytest.raises(
            ConfigError, match=r"a name in tokenizer\.added must be one of bos, cls"
        ):
            load(name, added=(unknown,))
    with pytest.raises(ConfigError, match="did you mean cls"):
        load(name, added=("clas",))


def test_a_spelling_that_is_taken_is_refused(published, tmp_path):
    """Else two ids would have one spelling."""
    encoder = json.loads((published["byte_bpe"] / "encoder.json").read_text())
    encoder["<|bos|>"] = encoder.pop("<|endoftext|>")
    (tmp_path / "encoder.json").write_text(json.dumps(encoder))
    shutil.copy(published["byte_bpe"] / "vocab.bpe", tmp_path)
    assert byte_bpe.load(tmp_path, added=("eos",)).special_ids == {"eos": len(encoder)}
    with pytest.raises(ConfigError, match=r"it has the token <\|bos\|> already, as id"):
        byte_bpe.load(tmp_path, added=("bos",))


@pytest.mark.parametrize("name", NAMES)
def test_a_vocabulary_that_is_learned_has_all(trained, vocabulary, tmp_path, name):
    def texts():
        raise AssertionError("training reads the text")
        yield ""

    with pytest.raises(ConfigError, match=r"learned here has every special id already; .*'cls'"):
        MODULES[name].train(texts(), tmp_path, vocab_size=600, added=("cls",))
    assert not list(tmp_path.iterdir())
    with pytest.raises(ConfigError, match=f"it has cls already, as id {trained(name).cls}"):
        MODULES[name].load(vocabulary(name), added=("cls",))


@pytest.mark.parametrize("name", NAMES)
def test_the_tokenizer_of_a_run(published, tmp_path, name):
    reads = []

    def make(path, **options):
        def texts():
            reads.append(path)
            yield CORPUS

        return load_or_train(
            name,
            path,
            texts=texts,
            corpus_fingerprint="abc",
            vocab_size=620,
            directory=tmp_path / "tokenizer",
            **options,
        )

    path = str(published[name])
    assert make(path, added=("cls",)).cls == make(path, added=()).size
    with pytest.raises(ConfigError, match=r"Leave out tokenizer\.added"):
        make("", added=("cls",))
    assert not (tmp_path / "tokenizer").exists()
    reads.clear()
    make("", added=())
    note = json.loads((tmp_path / "tokenizer" / "note.json").read_text())
    assert "added" not in note["options"]  # as older code wrote it: not trained again
    make("", added=())
    make("")
    assert len(reads) == 1


@pytest.mark.parametrize("name", NAMES)
def test_the_message_for_a_missing_id_offers_it(load, name):
    plain = load(name)
    with pytest.raises(ConfigError) as caught:
        check_special_tokens(plain, ("cls", "mask", "eos"), 0, "masked_lm")
    message = str(caught.value)
    remedy = "set tokenizer.added=('cls', 'mask'); model.vocab_size must then be "
    assert "this one has no cls and no mask (it has" in message
    assert f"{remedy}{plain.size + 2} or more" in message
    check_special_tokens(load(name, added=("cls", "mask")), ("cls", "mask", "eos"), 0, "masked_lm")


@pytest.mark.parametrize("name", NAMES)
def test_prompts_spell_them(load, name):
    tokenizer = load(name, sentinels=2, added=ADDED)
    cls, _, mask, _ = SPELLED[name]
    before = tokenizer.encode("the").tolist()
    for text in (f"{cls}the {mask}<extra_id_1>", "<cls>the <mask><extra_id_1>"):
        ids = spellings.encode(text, tokenizer)
        assert ids.tolist() == [tokenizer.cls, *before, tokenizer.mask, tokenizer.sentinels[1]]
        assert spellings.decode(ids, tokenizer) == f"{cls}the{mask}<extra_id_1>"


@pytest.mark.parametrize("name", NAMES)
def test_tokens_keep_their_rows_in_a_run_that_adds_ids(load, name):
    old, new = load(name, sentinels=2), load(name, sentinels=2, added=("cls", "sep"))
    assert init_from.match_tokens(old, new).tolist() == [*range(old.size), -1, -1]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("sentinels", [0, 3])
def test_hugging_face_has_the_same_ids(load, tmp_path, name, sentinels):
    """In its library, and in what is read back from its files."""
    tokenizer = load(name, sentinels=sentinels, added=ADDED)
    hf = epath.Path(tmp_path / "hf")
    _tokenizer_files.write(tokenizer, hf, model_type="bert", max_length=64)
    backend = tokenizers.Tokenizer.from_file(str(hf / "tokenizer.json"))
    ids = range(tokenizer.size)
    assert [backend.id_to_token(i) for i in ids] == [*map(tokenizer.id_to_token, ids)]
    assert backend.get_vocab_size() == tokenizer.size
    text = "the parser of arguments"
    inside = tokenizer.encode(text).tolist()
    assert backend.encode(text).ids == [tokenizer.cls, *inside, tokenizer.sep]
    for name_of_id in ADDED:
        i = getattr(tokenizer, name_of_id)
        assert backend.encode(tokenizer.id_to_token(i), add_special_tokens=False).ids == [i]
    config = json.loads((hf / "tokenizer_config.json").read_text())
    assert config["cls_token"] == SPELLED[name][0] and config["pad_token"] == SPELLED[name][3]
    imported = _tokenizer_files.read(hf, vocab_size=tokenizer.size)
    for file, content in imported.files.items():
        (tmp_path / file).write_bytes(content)
    module = registry.load("tokenizers", imported.name, "")
    again = module.load(tmp_path, **imported.options)
    assert again.special_ids == tokenizer.special_ids and again.size == tokenizer.size
    assert again.sentinels == tokenizer.sentinels
    np.testing.assert_array_equal(again.encode(NASTY), tokenizer.encode(NASTY))
    if sentinels and name == "byte_bpe":
        assert imported.options["added"] == ADDED
        assert again.fingerprint == tokenizer.fingerprint


def test_gpt2(shared):
    folder = shared / "vocab" / "gpt2"
    tokenizer = byte_bpe.load(folder, added=("cls", "sep"))
    assert (tokenizer.cls, tokenizer.sep, tokenizer.size) == (50257, 50258, 50259)
    with pytest.raises(ConfigError, match="it has bos already, as id 50256"):
        byte_bpe.load(folder, added=("bos",))
