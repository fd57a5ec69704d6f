"""Nothing that a run had saved or written is dropped because a checkpoint is gone."""

import json

import pytest
from etils import epath

from pretrain_jax.errors import DataError, WorkdirMismatch
from pretrain_jax.workdir import history


@pytest.fixture
def run(tmp_path):
    """A workdir whose run has written 80 lines and samples at 40 and 80."""
    lines = [{"step": step, "train/loss": 1 / step} for step in range(1, 81)]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (tmp_path / "metrics.jsonl").write_text(text)
    samples = "".join(f"==== step {step} ====\nsome text\n\n" for step in (40, 80))
    (tmp_path / "samples.txt").write_text(samples)
    return epath.Path(tmp_path)


def contents(path):
    return {each.name: each.read_bytes() for each in path.iterdir()}


@pytest.mark.parametrize("step", [0, 25, 74])
def test_a_run_that_had_saved_more_is_refused_and_nothing_is_touched(run, step):
    history.record(run, 75)
    before = contents(run)
    with pytest.raises(WorkdirMismatch, match="--go_back") as refused:
        history.check(run, step, every=25, go_back=False)
    assert refused.value.exit_code == 78
    assert contents(run) == before


def test_lines_of_a_tail_that_was_never_saved_are_the_runs_to_repeat(run):
    history.record(run, 50)
    history.check(run, 50, every=25, go_back=False)
    assert [line["step"] for line in history.keep_lines(run, 50)] == list(range(1, 51))


@pytest.mark.parametrize(("every", "step", "lost"), [(25, 25, True), (25, 50, False)])
def test_older_runs_without_a_record_are_judged_by_their_lines(run, every, step, lost):
    """At step 80 the save of 75 was begun, and so that of 50 was done."""
    (run / "config.json").write_text(json.dumps({"checkpoint": {"every": every}}))
    if not lost:
        history.check(run, step, every=1000, go_back=False)
        return
    with pytest.raises(WorkdirMismatch):
        history.check(run, step, every=1000, go_back=False)


def test_going_back_keeps_what_will_be_dropped_and_never_replaces_what_was_kept(run):
    before = contents(run)
    for number in (1, 2):
        history.record(run, 75)
        history.check(run, 25, every=25, go_back=True)
        for name in ("metrics.jsonl", "samples.txt"):
            assert (run / f"{name}.before_{number}").read_bytes() == before[name]
    assert len(history.keep_lines(run, 25)) == 25
    history.check(run, 25, every=25, go_back=False)  # said once


def test_stray_lines_are_dropped_and_strays_elsewhere_named(run):
    text = (run / "metrics.jsonl").read_text()
    strays = '5\n[]\n{"step": "x"}\n{"step": true}\n{"step": 1e400}\n{"step": 3, "tr'
    (run / "metrics.jsonl").write_text(text + strays)
    assert len(history.keep_lines(run, 100)) == 80
    assert (run / "metrics.jsonl").read_text() == text
    for said in ("5", '{"step": -1}', '{"step": null}', "{", "[" * 200_000):
        (run / "saved.json").write_text(said)
        with pytest.raises(DataError, match=r"saved\.json"):
            history.check(run, 100, every=25, go_back=False)
    (run / "metrics.jsonl").write_bytes(b"\xff")
    with pytest.raises(DataError, match=r"metrics\.jsonl"):
        history.keep_lines(run, 100)
