"""Answers in contexts: fields, loss, search for the answer, and a run that learns."""

import itertools
import json
import logging
import random
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import span_jobs
from objective_toys import VOCAB
from placed import asked
from placed import write as write_records
from sequences import apart, together
from span_jobs import spans

from pretrain_jax import main
from pretrain_jax.errors import ConfigError, DataError, WorkdirMismatch
from pretrain_jax.evaluation.examples import validation_records
from pretrain_jax.models import _base
from pretrain_jax.objectives import _answers, extract_span
from pretrain_jax.workdir import run_config

QUESTION, CONTEXT = [10, 11], [20, 21, 22]
ONE = {"known": np.ones(1, np.float32)}


def built(model="bert", **options):
    return extract_span.build(_base.load(model), **options)


def fields(model, start, end):
    raw = {"first": QUESTION, "second": CONTEXT, "start": [start], "end": [end], **ONE}
    return apart(built(model).corrupt(together([raw]), None, VOCAB))[0]


# --- fields ---------------------------------------------------------------------------------------


def test_fields_of_bert():
    made = fields("bert", 1, 2)
    cls, sep = VOCAB.cls, VOCAB.sep
    assert made["tokens"].tolist() == [cls, *QUESTION, sep, *CONTEXT, sep]
    assert made["types"].tolist() == [0] * 4 + [1] * 4
    assert (made["start_at"].tolist(), made["end_at"].tolist()) == ([5], [6])
    assert made["tokens"][5:7].tolist() == [21, 22]
    assert made["label_weights"].tolist() == [1]


def test_fields_of_roberta_and_of_no_answer():
    made = fields("roberta", 0, 0)
    cls, sep = VOCAB.cls, VOCAB.sep
    assert made["tokens"].tolist() == [cls, *QUESTION, sep, sep, *CONTEXT, sep]
    assert made["tokens"][made["start_at"]].tolist() == [20]
    none = fields("roberta", -1, -1)
    assert (none["start_at"].tolist(), none["end_at"].tolist()) == ([0], [0])


@pytest.mark.parametrize("model", ["gpt", "t5", "llama"])
def test_other_models_are_refused_in_a_sentence(model):
    with pytest.raises(ConfigError, match=f"needs an encoder.* model.name={model} is not one"):
        built(model)


def test_rows_have_room_for_the_question_and_a_token():
    assert built(question_length=4).arrange(8)["tokens"] == 5
    with pytest.raises(ConfigError, match=r"Use data\.seq_len=8 or more"):
        built(question_length=4).arrange(7)


# --- the loss -------------------------------------------------------------------------------------


def batch_of(sizes, starts, ends, weights=None, length=None):
    """A row of windows with these sizes; starts and ends in each window."""
    at = np.cumsum([0, *sizes[:-1]])
    segments = np.repeat(np.arange(len(sizes)) + 1, sizes)
    segments = np.pad(segments, (0, (length or len(segments)) - len(segments)))
    made = {
        "segments": segments,
        "start_at": at + starts,
        "end_at": at + ends,
        "label_weights": np.array(weights or [1.0] * len(sizes), np.float32),
    }
    return {name: jnp.asarray(field)[None] for name, field in made.items()}


def loss_of(logits, batch):
    """Sum and weight, where the model returns these logits [1, L, 2]."""
    output = SimpleNamespace(heads={"extract_span": logits})
    return extract_span.span_loss(lambda *_: output, None, batch, None, True)["loss"]


def transformers_loss(logits, start, end):
    """BertForQuestionAnswering of one row: the mean of two cross entropies over its tokens."""
    nll = -np.log(np.exp(logits) / np.exp(logits).sum(0))
    return (nll[start, 0] + nll[end, 1]) / 2


LOGITS = np.random.default_rng(0).normal(0, 2, (12, 2)).astype(np.float32)


def test_the_loss_of_a_window_alone():
    total, weight = loss_of(LOGITS[None], batch_of([12], [3], [5]))
    assert weight == 1
    assert total == pytest.approx(transformers_loss(LOGITS.astype(np.float64), 3, 5), rel=1e-6)


def test_the_loss_of_a_packed_row_is_that_of_its_windows():
    """The row ends with padding, and an example without a label has no loss."""
    total, weight = loss_of(LOGITS[None], batch_of([4, 3, 2], [1, 0, 0], [3, 0, 1], [1, 1, 0], 12))
    each = transformers_loss(LOGITS[:4], 1, 3), transformers_loss(LOGITS[4:7], 0, 0)
    assert weight == 2
    assert total == pytest.approx(sum(each), rel=1e-6)


def test_gradients_stay_in_their_window():
    batch = batch_of([4, 3], [1, 0], [3, 2], [1, 0], 12)
    grad = jax.grad(lambda logits: loss_of(logits, batch)[0])(jnp.asarray(LOGITS)[None])[0]
    assert (np.abs(grad[:4]) > 0).all()
    assert (grad[4:] == 0).all()


# --- rows and the mesh ----------------------------------------------------------------------------

WINDOWED = {
    "data__seq_len": 32,
    "objective__question_length": 5,
    "objective__stride": 8,
    "objective__unanswerable": True,
}


def random_records(count, seed):
    """Contexts of few words or of many; a third of the questions has no answer."""
    draw = random.Random(seed)
    words = [word for values in spans.FACTS.values() for value in values for word in value.split()]
    for number in range(count):
        context = draw.choices(words, k=draw.choice([1, 2, 3, 4, 40]))
        start = draw.randrange(len(context))
        answer = " ".join(context[start : start + draw.randint(1, 3)])
        answers = [answer] if draw.random() < 2 / 3 else []
        yield asked(" ".join(draw.choices(words, k=4)), " ".join(context), *answers, id=str(number))


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    path = span_jobs.write(tmp_path_factory.mktemp("job"), "extract_span")
    write_records(path.parent / "train.jsonl", *random_records(60, 0))
    write_records(path.parent / "valid.jsonl", *random_records(60, 1))
    return path


@pytest.fixture(scope="module")
def alone(job):
    """(parameters, metrics, reports) with one window in each row."""
    design, feed = span_jobs.opened(job, objective__per_row=1, **WINDOWED)
    assert validation_records(feed).rows.sizes.max() > 3  # windows of a record
    params = span_jobs.random_params(design)
    return params, *span_jobs.evaluated(design, feed, params)


@pytest.mark.parametrize("devices", [1, 8])
def test_packed_rows_give_the_same_loss_and_answers(job, alone, devices):
    """So each window of a row is scored as its own, on one device and on eight."""
    params, values, reports = alone
    design, feed = span_jobs.opened(job, devices, mesh__data=devices, **WINDOWED)
    assert feed.eval_rows < 0.8 * len(validation_records(feed))
    packed, answers = span_jobs.evaluated(design, feed, params)
    assert packed == pytest.approx(values, rel=1e-5)
    assert packed["valid/objective"] == pytest.approx(values["valid/objective"], rel=1e-6)
    for one, other in zip(answers, reports, strict=True):
        for key in ("probability", "no_answer_score"):
            assert one.pop(key) == pytest.approx(other[key], abs=1e-4)
        assert one == {key: other[key] for key in one}


# --- the search -----------------------------------------------------------------------------------


def slow_search(logits, record, windows, longest, before):
    """The best answer in the words of run_squad.py, write_predictions: (sum, first character, the
    one after the last, the least sum at [CLS])."""
    best, null = (-np.inf, 0, 0), np.inf
    for w, counted in zip(windows.windows(record), windows.counted(record), strict=True):
        null = min(null, float(logits[w][0, 0]) + float(logits[w][0, 1]))
        characters, at = windows.characters(w), before + windows.length[w, 0]
        n = windows.length[w, 1]
        for first, last in itertools.product(range(n), range(n)):
            if last < first or last - first + 1 > longest or not counted[first]:
                continue
            total = float(logits[w][at + first, 0]) + float(logits[w][at + last, 1])
            if total > best[0]:
                best = (total, characters[first, 0], characters[last, 1])
    return (*best, null)


@pytest.mark.parametrize("longest", [1, 4, 100])
def test_the_search_finds_what_loops_find(job, longest):
    """At all thresholds between the scores, too."""
    _, feed = span_jobs.opened(job, **WINDOWED)
    windows, rng = validation_records(feed), np.random.default_rng(longest)
    logits = [rng.normal(0, 3, (a + b + 3, 2)).astype(np.float32) for a, b in windows.length]
    for threshold in (-2.0, 0.0, 3.0):
        search = _answers.Search(2, longest, threshold)
        for record, found in enumerate(search.report({"logits": logits}, windows)):
            total, begin, end, null = slow_search(logits, record, windows, longest, 2)
            text = windows.cache.texts[record][1][begin:end]
            assert found["answer"] == text
            assert found["no_answer_score"] == pytest.approx(null - total, abs=1e-5)
            assert found["prediction"] == ("" if null - total > threshold else text)
            assert found["id"] == str(record)


def test_the_probability_is_that_of_both_ends_in_their_window(job):
    _, feed = span_jobs.opened(job, **WINDOWED)
    windows = validation_records(feed)
    logits = [np.zeros((a + b + 3, 2), np.float32) for a, b in windows.length]
    report = _answers.Search(2, 5, None).report({"logits": logits}, windows)
    first = windows.rows.starts  # among equals, the first window has the best answer
    sizes = windows.length[first].sum(1) + 3.0
    assert [one["probability"] for one in report] == pytest.approx((sizes**-2).tolist())
    assert all("no_answer_score" not in one for one in report)


HARD = "Zoë drank cafe\u0301 in 東京 👩\u200d👩\u200d👧 , then ❤️\tsã o . "


@pytest.mark.parametrize("name", ["wordpiece", "byte_bpe", "sentencepiece"])
def test_answers_are_slices_of_the_text(tmp_path, name):
    """The logits name the tokens of each answer; accents, Chinese and emoji come back exactly."""
    path = span_jobs.write(tmp_path, "extract_span")
    answers = ["Zoë", "cafe\u0301", "cafe\u0301 in 東京", "👩\u200d👩\u200d👧", "❤️", "❤️\tsã o"]
    records = [asked("q", HARD, answer) for answer in answers]
    for split in ("train", "valid"):
        write_records(path.parent / f"{split}.jsonl", *records * 10)
    _, feed = span_jobs.opened(path, tokenizer__name=name, objective__question_length=8)
    windows = validation_records(feed)
    assert windows.lost == 0 and len(windows) == len(records) * 10
    logits = []
    for (a, b), (first, last) in zip(windows.length, windows.answer, strict=True):
        made = np.zeros((a + b + 3, 2), np.float32)
        made[2 + a + first, 0] = made[2 + a + last, 1] = 9
        logits.append(made)
    report = _answers.Search(2, 30, None).report({"logits": logits}, windows)
    assert [one["prediction"] for one in report[: len(answers)]] == answers


def test_scores_have_the_best_threshold():
    labels = [json.dumps({"text": text}) for text in (["a fox"], [], ["owl"])]
    reports = [
        {"prediction": "", "answer": "fox", "no_answer_score": 1.0},
        {"prediction": "", "answer": "it", "no_answer_score": 5.0},
        {"prediction": "owl", "answer": "owl", "no_answer_score": -1.0},
    ]
    scores = extract_span.score(reports, labels, unanswerable=True)
    assert (scores["exact_match"], scores["no_answer_accuracy"]) == (pytest.approx(200 / 3), 100)
    assert (scores["best_threshold"], scores["best_exact_match"]) == (1.0, 100)
    assert "best_f1" not in extract_span.score(reports, labels, unanswerable=False)


# --- runs -----------------------------------------------------------------------------------------


def train(path, *options):
    return main.main([f"--config={path}", f"--workdir={path.parent}/run", *options])


def test_a_tiny_run_learns(tmp_path, monkeypatch):
    """Questions about fewer facts than those of benchmarks/spans.py."""
    monkeypatch.setattr(spans, "SHOWN", 2)
    monkeypatch.setattr(spans, "FACTS", dict(itertools.islice(spans.FACTS.items(), 3)))
    path = span_jobs.write(tmp_path, "extract_span", 1 / 3)
    options = ["objective.question_length=8", "objective.unanswerable=True", "eval.every=0"]
    options += ["data.seq_len=64", "train.batch_size=16", "train.steps=130"]
    assert train(path, *(f"--config.{option}" for option in options)) == 0
    (scores,) = (x for x in span_jobs.lines(tmp_path / "run/metrics.jsonl") if "valid/f1" in x)
    assert scores["valid/exact_match"] > 95 and scores["valid/items"] == 200
    assert scores["valid/no_answer_accuracy"] > 90
    predictions = span_jobs.lines(tmp_path / "run/predictions.jsonl")
    assert [one["id"] for one in predictions] == [f"valid {n}" for n in range(200)]
    right = sum(one["prediction"] in (one["label"]["text"] or [""]) for one in predictions)
    assert right / 2 == scores["valid/exact_match"]


def test_a_run_says_which_answers_it_leaves_out(job, caplog):
    with caplog.at_level(logging.WARNING):
        records = [asked("q", "red fox " * 9, "red fox " * 9), asked("q", "red fox", "fox")]
        write_records(job.parent / "lost.jsonl", *records)
        span_jobs.opened(
            job,
            **{**WINDOWED, "data__seq_len": 16, "data__source": f"text:{job.parent}/lost.jsonl"},
        )
    assert "1 of 2 records are left out of training: no window has their answer" in caplog.text


LABEL = {"text": ["fox"], "answer_start": [1]}
BAD = {
    "the context does not have it": {"question": "q", "context": "an owl", "answers": LABEL},
    "must have the columns 'answers'": {"question": "q", "context": "an owl"},
    "Set objective.unanswerable=True": asked("q", "an owl"),
}


@pytest.mark.parametrize("message", BAD)
def test_bad_records_end_a_run_in_a_sentence(tmp_path, message):
    path = span_jobs.write(tmp_path, "extract_span")
    write_records(tmp_path / "train.jsonl", BAD[message])
    with pytest.raises(DataError, match=message):
        train(path, "--config.objective.question_length=8")


def test_a_threshold_needs_unanswerable_questions(tmp_path):
    path = span_jobs.write(tmp_path, "extract_span")
    with pytest.raises(ConfigError, match=r"Also set objective\.unanswerable=True"):
        train(path, "--config.objective.threshold=1")


def test_an_evaluation_may_change_the_threshold():
    stored = {"objective": {"threshold": 0.0, "longest": 30, "stride": 128}}
    run_config.compare_configs(
        stored, {"objective": {"threshold": 2.0, "longest": 9, "stride": 128}}, run_config.SCORING
    )
    with pytest.raises(WorkdirMismatch, match=r"objective\.stride"):
        other = {"objective": {"threshold": 0.0, "longest": 30, "stride": 64}}
        run_config.compare_configs(stored, other, run_config.SCORING)
