"""Trackers, with the real packages and without a network."""

import json
import sqlite3
import sys
import threading
from types import SimpleNamespace

import mlflow
import pytest
import tiny_job

from pretrain_jax import registry
from pretrain_jax.composition import config
from pretrain_jax.errors import ConfigError
from pretrain_jax.files.paths import is_remote
from pretrain_jax.reporting import trackers, tracking
from pretrain_jax.reporting.tracking import Trackers
from pretrain_jax.training import loop
from pretrain_jax.workdir.history import read_metrics

pytestmark = pytest.mark.usefixtures("one_device")

LINES = [(10, {"train/loss": 4.25}), (20, {"train/loss": 3.5, "valid/loss": 4.0})]


@pytest.fixture(autouse=True)
def offline(monkeypatch, tmp_path):
    for name, value in {
        "WANDB_MODE": "offline",
        "WANDB_SILENT": "true",
        "TRACKIO_DIR": str(tmp_path / "trackio"),
        "HF_HUB_OFFLINE": "1",
    }.items():
        monkeypatch.setenv(name, value)


def send(name, workdir, lines=LINES):
    workdir.mkdir(exist_ok=True)
    with Trackers([name], workdir, {"train": {"steps": 20}, "seed": 3}) as sent:
        for line in lines:
            sent.log(*line)


def test_mlflow_gets_every_number_once_over_restarts(tmp_path, caplog):
    workdir = tmp_path / "run"
    send("mlflow", workdir, LINES[:1])
    send("mlflow", workdir, LINES[1:])
    assert not caplog.text
    client = mlflow.MlflowClient(f"file:{workdir}/mlflow")
    (run,) = client.search_runs([x.experiment_id for x in client.search_experiments()])
    assert run.data.params["train.steps"] == "20" and run.info.status == "FINISHED"
    history = client.get_metric_history(run.info.run_id, "train/loss")
    assert [(point.step, point.value) for point in history] == [(10, 4.25), (20, 3.5)]


def test_wandb_writes_an_offline_run(tmp_path, caplog):
    workdir = tmp_path / "run"
    send("wandb", workdir)
    assert not caplog.text
    (file,) = (workdir / "wandb").glob(f"offline-run-*-{tracking.identity(str(workdir))}/*.wandb")
    assert b"train/loss" in file.read_bytes()


def test_trackio_keeps_a_run_in_its_folder(tmp_path, caplog):
    send("trackio", tmp_path / "run")
    assert not caplog.text
    found = []
    for file in (tmp_path / "trackio").rglob("*.db"):
        with sqlite3.connect(file) as database:
            found += database.execute("select step, metrics from metrics order by step").fetchall()
    assert [(step, json.loads(text)["train/loss"]) for step, text in found] == [
        (10, 4.25),
        (20, 3.5),
    ]


class Broken:
    """A tracker that fails in one of its functions."""

    def __init__(self, where):
        self.where, self.got, self.thread = where, [], None

    def open_run(self, workdir, name, config):
        self.thread = threading.current_thread()
        self.fail("open")
        return self.log, lambda: self.fail("close")

    def log(self, step, values):
        self.fail("log")
        self.got.append(step)

    def fail(self, here):
        if here == self.where:
            raise SystemExit(f"{here} failed")


@pytest.mark.parametrize("where", ["open", "log", "close", "never"])
def test_a_tracker_that_fails_never_stops_the_training(where, tmp_path, monkeypatch, caplog):
    broken = Broken(where)
    names = registry.names
    monkeypatch.setattr(registry, "names", lambda folder: [*names(folder), "broken"])
    monkeypatch.setattr(registry, "load", patched(registry.load, broken))
    job = tiny_job.write(tmp_path)
    options = [("train.steps", "5"), ("eval.every", "0"), ("reporting.trackers", "('broken',)")]
    loop.train(config.read(str(job), options), str(tmp_path / "run"))
    lines = read_metrics(tmp_path / "run")
    assert [line["step"] for line in lines if "train/loss" in line] == [1, 2, 3, 4, 5]
    assert broken.thread is not threading.main_thread()
    assert caplog.text.count("tracker broken is off; training goes on") == (where != "never")
    assert broken.got == ([] if where in ("open", "log") else [line["step"] for line in lines])


def patched(load, broken):
    return lambda folder, name, key: broken if name == "broken" else load(folder, name, key)


def test_a_tracker_that_hangs_is_left_behind(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(tracking, "PATIENCE", 0.2)
    monkeypatch.setattr(tracking, "WAITING", 2)
    release = threading.Event()
    hanging = SimpleNamespace(open_run=lambda *_: release.wait())
    monkeypatch.setattr(registry, "load", lambda *_: hanging)
    with Trackers(["broken"], tmp_path, {}) as sent:
        for step in range(5):
            sent.log(step, {})
    assert "tracker broken is off; training goes on" in caplog.text
    release.set()


def test_a_tracker_that_is_not_installed_is_off(tmp_path, monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "wandb", None)
    send("wandb", tmp_path / "run")
    assert "tracker wandb is off; training goes on: ModuleNotFoundError" in caplog.text
    assert "pip install 'pretrain_jax[trackers]'" in caplog.text


@pytest.mark.parametrize("path", ["gs://bucket/run", "runs/xl"])
def test_a_workdir_has_one_identity_in_every_folder(path, tmp_path, monkeypatch):
    before = tracking.identity(path)
    monkeypatch.chdir(tmp_path)
    assert (tracking.identity(path) == before) == is_remote(path)


def test_an_unknown_tracker_is_refused_at_the_start(tmp_path):
    assert registry.names("reporting.trackers") == ["mlflow", "trackio", "wandb"] and trackers
    job = tiny_job.write(tmp_path)
    with pytest.raises(ConfigError, match="did you mean wandb"):
        options = [("reporting.trackers", "('wandbb',)")]
        loop.train(config.read(str(job), options), str(tmp_path / "run"))
