"""Renamed config keys: the old name still works everywhere, with a warning, and loads old runs."""

import json
from pathlib import Path
from typing import Any

import jax
import pytest
import tiny_job

from pretrain_jax.composition import config, sections
from pretrain_jax.errors import ConfigError, WorkdirMismatch
from pretrain_jax.inference import restore
from pretrain_jax.training import eval_mode, loop

OLD, NEW = "model.attention_form", "model.attention_backend"


@pytest.fixture(autouse=True)
def fresh_warnings():
    """Each test sees the warning again, which a process logs once."""
    sections._warn_renamed.cache_clear()


@pytest.fixture
def job(tmp_path):
    return tiny_job.write(tmp_path)


def write_file(job: Path, *lines: str) -> str:
    """A config file that changes the config of `job`."""
    file = job.parent / "changed.py"
    base = job.read_text().replace("def get_config()", "def base_config()")
    body = "".join(f"    config.{line}\n" for line in lines)
    change = f"\n\ndef get_config():\n    config = base_config()\n{body}    return config\n"
    file.write_text(base + change)
    return str(file)


def read(path: str, overrides: Any = ()) -> Any:
    """config.read, typed as Any: type checkers do not know the attributes of a ConfigDict."""
    return config.read(path, overrides)


def count_warnings(caplog: Any) -> int:
    messages = [record.getMessage() for record in caplog.records]
    return sum(f"config.{OLD} is now config.{NEW}" in message for message in messages)


def test_every_present_name_is_a_key_and_no_old_name_is():
    keys = sections.every_key()
    assert set(sections.RENAMED.values()) <= set(keys)
    assert not set(sections.RENAMED) & set(keys)


def test_the_old_name_works_in_a_file_and_warns_once(job, caplog):
    path = write_file(job, 'model.attention_form = "plain"')
    resolved = [read(path) for _ in range(2)][-1]
    assert resolved.model.attention_backend == "plain" and "attention_form" not in resolved.model
    assert count_warnings(caplog) == 1
    assert config.value_origins(path, (), resolved)[NEW] == "file"


def test_the_old_name_works_on_the_command_line(job, caplog):
    overrides = [(OLD, "plain")]
    resolved = read(str(job), overrides)
    assert resolved.model.attention_backend == "plain"
    assert count_warnings(caplog) == 1
    assert config.value_origins(str(job), overrides, resolved)[NEW] == "command line"


def test_the_command_line_overrides_the_file_whatever_the_names(job):
    path = write_file(job, 'model.attention_form = "plain"')
    assert read(path, [(NEW, "cpu")]).model.attention_backend == "cpu"
    path = write_file(job, 'model.attention_backend = "plain"')
    assert read(path, [(OLD, "cpu")]).model.attention_backend == "cpu"


def test_both_names_in_a_file_are_an_error(job):
    path = write_file(job, 'model.attention_form = "cpu"', 'model.attention_backend = "cpu"')
    with pytest.raises(ConfigError, match=f"(?s){OLD}.*{NEW}"):
        config.read(path)


def test_options_for_devices_may_use_the_old_name(job):
    path = Path(write_file(job))
    pods = 'PODS = {"v5p:2x2x1": {"model.attention_form": "plain", "mesh.data": 1}}\n'
    path.write_text(path.read_text() + pods)
    assert config.read_pods(str(path)) == {"v5p:2x2x1": {NEW: "plain", "mesh.data": 1}}
    stored = {"model": {"attention_form": "cpu"}}
    assert config.device_options(str(path), (), jax.devices()[:1], "", stored) == {NEW: "cpu"}
    overrides = [(OLD, "plain")]
    assert not config.device_options(str(path), overrides, jax.devices()[:1], "", stored)


def test_a_key_may_move_to_another_section(monkeypatch):
    monkeypatch.setattr(sections, "RENAMED", {"train.old": "optimizer.new"})
    before = {"train": {"old": 3, "steps": 1}, "seed": 0}
    after = {"train": {"steps": 1}, "optimizer": {"new": 3}, "seed": 0}
    assert sections.rename_keys(before) == after
    assert before["train"] == {"old": 3, "steps": 1}


def test_a_workdir_with_the_old_name_resumes_evaluates_and_generates(job, caplog):
    run = job.parent / "run"
    short = [("train.steps", "2"), ("eval.sample_tokens", "0")]
    loop.train(config.read(str(job), short), str(run))
    for file in (run / "config.json", run / "checkpoints" / "2" / "config" / "metadata"):
        stored = json.loads(file.read_text())
        stored["model"]["attention_form"] = stored["model"].pop("attention_backend")
        file.write_text(json.dumps(stored))
    evaluated: Any = config.read_workdir(str(run))
    assert "attention_backend" in evaluated.model
    assert restore.restore_model(run).tokenizer.size
    eval_mode.evaluate(config.read(str(job), short), str(run))
    longer = ("train.steps", "3")
    with pytest.raises(WorkdirMismatch, match=NEW):
        other = config.read(str(job), [*short, longer, (NEW, "plain")])
        loop.train(other, str(run))
    loop.train(config.read(str(job), [*short, longer]), str(run))
    assert count_warnings(caplog) == 1
    assert "attention_backend" in json.loads((run / "config.json").read_text())["model"]
    loop.train(config.read(str(job), [*short, longer]), str(run))  # nothing left to do


def test_both_names_on_the_command_line_are_refused():
    both = [("model.attention_form", "plain"), ("model.attention_backend", "auto")]
    with pytest.raises(ConfigError, match=r"attention_form is the old name .* received both"):
        sections.rename_overrides(both)
