"""The report of runs: every number is one of metrics.jsonl, and the page needs nothing else."""

import json
import os
import re

import pytest
from report_runs import EVIL, data_of, write_run

from pretrain_jax import report
from pretrain_jax.errors import ConfigError, InputMissing, UnwritableWorkdir
from pretrain_jax.reporting import charts, report_page, run_files


@pytest.fixture
def runs(tmp_path):
    return [
        write_run(tmp_path, "first", [4.0, 3.0, 2.5]),
        write_run(tmp_path, "second", [5.0, 4.5, 4.25, 4.125], rate=0.2),
    ]


def test_every_curve_has_the_numbers_of_metrics_jsonl(runs):
    page = report_page.make_page(run_files.read_runs(runs))
    made = {chart["title"]: chart["series"] for chart in data_of(page)["charts"]}
    for number, run in enumerate(runs):
        lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        for title, key in [("Gradient norm", "train/grad_norm"), ("Held-out loss", "valid/loss"),
                           ("Learning rate", "train/learning_rate"), ("accuracy", "valid/accuracy"),
                           ("Throughput", "tokens_per_second")]:  # fmt: skip
            (curve,) = [x for x in made[title] if x["run"] == number and not x.get("level")]
            assert curve["points"] == [[x["step"], x[key]] for x in lines if key in x], title
        (level,) = [x for x in made["Held-out loss"] if x["run"] == number and x.get("level")]
        assert level["points"] == [[len(lines) - 1, 3.5]] and "unigram" in level["name"]
        (skill,) = [x for x in made["blimp: accuracy"] if x["name"] == run.name]
        assert skill["points"] == [[len(lines) - 1, 0.5], [20, 0.625, 0.5, 0.75]]
    assert "Model FLOPs utilization" not in made
    levels = {x["name"]: x["points"][0][1] for x in made["blimp: accuracy"] if x.get("level")}
    assert levels == {"chance": 0.5, "bigram": 0.5625}
    assert data_of(page)["axes"]["tokens"] == [
        [[step, step * 64] for step in range(1, count + 1)] for count in (3, 4)
    ]


def test_the_tables_have_the_last_values(runs):
    page = report_page.make_page(run_files.read_runs(runs))
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", page.partition("<script")[0]))
    assert "first gpt causal_lm 3 2.25 1.125 2.5 192 0.75 100.5" in text
    assert "second gpt causal_lm 4 2.25 1.125 4.125 256 1 100.5" in text
    assert "first accuracy 0.625 0.5 to 0.75 0.5 0.5625 200 20" in text
    assert "passive 0.625 (0.5 to 0.75) 0.625 (0.5 to 0.75)" in text
    assert "optimizer.rate 0.1 0.2" in text
    assert "python -m pretrain_jax.main --config=x.py" in text and "1 x cpu" in text


def test_the_page_needs_nothing_else_and_runs_no_text_of_a_user(runs):
    page = report_page.make_page(run_files.read_runs(runs))
    assert set(re.findall(r"https?://[^\s\"'`]+", page)) <= {"http://www.w3.org/2000/svg"}
    assert "src=" not in page and "@import" not in page and "alert(1)" in page
    assert EVIL not in page and page.count("<script") == 2 and page.count("</script>") == 2
    assert len(page.encode()) < 2_000_000


def test_many_points_are_thinned_and_the_last_one_stays(tmp_path):
    run = write_run(tmp_path, "long", [1 / n for n in range(1, 10_001)])
    (read,) = run_files.read_runs([run])
    points = charts.thin(read.series("train/loss"))
    assert len(points) <= charts.POINTS and points[-1] == (10_000, 1e-4)
    assert len(report_page.make_page([read]).encode()) < 2_000_000


def test_runs_of_the_same_name_are_told_apart_by_their_folders(tmp_path):
    assert run_files.names(["a/x", "b/x"]) == ["a/x", "b/x"]
    assert run_files.names(["a/x", "a/x"]) == ["x (1)", "x (2)"]
    assert run_files.names(["a/x", "b/x", "a/x"]) == ["a/x (1)", "b/x (2)", "a/x (3)"]
    assert run_files.names(["gs://a/x", "/x"]) == ["a/x", "/x"]


def test_the_folder_of_the_shell_has_its_own_name(runs, tmp_path, monkeypatch):
    monkeypatch.chdir(runs[0])
    for workdirs, names in [(["."], ["first"]), (["../second/", ""], ["second", "first"]),
                            (["tasks/.."], ["first"])]:  # fmt: skip
        assert [run.name for run in run_files.read_runs(workdirs)] == names
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputMissing, match=f"{tmp_path} has no config.json"):
        run_files.read_runs(["."])


def levels(*runs):
    """{name of a level line of the task: (run, value)}."""
    (made,) = [x for x in charts.make_charts(run_files.read_runs(runs)) if "blimp" in x["title"]]
    return {x["name"]: (x["run"], x["points"][0][1]) for x in made["series"] if x.get("level")}


def test_a_yardstick_of_a_task_is_that_of_its_run(runs):
    path = runs[1] / "tasks" / "20" / "blimp.json"
    result = json.loads(path.read_text())
    path.write_text(json.dumps({**result, "yardsticks": {"bigram": {"accuracy": 0.6}}}))
    both = {"first bigram": (0, 0.5625), "second bigram": (1, 0.6)}
    assert levels(*runs) == {"chance": (0, 0.5), **both}
    assert levels(runs[1]) == {"chance": (0, 0.5), "bigram": (0, 0.6)}
    path.write_text(json.dumps({**result, "yardsticks": {}}))  # evaluated without them
    assert levels(*runs) == {"chance": (0, 0.5), "first bigram": (0, 0.5625)}


def test_a_level_line_is_within_the_steps_of_its_run(runs):
    """On logarithmic axes there is no step 0."""
    made = charts.make_charts(run_files.read_runs(runs))
    starts = [x["points"][0][0] for chart in made for x in chart["series"] if x.get("level")]
    assert starts and min(starts) > 0


@pytest.mark.parametrize("kind", ["folder", "pipe", "dangling link"])
def test_the_report_replaces_only_a_file(kind, runs, tmp_path):
    out = tmp_path / "out"
    {"folder": out.mkdir, "pipe": lambda: os.mkfifo(out),
     "dangling link": lambda: out.symlink_to("nowhere")}[kind]()  # fmt: skip
    before = out.lstat()
    with pytest.raises(ConfigError, match=f"--out must be a file; {out} is a folder, a pipe"):
        report.main([f"--workdir={runs[0]}", f"--out={out}"])
    assert out.lstat() == before


def test_the_command_writes_a_report_and_nothing_else(runs, tmp_path, capsys):
    out = tmp_path / "report.html"
    words = [f"--workdir={runs[0]}", "--workdir", str(runs[1]), f"--out={out}"]
    assert report.main(words) == 0 and capsys.readouterr().out == f"{out}\n"
    assert report.main(words) == 0  # an older report is replaced
    assert out.read_text().startswith("<!doctype html>")
    mine = tmp_path / "mine.txt"
    mine.write_text("mine")
    for words, error, message in [
        ([f"--out={out}"], ConfigError, "--workdir must name"),
        ([f"--workdir={runs[0]}"], ConfigError, "--out must name the file"),
        (["--workdir=", f"--out={out}"], ConfigError, "--workdir needs a value"),
        ([f"--workdir={runs[0]}", f"--out={mine}"], ConfigError, "must be new or a report"),
        ([f"--workdir={tmp_path}", f"--out={out}"], InputMissing, "has no config.json"),
        ([f"--workdir={runs[0]}", f"--out={tmp_path}/no/x"], UnwritableWorkdir, "no folder"),
    ]:
        with pytest.raises(error, match=message):
            report.main(words)
    assert mine.read_text() == "mine"


def test_a_run_without_lines_has_a_page(tmp_path):
    (tmp_path / "config.json").write_text('{"model": {"name": "gpt"}}')
    page = report_page.make_page(run_files.read_runs([tmp_path]))
    assert data_of(page)["charts"] == []
