"""What every tokenizer promises, on vocabularies trained here."""

import hashlib
import json
import os
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import sentencepiece as sentencepiece_library
import tokenizers
from text_samples import CORPUS, NASTY

from pretrain_jax import registry
from pretrain_jax.errors import ConfigError, DataError, InputMissing
from pretrain_jax.tokenizers import byte_bpe, bytes, chars, sentencepiece, wordpiece

NAMES = registry.names("tokenizers")
LOSSLESS = ["byte_bpe", "bytes", "chars", "sentencepiece"]
NAMED = ("pad", "bos", "eos", "mask", "cls", "sep")


@pytest.mark.parametrize("name", NAMES)
def test_specials_exist_and_never_come_out_of_encode(trained, name):
    tokenizer = trained(name, sentinels=3)
    specials = [getattr(tokenizer, field) for field in NAMED] + list(tokenizer.sentinels)
    assert None not in specials
    assert len(tokenizer.sentinels) == 3
    assert tokenizer.sentinel(0) == tokenizer.size - 1  # T5's layout
    assert np.flatnonzero(tokenizer.special).tolist() == sorted(set(specials))
    spelled = " ".join(tokenizer.id_to_token(i) for i in specials) + "".join(
        map(tokenizer.id_to_token, specials)
    )
    ids = tokenizer.encode(spelled + NASTY)
    assert not tokenizer.special[ids].any()
    known = "argument default"
    assert tokenizer.decode([specials[0], *tokenizer.encode(known), *specials]) == known


@pytest.mark.parametrize("name", NAMES)
def test_shapes_types_and_ranges(trained, name):
    tokenizer = trained(name)
    assert tokenizer.size <= 600
    for string in ("", " ", "x", NASTY, CORPUS[:2000], "lone \ud800 surrogate"):
        ids = tokenizer.encode(string)
        assert ids.dtype == np.int32 and ids.ndim == 1
        assert ids.size == 0 or (ids.min() >= 0 and ids.max() < tokenizer.size)
    assert tokenizer.encode("").size == 0 and tokenizer.decode([]) == ""
    assert tokenizer.word_starts.shape == tokenizer.special.shape == (tokenizer.size,)
    assert tokenizer.word_starts[tokenizer.special].all()
    spellings = [tokenizer.id_to_token(i) for i in range(tokenizer.size)]
    assert len(set(spellings)) == tokenizer.size


@pytest.mark.parametrize("name", LOSSLESS)
def test_nasty_text_comes_back(trained, name):
    tokenizer = trained(name)
    assert tokenizer.decode(tokenizer.encode(NASTY)) == NASTY
    assert tokenizer.decode(tokenizer.encode("a\ud800b")) == "a\ufffdb"


@pytest.mark.parametrize("name", ["byte_bpe", "bytes", "sentencepiece"])
def test_broken_utf8_becomes_the_replacement_character(trained, name):
    tokenizer = trained(name)
    ids = tokenizer.encode("a😁")  # not in the corpus: its four bytes are four ids
    assert tokenizer.decode(ids[:-1]).startswith("a\ufffd")


@pytest.mark.parametrize("name", NAMES)
def test_threads_agree(trained, name):
    tokenizer = trained(name)
    parts = [CORPUS[i : i + 5000] for i in range(0, len(CORPUS), 5000)]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(tokenizer.encode, parts))
    for part, ids in zip(parts, together, strict=True):
        np.testing.assert_array_equal(ids, tokenizer.encode(part))


@pytest.mark.parametrize("name", NAMES)
def test_fingerprint_tells_vocabularies_apart(vocabulary, trained, name):
    module = registry.load("tokenizers", name, "tokenizer.name")
    directory = vocabulary(name)
    tokenizer = trained(name)
    assert tokenizer.fingerprint == module.load(directory).fingerprint
    assert tokenizer.fingerprint != module.load(directory, sentinels=1).fingerprint
    others = {trained(other).fingerprint for other in NAMES}
    assert len(others) == len(NAMES)


TRAIN = """
import hashlib, json, pathlib, sys, tempfile
from pretrain_jax import registry
text = sys.stdin.buffer.read().decode()
found = {}
for name in registry.names("tokenizers"):
    with tempfile.TemporaryDirectory() as folder:
        registry.load("tokenizers", name, "").train([text], folder, vocab_size=600)
        for file in sorted(pathlib.Path(folder).iterdir()):
            found[file.name] = hashlib.sha256(file.read_bytes()).hexdigest()
print(json.dumps(found))
"""


def test_training_repeats_in_another_process():
    """Libraries number some pieces in the order of hash tables, which differ by process."""

    def train(seed: str) -> dict[str, str]:
        environment = {**os.environ, "PYTHONHASHSEED": seed, "RAYON_NUM_THREADS": seed}
        done = subprocess.run(
            [sys.executable, "-c", TRAIN],
            input=(CORPUS + NASTY).encode(),
            env=environment,
            capture_output=True,
            check=True,
        )
        return json.loads(done.stdout)

    first = train("1")
    assert len(first) >= len(NAMES)
    assert first == train("4")


def test_word_starts(trained):
    def words(name: str, string: str) -> list[str]:
        tokenizer = trained(name)
        ids = tokenizer.encode(string)
        starts = np.flatnonzero(tokenizer.word_starts[ids]).tolist()
        return [tokenizer.decode(part).strip() for part in np.split(ids, starts) if part.size]

    for name in NAMES:
        assert words(name, "argument\ndefault") == ["argument", "default"], name
        if not trained(name).unknown_bytes("unknowable zz"):
            assert words(name, "argument\nunknowable zz") == ["argument", "unknowable", "zz"], name


@pytest.mark.parametrize("name", NAMES)
def test_tables_are_made_once_and_not_written_to(trained, name):
    tokenizer = trained(name, sentinels=3)
    for field in ("word_starts", "special", "sentence_ends"):
        table = getattr(tokenizer, field)
        assert table is getattr(tokenizer, field)
        assert table.shape == (tokenizer.size,) and table.dtype == np.bool_
        with pytest.raises(ValueError, match="read-only"):
            table[0] = True


@pytest.mark.parametrize("name", NAMES)
def test_a_worker_process_gets_the_same_tokenizer(trained, name):
    tokenizer = trained(name, sentinels=3)
    tables = {f: getattr(tokenizer, f) for f in ("word_starts", "special", "sentence_ends")}
    sent = pickle.loads(pickle.dumps(tokenizer))
    np.testing.assert_array_equal(sent.encode(NASTY), tokenizer.encode(NASTY))
    assert sent.special_ids == tokenizer.special_ids and sent.sentinels == tokenizer.sentinels
    for field, table in tables.items():
        np.testing.assert_array_equal(getattr(sent, field), table)


@pytest.mark.parametrize("name", NAMES)
def test_sentence_ends(trained, name):
    tokenizer = trained(name, sentinels=3)
    assert not tokenizer.sentence_ends[tokenizer.special].any()
    for string, ends in (("the parser.", 1), ("an argument, (or) two", 0), ("a. b\n\n", 2)):
        found = tokenizer.sentence_ends[tokenizer.encode(string)]
        if "\n" not in string:
            assert found.sum() == ends and found[-1] == bool(ends)
        elif name in LOSSLESS:
            assert found.sum() >= ends and found[-1]


def test_byte_bpe_trained_here_is_the_same_elsewhere(vocabulary, trained):
    """The files mean to another library what they mean here: ids and priorities agree."""
    directory = vocabulary("byte_bpe")
    other = tokenizers.Tokenizer(
        tokenizers.models.BPE.from_file(
            str(directory / "encoder.json"), str(directory / "vocab.bpe")
        )
    )
    other.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    for string in (CORPUS, NASTY):
        assert trained("byte_bpe").encode(string).tolist() == other.encode(string).ids


def test_byte_bpe_long_whitespace(trained):
    """The pattern cannot step back over such a run; cut by hand, the pieces are the same."""
    tokenizer = trained("byte_bpe")
    for run in (" ", "\n", "\u3000", "\t "):
        string = f"a{run * 200_000}b {run * 2000}c\n"
        assert tokenizer.decode(tokenizer.encode(string)) == string
    long = tokenizer.encode("a" + " " * 200_000 + "b")
    assert long[-1] == tokenizer.encode(" b")[-1]
    np.testing.assert_array_equal(long[:-1], tokenizer.encode("a" + " " * 199_999))
    string = "a" + " " * 1500 + "b\x1c" + "\n" * 1200 + "\x1cc"
    whole = tokenizer.encode(string)
    parts = [tokenizer.encode(part) for part in byte_bpe.SPLITS["gpt2"].cut_long_runs(string)]
    assert len(parts) == 3
    np.testing.assert_array_equal(whole, np.concatenate(parts))


def test_byte_bpe_ids_in_any_order(vocabulary, tmp_path, trained):
    """A file may order ids otherwise than by priority; then they are mapped."""
    directory, n = vocabulary("byte_bpe"), trained("byte_bpe").size
    encoder = json.loads((directory / "encoder.json").read_text())
    (tmp_path / "vocab.json").write_text(json.dumps({k: n - 1 - i for k, i in encoder.items()}))
    (tmp_path / "merges.txt").write_bytes((directory / "vocab.bpe").read_bytes())
    turned = byte_bpe.load(tmp_path)
    np.testing.assert_array_equal(turned.encode(NASTY), n - 1 - trained("byte_bpe").encode(NASTY))
    assert turned.decode(turned.encode(NASTY)) == NASTY
    assert turned.eos == n - 1 - trained("byte_bpe").eos
    assert turned.fingerprint != trained("byte_bpe").fingerprint


def test_chars_are_those_of_nanogpt(tmp_path):
    chars.train(["hello\n", "world"], tmp_path, vocab_size=20)
    tokenizer = chars.load(tmp_path)
    assert [tokenizer.id_to_token(i) for i in range(8)] == sorted(set("hello\nworld"))
    assert tokenizer.size == 8 + 7
    assert tokenizer.encode("dew?").tolist() == [1, 2, 7, tokenizer.unk]
    assert tokenizer.decode(tokenizer.encode("dew?")) == "dew\ufffd"


def test_wordpiece_case_and_parts(trained, tmp_path, monkeypatch):
    lower, cased = trained("wordpiece"), trained("wordpiece", lower_case=False)
    assert lower.decode(lower.encode("Ärgument, PARSER!")) == "argument , parser !"
    assert cased.decode(cased.encode("Argument, parser!")) == "Argument , parser !"
    assert lower.fingerprint != cased.fingerprint
    whole = lower.encode(CORPUS)
    monkeypatch.setattr(wordpiece, "PART", 50)
    np.testing.assert_array_equal(lower.encode(CORPUS), whole)


def test_sentencepiece_kinds(trained):
    assert trained("sentencepiece", kind="bpe").fingerprint != trained("sentencepiece").fingerprint
    collapsed = trained("sentencepiece", lossless=False)
    assert collapsed.decode(collapsed.encode("  the\n\n  parser ")) == "the parser"


def test_sentencepiece_own_sentinels_are_no_text(tmp_path, trained):
    """A model that would find <extra_id_0> in a document is kept from it."""
    sentencepiece_library.SentencePieceTrainer.train(
        sentence_iterator=iter(CORPUS.splitlines()),
        model_prefix=str(tmp_path / "own"),
        vocab_size=400,
        user_defined_symbols=["<extra_id_1>", "<extra_id_0>", "[MASK]"],
        minloglevel=2,
    )
    raw = sentencepiece_library.SentencePieceProcessor(model_file=str(tmp_path / "own.model"))
    spelled = "a <extra_id_0> b <extra_id_1> [MASK]"
    own = [raw.piece_to_id(f"<extra_id_{i}>") for i in range(2)]
    assert set(own) <= set(raw.encode(spelled))
    tokenizer = sentencepiece.load(tmp_path / "own.model")
    assert list(tokenizer.sentinels) == own
    assert tokenizer.mask == raw.piece_to_id("[MASK]")
    assert not tokenizer.special[tokenizer.encode(spelled)].any()
    more = sentencepiece.load(tmp_path / "own.model", sentinels=5)
    assert more.sentinels == (*own, more.size - 1, more.size - 2, more.size - 3)
    assert more.size == tokenizer.size + 3
    assert [more.id_to_token(i) for i in more.sentinels] == [f"<extra_id_{k}>" for k in range(5)]
    assert more.special.sum() == tokenizer.special.sum() + 3


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe\x00garbage",
        b"[" * 100_000,
        b'{"a": [1]}',
        b'["ab", 3]',
        b'{"!": 0.0}',
        b"a\na\n",
    ],
    ids=["empty", "binary", "deep", "object", "list", "float", "repeated"],
)
def test_malformed_files_are_bad_data(vocabulary, tmp_path, name, content):
    module = registry.load("tokenizers", name, "tokenizer.name")
    for file in vocabulary(name).iterdir():
        for other in vocabulary(name).iterdir():
            (tmp_path / other.name).write_bytes(other.read_bytes())
        (tmp_path / file.name).write_bytes(content)
        with pytest.raises(DataError, match=str(tmp_path)):
            module.load(tmp_path)


def test_characters_are_single(tmp_path):
    (tmp_path / "chars.json").write_bytes(b'["ab"]')
    with pytest.raises(DataError, match="list of distinct single characters"):
        registry.load("tokenizers", "chars", "tokenizer.name").load(tmp_path)


@pytest.mark.parametrize("name", NAMES)
def test_truncated_files_are_bad_data(vocabulary, tmp_path, name):
    module = registry.load("tokenizers", name, "tokenizer.name")
    for file in vocabulary(name).iterdir():
        if file.suffix == ".txt":
            continue  # a shorter vocab.txt is a vocabulary
        content = file.read_bytes()
        for other in vocabulary(name).iterdir():
            (tmp_path / other.name).write_bytes(other.read_bytes())
        for cut in (content[: len(content) // 2], content[: content.rfind(b"\n", 0, -1) + 1]):
            (tmp_path / file.name).write_bytes(cut)
            with pytest.raises(DataError, match=str(tmp_path)):
                module.load(tmp_path)


@pytest.mark.parametrize("name", NAMES)
def test_folder_without_the_file(tmp_path, name):
    with pytest.raises(InputMissing, match="must be a folder with"):
        registry.load("tokenizers", name, "tokenizer.name").load(tmp_path)


@pytest.mark.parametrize("name", ["byte_bpe", "wordpiece", "sentencepiece"])
def test_too_few_ids_to_train(tmp_path, name):
    module = registry.load("tokenizers", name, "tokenizer.name")
    with pytest.raises(ConfigError, match=r"vocab_size must hold|could not train"):
        module.train([CORPUS], tmp_path, vocab_size=12)
    assert not list(tmp_path.iterdir())


def test_bytes_are_ids():
    tokenizer = bytes.Bytes(0)
    assert tokenizer.encode("hé").tolist() == [104, 195, 169]
    assert tokenizer.size == 262
    digest = hashlib.sha256(tokenizer.encode(NASTY).astype(np.uint8).tobytes()).digest()
    assert digest == hashlib.sha256(NASTY.encode()).digest()


@pytest.mark.parametrize(
    "name, content",
    [
        ("byte_bpe", {"split": "gpt5"}),
        ("byte_bpe", {}),
        ("wordpiece", {"longest_word": 0}),
        ("wordpiece", {"longest_word": 100, "more": 1}),
        ("wordpiece", {"longest_word": 2**40}),
    ],
)
def test_an_unknown_splitting_is_refused(vocabulary, tmp_path, name, content):
    for file in vocabulary(name).iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "splitting.json").write_text(json.dumps(content))
    module = registry.load("tokenizers", name, "tokenizer.name")
    with pytest.raises(DataError, match=r"splitting\.json"):
        module.load(tmp_path)


def test_splitting_json_changes_ids_and_fingerprint(vocabulary, tmp_path):
    for name, content, text in [
        ("byte_bpe", {"split": "llama3"}, "1234567"),
        ("wordpiece", {"longest_word": 5}, "argument"),
    ]:
        module = registry.load("tokenizers", name, "tokenizer.name")
        folder = tmp_path / name
        folder.mkdir()
        for file in vocabulary(name).iterdir():
            (folder / file.name).write_bytes(file.read_bytes())
        (folder / "splitting.json").unlink(missing_ok=True)
        plain = module.load(folder)
        (folder / "splitting.json").write_text(json.dumps(content))
        other = module.load(folder)
        assert other.fingerprint != plain.fingerprint
        if name == "wordpiece":
            assert other.encode(text).tolist() == [other.unk] != plain.encode(text).tolist()
        else:
            groups = [other.encode(group).tolist() for group in ("123", "456", "7")]
            assert other.encode(text).tolist() == [i for group in groups for i in group]
