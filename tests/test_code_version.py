"""Runs that older code started: refused, accepted by an option, or only logged."""

import json

import pytest
import tiny_job

from pretrain_jax import code_version, main
from pretrain_jax.composition import config
from pretrain_jax.errors import WorkdirMismatch
from pretrain_jax.inference import restore
from pretrain_jax.training import loop

pytestmark = pytest.mark.usefixtures("one_device")


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    return tiny_job.write(tmp_path_factory.mktemp("job"))


@pytest.fixture
def older(job, tmp_path):
    """A run of 3 steps whose checkpoint records version 1."""
    workdir = tmp_path / "run"
    loop.train(config.read(str(job), [("train.steps", "3")]), str(workdir))
    data = workdir / "checkpoints" / "3" / "data" / "metadata"
    stored = json.loads(data.read_text())
    assert stored["code"] == code_version.VERSION
    data.write_text(json.dumps({**stored, "code": 1}))
    return workdir


def test_older_code_is_refused_with_its_changes_and_accepted_by_an_option(job, older):
    longer = config.read(str(job), [("train.steps", "5")])
    with pytest.raises(WorkdirMismatch, match=r"(?s)rows hold other.*--accept_changes"):
        loop.train(longer, str(older))
    loop.train(longer, str(older), accept_changes=True)
    assert sorted(tiny_job.losses(older)) == [1, 2, 3, 4, 5]
    loop.train(config.read(str(job), [("train.steps", "6")]), str(older))  # accepted for good


def test_evaluation_and_init_from_accept_older_code_and_log_its_changes(
    job, older, tmp_path, caplog
):
    main.main([f"--config={job}", f"--workdir={older}", "--mode=eval", "--config.train.steps=3"])
    assert "rows hold other" in caplog.text
    caplog.clear()
    fresh = config.read(str(job), [("train.steps", "1"), ("init_from", str(older))])
    loop.train(fresh, str(tmp_path / "fresh"))
    assert "rows hold other" in caplog.text


def test_changes_have_existing_versions_and_do_not_affect_every_run():
    assert all(1 < change.version <= code_version.VERSION for change in code_version.CHANGES)
    assert code_version.changes_since(code_version.VERSION, {}) == []


def changes(objective, **data):
    """The changes since version 2 that affect a run of this objective."""
    settings = {"objective": objective, "data": data, "model": {}, "optimizer": {}, "tokenizer": {}}
    return code_version.changes_since(2, settings)


@pytest.mark.parametrize("objective", [{"noise": "words"}, {"noise": "spans"}, {}])
def test_the_change_of_noise_by_words_affects_runs_that_draw_it(objective):
    main = {"name": "masked_lm", "noise": "tokens", **objective}
    affected = bool(objective)
    assert any("by words" in what for what in changes(main)) == affected
    mixture = (("a", "masked_lm", 1.0), ("b", {"name": "masked_lm", "noise": "tokens"}, 1.0))
    assert any("by words" in what for what in changes(main, mixture=mixture)) == affected
    assert not any("by words" in w for w in changes(main, mixture=mixture[1:]))
    assert any("by words" in what for what in changes({"name": "span_boundary"}))


def test_a_key_added_later_has_its_default_and_no_other_value(job, tmp_path):
    workdir = tmp_path / "run"
    loop.train(config.read(str(job), [("train.steps", "1")]), str(workdir))
    stored = json.loads((workdir / "config.json").read_text())
    for section, key in (("optimizer", "eps"), ("model", "remat"), ("data", "mixing")):
        del stored[section][key]
    (workdir / "config.json").write_text(json.dumps(stored))
    assert restore.load_design(workdir).update.optimizer is not None
    with pytest.raises(WorkdirMismatch, match=r"optimizer\.eps"):
        loop.train(config.read(str(job), [("optimizer.eps", "1e-3")]), str(workdir))
    loop.train(config.read(str(job), [("train.steps", "2")]), str(workdir))
    assert sorted(tiny_job.losses(workdir)) == [1, 2]


def test_the_change_of_rows_across_documents_affects_causal_lm_alone():
    causal, masked = {"name": "causal_lm"}, {"name": "masked_lm", "noise": "tokens"}
    assert len(changes(causal, cross_documents=True)) == 1
    assert changes(causal) == changes(causal, cross_documents=False) == []
    assert changes(masked, cross_documents=True) == []


def test_noise_of_single_tokens_concerns_iid_denoising_alone():
    mixture = (("a", {"name": "iid_denoising", "rate": 0.5}, 1.0), ("b", "span_corruption", 1.0))
    spans = {"name": "span_corruption"}
    assert len(changes({"name": "iid_denoising"})) == len(changes(spans, mixture=mixture)) == 1
    assert changes(spans) == changes({"name": "iid_denoising"}, mixture=mixture[1:]) == []
