"""The tokenizer of a run is loaded, or trained once; it is never outdated or incomplete."""

import json

import pytest

from pretrain_jax.composition.tokenizer import load_or_train
from pretrain_jax.errors import ConfigError, DataError, InputMissing
from pretrain_jax.tokenizers import byte_bpe

TEXT = "the cat sat on the mat and the dog sat on the cat\n" * 20


@pytest.fixture
def directory(tmp_path):
    return tmp_path / "run" / "tokenizer"


@pytest.fixture
def run(directory):
    """run(name, **changes) -> (tokenizer, whether it was trained)."""

    def load_or_train_here(name="byte_bpe", *, text=TEXT, **changes):
        read = []

        def texts():
            read.append(text)
            yield from (text[i : i + 100] for i in range(0, len(text), 100))

        arguments = {
            "texts": texts,
            "corpus_fingerprint": "abc",
            "vocab_size": 300,
            "directory": directory,
        }
        return load_or_train(name, "", **{**arguments, **changes}), bool(read)

    return load_or_train_here


def test_trained_once(directory, run):
    first, trained = run()
    assert trained
    second, trained = run()
    assert not trained
    assert first.fingerprint == second.fingerprint
    assert [file.name for file in directory.parent.iterdir()] == ["tokenizer"]


@pytest.mark.parametrize(
    "change",
    [
        {"corpus_fingerprint": "abd"},
        {"vocab_size": 299},
        {"sentinels": 2},
        {"name": "sentencepiece"},
        {"name": "wordpiece"},
    ],
    ids=str,
)
def test_a_change_trains_again(run, change):
    run()
    changed, trained = run(**change)
    assert trained
    again, trained = run(**change)
    assert not trained
    assert changed.fingerprint == again.fingerprint
    _, trained = run()
    assert trained  # also for the first options again


@pytest.mark.parametrize(
    "options",
    [{"kind": "bpe"}, {"character_coverage": 0.99}, {"lossless": False}, {"sentinels": 1}],
    ids=str,
)
def test_every_option_counts(run, options):
    run("sentencepiece")
    _, trained = run("sentencepiece", **options)
    assert trained


def test_a_wordpiece_vocabulary_from_before_splitting_json_stays_as_it_is(directory, run):
    run("wordpiece")
    note = json.loads((directory / "note.json").read_text())
    del note["files"]["splitting.json"]
    (directory / "splitting.json").unlink()
    (directory / "note.json").write_text(json.dumps(note))
    before, trained = run("wordpiece")
    assert not trained and not (directory / "splitting.json").exists()
    line = "the cat sat on the mat " + "c" + "at" * 150
    assert before.encode(line).tolist()[-1] == before.unk  # BERT's limit: 200 characters per word


def test_defaults_are_options(run):
    run()
    _, trained = run(sentinels=0)
    assert not trained


@pytest.mark.parametrize("harm", ["cut", "lost", "note"])
def test_a_harmed_vocabulary_is_trained_again(directory, run, harm):
    complete, _ = run()
    if harm == "cut":
        file = directory / "vocab.bpe"
        file.write_bytes(file.read_bytes()[:-5])
    elif harm == "lost":
        (directory / "encoder.json").unlink()
    else:
        (directory / "note.json").write_text("{")
    again, trained = run()
    assert trained
    assert again.fingerprint == complete.fingerprint


def test_a_vocabulary_with_other_options_is_renamed_not_deleted(directory, run, caplog):
    run()
    first = {file.name: file.read_bytes() for file in directory.iterdir()}
    run(vocab_size=290)
    (aside,) = directory.parent.glob("tokenizer.before.*")
    assert {file.name: file.read_bytes() for file in aside.iterdir()} == first
    assert str(aside) in caplog.text


@pytest.mark.parametrize("stop", [KeyboardInterrupt, DataError, OSError])
def test_interrupted_training_leaves_no_incomplete_files(directory, run, monkeypatch, stop):
    def train(texts, directory, *, vocab_size, sentinels=0):
        (directory / "encoder.json").write_text("{}")
        raise stop("in the middle")

    with monkeypatch.context() as patch:
        patch.setattr(byte_bpe, "train", train)
        with pytest.raises(stop):
            run()
        assert list(directory.parent.iterdir()) == []
    before, _ = run()
    with monkeypatch.context() as patch:
        patch.setattr(byte_bpe, "train", train)
        with pytest.raises(stop):
            run(vocab_size=290)
    after, trained = run()
    assert not trained
    assert before.fingerprint == after.fingerprint


def test_another_process_was_first(directory, run, monkeypatch):
    train, calls = byte_bpe.train, []

    def slow(texts, directory, **options):
        calls.append(directory)
        if len(calls) == 1:
            run()  # starts later, ends earlier
        train(texts, directory, **options)

    monkeypatch.setattr(byte_bpe, "train", slow)
    run()
    assert len(calls) == 2
    _, trained = run()
    assert not trained
    assert [file.name for file in directory.parent.iterdir()] == ["tokenizer"]


def test_more_ids_than_the_model_has(directory, run):
    with pytest.raises(
        ConfigError, match="the chars tokenizer trained on this corpus has 20 and model"
    ):
        run("chars", vocab_size=10)
    assert not directory.exists()
    size = run()[0].size
    with pytest.raises(
        ConfigError, match=rf"has {size} and model.vocab_size is 250. Set model.vocab_size={size}"
    ):
        load_or_train(
            "byte_bpe",
            str(directory),
            texts=list,
            corpus_fingerprint="",
            vocab_size=250,
            directory="unused",
        )


@pytest.mark.parametrize("name", ["byte_bpe", "bytes", "chars", "sentencepiece", "wordpiece"])
@pytest.mark.parametrize("text", ["", " \n \n"])
def test_empty_corpus(directory, run, name, text):
    with pytest.raises(DataError, match="it contains none"):
        run(name, text=text)
    assert not directory.exists()


@pytest.mark.parametrize("name", ["byte_bpe", "chars", "sentencepiece", "wordpiece"])
def test_errors_of_the_corpus_pass_through(run, name):
    def texts():
        yield TEXT
        raise DataError("invalid UTF-8 at byte 7")

    with pytest.raises(DataError, match="at byte 7"):
        run(name, texts=texts)


def test_missing_path(directory, run):
    with pytest.raises(InputMissing, match="'nowhere/gpt2'"):
        load_or_train(
            "byte_bpe",
            "nowhere/gpt2",
            texts=list,
            corpus_fingerprint="",
            vocab_size=300,
            directory=directory,
        )
    assert not directory.exists()


def test_unknown_name(run):
    with pytest.raises(ConfigError, match=r"tokenizer\.name .*did you mean byte_bpe"):
        run("byte_bpee")


def test_the_note_describes_the_training(directory, run):
    run()
    note = json.loads((directory / "note.json").read_text())
    assert note["name"] == "byte_bpe"
    assert note["corpus"] == "abc"
    assert note["vocab_size"] == 300
    assert note["options"] == {"sentinels": 0}
    assert "tokenizers" in note["libraries"]
