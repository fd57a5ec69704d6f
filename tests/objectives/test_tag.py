"""Tags of words: fields, rows, the words that are not read, and runs that learn."""

import functools
import itertools
import json
import random
from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest
import span_jobs
from objective_toys import VOCAB
from placed import cache, tokenizer
from placed import write as write_records
from sequences import apart, together
from span_jobs import spans

from pretrain_jax import main
from pretrain_jax.composition import config
from pretrain_jax.data.words import Words
from pretrain_jax.errors import ConfigError, DataError
from pretrain_jax.models import _base
from pretrain_jax.objectives import tag


def built(model="bert", **options):
    return tag.build(_base.load(model), **options)


# --- fields ---------------------------------------------------------------------------------------

RAW = {
    "tokens": [10, 11, 12],
    "offset": [0, 2],
    "tag": [0, 1],
    "known": np.ones(2, np.float32),
}


def test_fields():
    made = apart(built().corrupt(together([RAW]), None, VOCAB))[0]
    assert made["tokens"].tolist() == [VOCAB.cls, 10, 11, 12, VOCAB.sep]
    assert made["tokens"][made["predict_at"]].tolist() == [10, 12]
    assert (made["targets"].tolist(), made["weights"].tolist()) == ([0, 1], [1, 1])
    made = apart(built("gpt").corrupt(together([RAW]), None, VOCAB))[0]
    assert made["tokens"].tolist() == [VOCAB.bos, 10, 11, 12, VOCAB.cls]
    assert made["tokens"][made["predict_at"]].tolist() == [10, 12]


def test_a_causal_stream_predicts_at_the_last_token_of_a_word():
    """Before it, the model has not read the word."""
    assert {m: built(m).arrange(16)["last"] for m in ("bert", "roberta", "gpt", "llama")} == {
        "bert": False,
        "roberta": False,
        "gpt": True,
        "llama": True,
    }


def test_an_encoder_decoder_is_refused_in_a_sentence():
    with pytest.raises(ConfigError, match=r"model\.name=t5 has two"):
        built("t5")


@pytest.mark.parametrize(
    "labels, options, metric",
    [
        (("B-PER", "O"), {}, "f1"),
        (("B-PER", "O"), {"metric": "accuracy"}, "accuracy"),
        (("NOUN", "VERB"), {}, "accuracy"),
        ((), {}, "f1"),
        (("NOUN", "VERB"), {"metric": "f1"}, None),
        (("NOUN", "VERB"), {"fallback": "O"}, None),
        (("NOUN", "VERB"), {"metric": "matthews"}, None),
    ],
)
def test_the_metric_and_the_fallback_are_those_of_the_tags(labels, options, metric):
    if metric is None:
        with pytest.raises(ConfigError, match=r"objective\.(metric|fallback)"):
            built(labels=labels, **options)
    else:
        task = built(labels=labels, **options).example_task
        assert task is not None and task.metric == metric


def test_an_unknown_tag_is_refused():
    texts = ['["O"]', None, '["O", "B-X"]']
    assert [row.tolist() for row in tag.read_tags(texts[:2], ("O",)).split()] == [[0], []]
    with pytest.raises(DataError, match=r"one of the tags of this run, O; record 3 has 'B-X'"):
        tag.read_tags(texts, ("O",))


# --- words that are not read ----------------------------------------------------------------------


def test_words_beyond_the_row_have_the_fallback(tmp_path):
    """Every word has one tag; those that are cut off or of which nothing is left, the fallback."""
    records = [
        {"tokens": ["ab", "", "cd", "ef"], "tags": ["B-X", "O", "B-X", "B-X"], "id": 5},
        {"tokens": ["a"], "tags": ["B-X"]},
    ]
    path = write_records(tmp_path / "a.jsonl", *records)
    stored = cache(path, "words", tokenizer("bytes"))
    for last, tokens, read in ((False, 5, [0, 2]), (True, 5, [0]), (False, 3, [0])):
        classes = functools.partial(tag.read_tags, classes=("B-X", "O"))
        words = Words(stored, tokens=tokens, last=last, read_labels=classes)
        assert words.words(0).tolist() == read
        assert words.length.tolist() == [[tokens, len(read)], [1, 1]]
        assert words.take(np.array([0]))["tag"].values.tolist() == [0] * len(read)
        made = {"tags": [np.zeros(len(read), np.int32), np.ones(1, np.int32)]}
        report = tag.report(made, words, ("B-X", "O"), "O")
        expected = ["B-X" if number in read else "O" for number in range(4)]
        assert report[0] == {"id": "5", "words": records[0]["tokens"], "prediction": expected}
        assert report[1] == {"words": ["a"], "prediction": ["O"]}
        right = len(read) + 1  # and the word of nothing
        assert tag.score(report, [label or "" for label in stored.labels])["accuracy"] == right / 5


def test_two_words_with_one_token_are_read_once(tmp_path):
    """A token has one target. Here, one covers "a b"."""
    record = {"tokens": ["a", "b", "c"], "tags": ["O", "B-X", "B-X"]}
    stored = cache(write_records(tmp_path / "a.jsonl", record), "words", tokenizer("bytes"))
    stored.places = np.array([[0, 3], [3, 3], [3, 3], [3, 3], [4, 5]], np.uint32)
    read = functools.partial(tag.read_tags, classes=("B-X", "O"))
    words = Words(stored, tokens=9, last=False, read_labels=read)
    assert words.words(0).tolist() == [0, 2]
    assert words.take(np.array([0]))["tag"].values.tolist() == [1, 0]


# --- the loss, rows and the mesh ------------------------------------------------------------------


def loss_of(logits, batch):
    """Sum and weight, where the model returns these logits [1, P, C]."""
    output = SimpleNamespace(heads={"tag": logits})
    return tag.tag_loss(lambda *_: output, None, batch, None, True)["loss"]


def test_the_loss_is_the_cross_entropy_of_words_with_tags():
    logits = np.random.default_rng(0).normal(0, 2, (1, 3, 4)).astype(np.float32)
    batch = {"targets": jnp.array([[2, 0, 1]]), "weights": jnp.array([[1.0, 0.0, 1.0]])}
    total, weight = loss_of(logits, batch)
    p = np.exp(logits[0]) / np.exp(logits[0]).sum(-1, keepdims=True)
    assert weight == 2
    assert total == pytest.approx(-np.log(p[0, 2]) - np.log(p[2, 1]), rel=1e-6)


def random_records(count, seed):
    """Sentences of few words or of many; some do not fit in a row."""
    draw = random.Random(seed)
    words = [word for values in spans.FACTS.values() for value in values for word in value.split()]
    for number in range(count):
        n = draw.choice([1, 2, 3, 4, 40])
        tags = draw.choices(["O", "B-X", "I-X"], k=n)
        yield {"tokens": draw.choices(words, k=n), "tags": tags, "id": str(number)}


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    path = span_jobs.write(tmp_path_factory.mktemp("job"), "tag")
    write_records(path.parent / "train.jsonl", *random_records(60, 0))
    write_records(path.parent / "valid.jsonl", *random_records(60, 1))
    return path


@pytest.mark.parametrize("model", ["bert", "gpt"])
def test_packed_rows_give_the_same_loss_and_tags(job, model):
    """On one device and on eight."""
    tokens = {"tokenizer__name": "byte_bpe"} if model == "gpt" else {}
    how = {"data__seq_len": 32, "model__name": model, **tokens}
    design, feed = span_jobs.opened(job, objective__per_row=1, **how)
    params = span_jobs.random_params(design)
    values, reports = span_jobs.evaluated(design, feed, params)
    assert len({name for one in reports for name in one["prediction"]}) == 3
    for devices in (1, 8):
        design, packed_feed = span_jobs.opened(job, devices, mesh__data=devices, **how)
        assert packed_feed.eval_rows < 0.8 * feed.eval_rows
        packed, tags = span_jobs.evaluated(design, packed_feed, params)
        assert packed == pytest.approx(values, rel=1e-5)
        assert packed["valid/objective"] == pytest.approx(values["valid/objective"], rel=1e-6)
        assert tags == reports


# --- runs -----------------------------------------------------------------------------------------


def train(path, *options):
    return main.main([f"--config={path}", f"--workdir={path.parent}/run", *options])


def test_a_tiny_run_learns(tmp_path, monkeypatch):
    """Its tags, resolved at the first start, are those of its config; a second start needs none."""
    monkeypatch.setattr(spans, "FACTS", dict(itertools.islice(spans.FACTS.items(), 3)))
    monkeypatch.setattr(spans, "SHOWN", 2)
    path = span_jobs.write(tmp_path, "tag")
    options = [f"--config.{x}" for x in ("train.steps=60", "data.seq_len=64", "eval.every=0")]
    assert train(path, *options) == 0
    (scores,) = (x for x in span_jobs.lines(tmp_path / "run/metrics.jsonl") if "valid/f1" in x)
    assert scores["valid/f1"] > 0.95 and scores["valid/items"] == 200
    common = sum(one["tags"].count("O") for one in span_jobs.lines(tmp_path / "valid.jsonl"))
    words = sum(len(one["tags"]) for one in span_jobs.lines(tmp_path / "valid.jsonl"))
    assert scores["yardstick/majority"] == pytest.approx(common / words)
    for one, record in zip(
        span_jobs.lines(tmp_path / "run/predictions.jsonl"),
        span_jobs.lines(tmp_path / "valid.jsonl"),
        strict=True,
    ):
        assert (one["id"], one["words"], one["label"]) == tuple(
            record[k] for k in ("id", "tokens", "tags")
        )
        assert len(one["prediction"]) == len(one["words"])
    section = json.loads((tmp_path / "run/config.json").read_text())["objective"]
    assert section["labels"] == [
        "B-animal",
        "B-color",
        "B-tree",
        "I-animal",
        "I-color",
        "I-tree",
        "O",
    ]
    assert section["fallback"] == "O"


def test_without_an_o_the_fallback_is_the_commonest_tag_of_training(tmp_path):
    path = span_jobs.write(tmp_path, "tag")
    write_records(tmp_path / "train.jsonl", {"tokens": "a b c d", "tags": "NOUN VERB VERB X"})
    section = span_jobs.settings(path).objective
    assert (section.labels, section.fallback, section.metric) == (("NOUN", "VERB", "X"), "VERB", "")
    section = span_jobs.settings(path, objective__labels="('NOUN','X','VERB')").objective
    assert (section.labels, section.fallback) == (("NOUN", "X", "VERB"), "VERB")
    stored = {"objective": {"labels": ["A", "B"], "fallback": "B"}}
    read = config.read(str(path), [])
    again = span_jobs.fix_labels.fix_labels(read, stored).objective
    assert (again.labels, again.fallback) == (("A", "B"), "B")


BAD = {
    "line 1 has 2 words and 1 tags": {"tokens": ["a", "b"], "tags": ["O"]},
    "must have the columns 'tags'": {"tokens": ["a", "b"]},
    "two classes or more": {"tokens": ["a", "b"], "tags": ["O", "O"]},
}


@pytest.mark.parametrize("message", BAD)
def test_bad_records_end_a_run_in_a_sentence(tmp_path, message):
    path = span_jobs.write(tmp_path, "tag")
    write_records(tmp_path / "train.jsonl", BAD[message])
    with pytest.raises(DataError, match=message):
        train(path)
