"""A profile of some steps: it is captured, it changes no bit, and it may fail."""

import jax
import pytest
import tiny_job

from pretrain_jax.composition import config
from pretrain_jax.errors import ConfigError
from pretrain_jax.training import loop
from pretrain_jax.workdir.history import read_metrics


def losses(tmp_path, name, **overrides):
    job, workdir = tiny_job.write(tmp_path), tmp_path / name
    options = {"train.steps": 8, "eval.every": 0, **overrides}
    loop.train(config.read(str(job), [(k, str(v)) for k, v in options.items()]), str(workdir))
    return [line["train/loss"] for line in read_metrics(workdir) if "train/loss" in line]


def test_the_named_steps_are_captured_and_change_no_bit(tmp_path, capsys):
    profiled = losses(tmp_path, "profiled", **{"train.profile": "(3, 5)"})
    assert list((tmp_path / "profiled" / "profile").rglob("*.xplane.pb"))
    assert "xprof --logdir=" in "".join(capsys.readouterr())
    assert profiled == losses(tmp_path, "plain")
    assert not (tmp_path / "plain" / "profile").exists()


def test_a_profile_that_ends_after_the_run_is_still_written(tmp_path):
    losses(tmp_path, "run", **{"train.profile": "(7, 99)"})
    assert list((tmp_path / "run" / "profile").rglob("*.xplane.pb"))


def test_a_failure_of_the_profiler_stops_nothing(tmp_path, monkeypatch, caplog):
    def fail(folder):
        raise RuntimeError("no profiler here")

    monkeypatch.setattr(jax.profiler, "start_trace", fail)
    assert len(losses(tmp_path, "run", **{"train.profile": "(3, 5)"})) == 8
    assert caplog.text.count("no profile: RuntimeError: no profiler here") == 1


STEPS = ["(3,)", "(5, 3)", "(0, 3)", "(1.5, 3)", "(True, 3)", "(1, 2, 3)"]


@pytest.mark.parametrize("steps", STEPS)
def test_other_values_are_refused(steps, tmp_path):
    with pytest.raises(ConfigError, match=r"train.profile must be"):
        losses(tmp_path, "run", **{"train.profile": steps})
    assert not (tmp_path / "run" / "config.json").exists()
