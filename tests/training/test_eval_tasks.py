"""Tasks during training: asked at each evaluation, for a limited time."""

import json

import pytest
import tiny_job

from pretrain_jax import report
from pretrain_jax.composition import config
from pretrain_jax.errors import ConfigError, InputMissing
from pretrain_jax.evaluation.eval_tasks import mix_groups
from pretrain_jax.tasks._choice import Choice
from pretrain_jax.training import loop
from pretrain_jax.workdir.history import read_metrics

pytestmark = pytest.mark.usefixtures("one_device")


@pytest.fixture
def job(tmp_path):
    """(config, folder of tasks) of a small job."""
    data = tmp_path / "data"
    (data / "blimp").mkdir(parents=True)
    for name in ("first", "second"):
        pairs = [("the cat sat", f"tas {i} the"[:14]) for i in range(100)]
        (data / "blimp" / f"{name}.jsonl").write_text("".join(
            json.dumps({"sentence_good": a, "sentence_bad": b}) + "\n" for a, b in pairs
        ))  # fmt: skip
    (data / "lambada.jsonl").write_text('{"text": "the cat sat"}\n')
    return tiny_job.write(tmp_path), data


def train(job, workdir, **overrides):
    asked = {"eval.tasks": "('blimp','lambada')", "eval.tasks_data": str(job[1]), **overrides}
    options = [(key, str(value)) for key, value in asked.items() if value is not None]
    loop.train(config.read(str(job[0]), options), str(workdir))
    return read_metrics(workdir)


def test_tasks_are_in_the_evaluation_lines_and_change_no_training_bit(job, tmp_path):
    lines = train(job, tmp_path / "asked")
    asked = [line for line in lines if "tasks/blimp/accuracy" in line]
    assert [line["step"] for line in asked] == [30, 60]
    for line in asked:
        assert line["tasks/blimp/items"] == 200 and line["tasks/lambada/items"] == 1
        assert 0 <= line["tasks/blimp/accuracy"] <= 1 and "valid/loss" in line
    page = tmp_path / "report.html"
    assert report.main([f"--workdir={tmp_path / 'asked'}", f"--out={page}", "--data"]) == 0
    text = page.read_text()
    assert "blimp: accuracy" in text and "<h2>Data</h2>" in text and "row 0: " in text
    assert "python" in text.partition("Commands and environment")[2]
    plain = train(job, tmp_path / "plain", **{"eval.tasks": None, "eval.tasks_data": None})
    losses = [[x["train/loss"] for x in some if "train/loss" in x] for some in (lines, plain)]
    assert losses[0] == losses[1] and len(losses[0]) == 60


def test_a_task_stops_when_its_time_is_up(job, tmp_path):
    overrides = {"eval.tasks_seconds": 1e-9, "eval.tasks": "('blimp',)", "train.steps": 30}
    (line,) = [x for x in train(job, tmp_path / "run", **overrides) if "tasks/blimp/items" in x]
    assert line["tasks/blimp/items"] == 64


def test_each_beginning_of_the_items_has_as_many_of_each_group():
    items = [Choice("", ("a", str(i)), 0, name) for name in "xyz" for i in range(10)]
    mixed = mix_groups(items)
    assert sorted(mixed, key=str) == sorted(items, key=str)
    for count in (3, 9, 12):
        groups = [item.group for item in mixed[:count]]
        assert {groups.count(name) for name in "xyz"} == {count // 3}
    assert mix_groups(items) == mixed


def test_a_run_without_its_tasks_does_not_start(job, tmp_path):
    workdir = tmp_path / "run"
    for overrides, error, message in [
        ({"eval.tasks": "('blimb',)"}, ConfigError, "must be one of .* did you mean blimp"),
        ({"eval.tasks_data": ""}, ConfigError, "folder with the data of blimp, lambada"),
        ({"eval.tasks": "('copa',)"}, InputMissing, "task copa must exist.*eval.tasks_data"),
        ({"eval.tasks": "()"}, ConfigError, "eval.tasks names no task"),
    ]:
        with pytest.raises(error, match=message):
            train(job, workdir, **overrides)
        assert not (workdir / "config.json").exists()
    bert = {"model.name": "bert", "objective.name": "next_sentence", "eval.tasks": "('patterns',)"}
    with pytest.raises(ConfigError, match="needs a model that generates"):
        train(job, workdir, **bert)
