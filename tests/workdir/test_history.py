"""A missing checkpoint never makes a run drop metrics or samples silently."""

import json

import pytest
from etils import epath

from pretrain_jax.errors import DataError, WorkdirMismatch
from pretrain_jax.workdir import history


@pytest.fixture
def run(tmp_path):
    """A workdir with 80 lines of metrics, and samples of steps 40 and 80."""
    lines = [{"step": step, "train/loss": 1 / step} for step in range(1, 81)]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (tmp_path / "metrics.jsonl").write_text(text)
    samples = "".join(f"==== step {step} ====\nsome text\n\n" for step in (40, 80))
    (tmp_path / "samples.txt").write_text(samples)
    return epath.Path(tmp_path)


def read_files(path):
    return {each.name: each.read_bytes() for each in path.iterdir()}


@pytest.mark.parametrize("step", [0, 25, 74])
def test_a_missing_later_checkpoint_is_refused_and_no_file_changes(run, step):
    history.record_saved(run, 75)
    before = read_files(run)
    with pytest.raises(WorkdirMismatch, match="--go_back") as refused:
        history.check_not_lost(run, step, every=25, go_back=False)
    assert refused.value.exit_code == 78
    assert read_files(run) == before


def test_lines_after_the_last_save_are_dropped(run):
    history.record_saved(run, 50)
    history.check_not_lost(run, 50, every=25, go_back=False)
    assert [line["step"] for line in history.truncate_metrics(run, 50)] == list(range(1, 51))


@pytest.mark.parametrize(("every", "step", "lost"), [(25, 25, True), (25, 50, False)])
def test_the_last_save_of_older_runs_is_estimated_from_their_metrics(run, every, step, lost):
    """At step 80 the save of step 75 has started, so step 50 is committed."""
    (run / "config.json").write_text(json.dumps({"checkpoint": {"every": every}}))
    if not lost:
        history.check_not_lost(run, step, every=1000, go_back=False)
        return
    with pytest.raises(WorkdirMismatch):
        history.check_not_lost(run, step, every=1000, go_back=False)


def test_going_back_copies_files_and_replaces_no_copy(run):
    before = read_files(run)
    for number in (1, 2):
        history.record_saved(run, 75)
        history.check_not_lost(run, 25, every=25, go_back=True)
        for name in ("metrics.jsonl", "samples.txt"):
            assert (run / f"{name}.before_{number}").read_bytes() == before[name]
    assert len(history.truncate_metrics(run, 25)) == 25
    history.check_not_lost(run, 25, every=25, go_back=False)  # --go_back is needed only once


def test_invalid_lines_are_dropped_and_other_invalid_files_are_named(run):
    text = (run / "metrics.jsonl").read_text()
    strays = '5\n[]\n{"step": "x"}\n{"step": true}\n{"step": 1e400}\n{"step": 3, "tr'
    (run / "metrics.jsonl").write_text(text + strays)
    assert len(history.truncate_metrics(run, 100)) == 80
    assert (run / "metrics.jsonl").read_text() == text
    for content in ("5", '{"step": -1}', '{"step": null}', "{", "[" * 200_000):
        (run / "saved.json").write_text(content)
        with pytest.raises(DataError, match=r"saved\.json"):
            history.check_not_lost(run, 100, every=25, go_back=False)
    (run / "metrics.jsonl").write_bytes(b"\xff")
    with pytest.raises(DataError, match=r"metrics\.jsonl"):
        history.truncate_metrics(run, 100)
