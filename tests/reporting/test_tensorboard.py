"""TensorBoard can read the event files; a write that fails raises in the caller."""

import os
import time

import event_files
import pytest

from pretrain_jax.errors import UnwritableWorkdir
from pretrain_jax.reporting.tensorboard import EventFile


def test_an_independent_reader_finds_what_was_written(tmp_path):
    events = EventFile(tmp_path, restored_step=0)
    events.scalars(1, {"train/loss": 4.25, "ä/b": -0.5})
    events.scalars(300, {"tokens_per_second": 1e30})
    version, start, *found = event_files.events(tmp_path)
    assert version["version"] == "brain.Event:2"
    assert start["starts"] and start["step"] == 0
    assert [(e["step"], list(e["scalars"])) for e in found] == [
        (1, ["train/loss", "ä/b"]),
        (300, ["tokens_per_second"]),
    ]
    assert found[0]["scalars"] == {"train/loss": 4.25, "ä/b": -0.5}
    assert found[1]["scalars"]["tokens_per_second"] == pytest.approx(1e30)
    assert abs(found[0]["time"] - time.time()) < 60


def test_a_long_tag_and_a_high_step_take_more_bytes(tmp_path):
    EventFile(tmp_path, restored_step=(1 << 40) - 1).scalars(1 << 40, {"x" * 300: 1.0})
    _, start, found = event_files.events(tmp_path)
    assert start["step"] == found["step"] == 1 << 40
    assert list(found["scalars"]) == ["x" * 300]


def test_values_outside_float32_are_left_out(tmp_path):
    EventFile(tmp_path, restored_step=0).scalars(1, {"a": 1e39, "b": float("nan"), "c": 2.0})
    assert list(event_files.events(tmp_path))[-1]["scalars"] == {"c": 2.0}


def test_files_of_later_starts_are_read_later(tmp_path):
    for step in (0, 9, 10):
        EventFile(tmp_path, restored_step=step)
    starts = [event["step"] for event in event_files.events(tmp_path) if event["starts"]]
    assert starts == [0, 10, 11]


def test_a_write_that_fails_raises_at_once_and_keeps_no_descriptor(tmp_path):
    events = EventFile(tmp_path, restored_step=0)
    (path,) = tmp_path.iterdir()
    path.unlink()
    path.symlink_to("/dev/full")
    before = os.listdir("/proc/self/fd")
    for _ in range(20):  # a queue would be full
        with pytest.raises(UnwritableWorkdir, match="tfevents") as failed:
            events.scalars(1, {"train/loss": 1.0})
    assert failed.value.exit_code == 74
    assert len(os.listdir("/proc/self/fd")) == len(before)
