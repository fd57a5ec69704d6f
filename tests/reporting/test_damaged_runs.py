"""A damaged file of a workdir is named in one sentence; what only looks odd is shown."""

import json
import os
import re
import subprocess
import sys

import pytest
from report_runs import data_of, write_run

from pretrain_jax import report
from pretrain_jax.errors import DataError
from pretrain_jax.reporting import report_page, run_files
from pretrain_jax.workdir import history

HUGE = int("9" * 400)
TASK = "tasks/20/blimp.json"
INTERVAL = {"value": 0.5, "low": None, "high": None}
GROUP = {"items": 9, "accuracy": INTERVAL, "yardsticks": {}}


@pytest.fixture
def run(tmp_path):
    return write_run(tmp_path, "first", [4.0, 3.0, 2.5])


def make(*workdirs):
    return report_page.make_page(run_files.read_runs(workdirs))


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("config.json", {"model": "x"}, '"model" in FILE must be a dict; it is a str'),
        ("config.json", {"objective": None}, '"objective" in FILE must be a dict'),
        ("metrics.jsonl", {"step": 4, "train/loss": HUGE}, '"train/loss" in FILE at step 4 must'),
        ("metrics.jsonl", {"step": 4, "train/loss": float("nan")}, "number or null; it is nan"),
        ("metrics.jsonl", {"step": 4, "mfu": float("-inf")}, '"mfu" in FILE at step 4 must be'),
        ("metrics.jsonl", {"step": HUGE}, '"step" in FILE at step 999'),
        ("starts.jsonl", {"packages": [1]}, '"packages" in start 2 of FILE must be a dict'),
        ("starts.jsonl", {"step": "0"}, '"step" in start 2 of FILE must be a int'),
        ("starts.jsonl", {"time": 5}, '"time" in start 2 of FILE must be a str'),
        (TASK, {"metrics": {"accuracy": 5}}, '"accuracy" in metrics of FILE must be a dict'),
        (TASK, {"metrics": {"accuracy": {"value": "x"}}}, "null; it is 'x'"),
        (TASK, {"metrics": {"accuracy": {"value": True}}}, "null; it is True"),
        (TASK, {"metrics": {"accuracy": {"low": float("nan")}}},
         '"low" in accuracy in metrics of FILE must be a finite number or null; it is nan'),
        (TASK, {"metrics": {"accuracy": {"chance": HUGE}}}, '"chance" in accuracy in metrics of'),
        (TASK, {"metrics": []}, '"metrics" in FILE must be a dict; it is a list'),
        (TASK, {"metrics": {}}, '"metrics" in FILE must have a metric; it is empty'),
        (TASK, {"yardsticks": []}, '"yardsticks" in FILE must be a dict; it is a list'),
        (TASK, {"yardsticks": {"bigram": 0.5}}, '"bigram" in yardsticks of FILE must be a dict'),
        (TASK, {"yardsticks": {"bigram": {"accuracy": []}}}, "finite number or null; it is []"),
        (TASK, {"groups": []}, '"groups" in FILE must be a dict; it is a list'),
        (TASK, {"groups": {"passive": 0.5}}, '"passive" in groups of FILE must be a dict'),
        (TASK, {"groups": {"passive": {**GROUP, "accuracy": 5}}},
         '"accuracy" in group passive of FILE must be a dict; it is a int'),
        (TASK, {"groups": {"passive": {**GROUP, "accuracy": {"value": "x"}}}}, "it is 'x'"),
        (TASK, {"items": "many"}, '"items" in FILE must be a int; it is a str'),
    ],
)  # fmt: skip
def test_a_damaged_file_is_named(name, change, message, run):
    path = run / name
    if name.endswith(".jsonl"):
        with path.open("a") as file:
            file.write(json.dumps(change) + "\n")
    else:
        path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(DataError, match=re.escape(message.replace("FILE", str(path)))) as failed:
        make(run)
    assert str(path) in str(failed.value) and "\n" not in str(failed.value)


@pytest.mark.parametrize(
    "name", ["config.json", "metrics.jsonl", "samples.txt", "starts.jsonl", TASK, "tasks/20/x.json"]
)
@pytest.mark.parametrize("kind", ["folder", "pipe"])
def test_a_file_that_cannot_be_read_must_be_readable_not_writable(kind, name, run):
    path = run / name
    path.unlink(missing_ok=True)
    path.mkdir() if kind == "folder" else os.mkfifo(path)
    with pytest.raises(DataError, match=f"{path} must be readable; it is not a regular file") as e:
        make(run)
    assert e.value.exit_code == 65 and "writable" not in str(e.value)


def test_folders_that_are_no_steps_have_no_results(run):
    for name in ("²", "٣", "-1", "20.old", "notes"):
        (run / "tasks" / name).mkdir()
        (run / "tasks" / name / "blimp.json").write_text("{}")
    (read,) = run_files.read_runs([run])
    assert list(read.tasks) == [20]


def test_a_heading_that_no_run_writes_is_part_of_a_sample(run):
    heading = f"==== step {'9' * 5000} ===="
    text = f"==== step 3 ====\nfirst\n{heading}\nmore\n\n==== step 5 ====\nlast\n\n"
    (run / "samples.txt").write_text(text)
    assert history.read_samples(run) == [(3, f"first\n{heading}\nmore"), (5, "last")]
    history.truncate_samples(run, 3, evaluated=True)
    assert (run / "samples.txt").read_text() == text[: text.index("==== step 5")]
    assert heading in make(run)


def test_half_of_a_surrogate_pair_is_shown_as_json_writes_it(tmp_path):
    run = write_run(tmp_path, os.fsdecode(b"first\xff"), [4.0])
    config = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps({**config, "note": "half \ud83d"}))
    out = tmp_path / "report.html"
    command = [sys.executable, "-m", "pretrain_jax.report", f"--workdir={run}", f"--out={out}"]
    done = subprocess.run(command, capture_output=True)
    assert done.returncode == 0, done.stderr
    page = out.read_text(encoding="utf-8")
    assert "half \\ud83d" in page and "<title>first\\udcff</title>" in page
    assert data_of(page)["charts"][0]["series"][0]["name"] == os.fsdecode(b"first\xff")


def test_an_error_is_one_sentence_and_the_report_stays(run, tmp_path):
    out = tmp_path / "report.html"
    words = [f"--workdir={run}", f"--out={out}"]
    assert report.main(words) == 0
    before = out.read_bytes()
    (run / TASK).write_text("[1]")
    with pytest.raises(DataError, match="must hold a JSON object"):
        report.main(words)
    assert out.read_bytes() == before
