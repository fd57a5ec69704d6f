"""Resuming a run, evaluating other text, and starting a run from another one."""

import hashlib
import json
import logging
import shutil

import jax
import numpy as np
import pytest
import tiny_job
from etils import epath

from pretrain_jax import code_version, main
from pretrain_jax.composition import config, init_from, resume
from pretrain_jax.composition.build import build_design, fix_schedule
from pretrain_jax.composition.feed import Feed
from pretrain_jax.errors import ConfigError, InputMissing, UserError, WorkdirMismatch
from pretrain_jax.inference import restore
from pretrain_jax.planning import preflight, preview
from pretrain_jax.tokenizers import chars
from pretrain_jax.training import (
    eval_mode,
    finished,
    loop,
    restore_or_init,
    schedule_preview,
    setup,
)
from pretrain_jax.workdir import run_config

DONE = 6
LINEAR = [("optimizer.schedule", "linear"), ("optimizer.decay_steps", "0")]
LINEAR += [("optimizer.warmup_steps", "1"), ("tokenizer.name", "chars"), ("model.vocab_size", "64")]
OTHER = "Words in another order: JUMPED, quick; 1234567890 and a fox?\n"


@pytest.fixture(autouse=True)
def log(caplog):
    """Captures all log lines."""
    caplog.set_level(logging.INFO, "pretrain_jax")


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    return tiny_job.write(tmp_path_factory.mktemp("job"))


@pytest.fixture(scope="module")
def done(job, tmp_path_factory):
    """A finished run of six updates with a final learning rate of 0; read only."""
    workdir = tmp_path_factory.mktemp("done") / "run"
    loop.train(settings(job), str(workdir))
    return workdir


@pytest.fixture
def copy(done, tmp_path):
    """A copy of that run, to write to."""
    shutil.copytree(done, tmp_path / "copy")
    return tmp_path / "copy"


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    """A text with some characters of the run's corpus and some others."""
    file = tmp_path_factory.mktemp("other") / "other.txt"
    file.write_text(OTHER * 20)
    return f"text:{file}"


def settings(job, *overrides):
    steps = ("train.steps", str(DONE))
    return config.read(str(job), [*LINEAR, steps, ("eval.sample_tokens", "0"), *overrides])


def content(folder):
    """The digest of every file of a folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).digest() for p in files}


def scored(job, folder, capsys, *overrides):
    """What --mode=eval prints."""
    capsys.readouterr()
    eval_mode.evaluate(settings(job, *overrides), str(folder))
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def rates(folder):
    rows = tiny_job.lines(folder)
    return {row["step"]: row["train/learning_rate"] for row in rows if "train/loss" in row}


# --- schedules at their end -----------------------------------------------------------------------


def section(**given):
    plain = {"schedule": "linear", "learning_rate": 1e-2, "warmup_steps": 5, "decay_steps": 60}
    return {**plain, "final": 0.0, "decay_fraction": 0.1, "ramp": False, **given}


def plan(steps, **given):
    plain = config.ConfigDict({"train": {"steps": steps}, "optimizer": section(**given)})
    return fix_schedule(plain)


@pytest.mark.parametrize(
    "given, steps, done, updates, rate",
    [
        ({}, 60, 0, 0, None),
        ({}, 100, 0, 40, 0),
        ({}, 100, 90, 10, 0),
        ({"schedule": "cosine", "final": 0.1}, 100, 0, 40, 1e-3),
        ({"schedule": "wsd"}, 61, 0, 1, 0),
        ({"schedule": "constant"}, 1000, 0, 0, None),
        ({"schedule": "inverse_square_root"}, 1000, 0, 0, None),
        ({"schedule": "constant", "learning_rate": 0.0}, 100, 10, 90, 0),
        ({"decay_steps": 0}, 100, 0, 0, None),
    ],
)
def test_updates_after_the_end_of_a_schedule_are_counted(given, steps, done, updates, rate):
    tail = schedule_preview.after_decay(plan(steps, **given), done)
    assert tail.updates == updates
    assert tail.is_wasted == (rate == 0 and updates > 0)
    assert bool(tail.warning) == bool(updates)
    if updates:
        assert tail.rate == pytest.approx(rate)


@pytest.mark.parametrize("warmup, steps", [(5, 60), (60, 60), (200, 0)])
def test_a_run_that_leaves_its_warmup_gets_no_warning(warmup, steps):
    config = plan(steps, warmup_steps=warmup, decay_steps=200)
    assert not schedule_preview.warn_of_warmup(config)


def test_a_run_that_ends_within_its_warmup_gets_a_warning():
    config = plan(60, warmup_steps=200, decay_steps=200, learning_rate=0.01)
    assert "learning rate is 0.003 of 0.01" in schedule_preview.warn_of_warmup(config)
    assert "warm-up continues to update 200" in schedule_preview.describe_longer(config)


def test_a_longer_run_at_rate_0_warns_and_preflight_fails(job, copy, capsys, caplog):
    longer = settings(job, ("train.steps", "8"))
    assert preflight.preflight(longer, str(copy), jax.devices()[:1]) == 64
    page = capsys.readouterr().out.splitlines()
    assert [line[:4] for line in page if line[5:].startswith("schedule")] == ["FIX "]
    loop.train(longer, str(copy))
    (warning,) = [r.message for r in caplog.records if r.message.startswith("the learning rate")]
    assert (
        "learning rate is 0" in warning and "7 to 8 (2)" in warning and "decay_steps=N" in warning
    )
    assert [rates(copy)[step] for step in (7, 8)] == [0, 0]


def test_decay_steps_may_change_and_both_schedules_are_logged(job, copy, caplog):
    loop.train(settings(job, ("train.steps", "8"), ("optimizer.decay_steps", "10")), str(copy))
    (table,) = [r.message for r in caplog.records if "optimizer.decay_steps=6" in r.message]
    rows = [[float(x) for x in line.split()] for line in table.splitlines()[2:]]
    assert rows[0][0] == DONE + 1 and rows[-1][0] == 8
    assert all(before == 0 < now for _, before, now in rows)
    assert rates(copy)[8] == pytest.approx(rows[-1][2], rel=1e-2)
    stored = json.loads((copy / "config.json").read_text())
    assert stored["optimizer"]["decay_steps"] == 10
    assert not [r for r in caplog.records if r.message.startswith("the learning rate is 0")]


@pytest.mark.parametrize("decay", [20, 40, 400])
def test_another_decay_of_wsd_changes_no_past_learning_rate(decay):
    early, late = (plan(100, schedule="wsd", decay_steps=d) for d in (20, decay))
    one, other = (setup.schedule_preview.build_schedule(c.optimizer) for c in (early, late))
    assert [float(one(n)) for n in range(18)] == [float(other(n)) for n in range(18)]


# --- a finished run -------------------------------------------------------------------------------


def test_a_finished_run_logs_next_steps_and_does_nothing(job, copy, caplog, monkeypatch):
    before = content(copy)
    for module, slow in (
        (setup, "open_corpora"),
        (setup, "open_feed"),
        (restore_or_init, "restore_or_init"),
    ):
        monkeypatch.setattr(module, slow, None)
    assert main.main(line(job, copy)) == 0
    output = "\n".join(record.message for record in caplog.records)
    loss = [row["valid/loss"] for row in tiny_job.lines(copy) if "valid/loss" in row][-1]
    for part in (f"{loss:.4f}", f"checkpoints/{DONE}", "generate", "train.steps=12", "init_from"):
        assert part in output
    assert {**before, "run.lock": ""} == {**content(copy), "run.lock": ""}


def test_the_next_steps_of_an_encoder_are_to_fill_masks_and_quote_the_workdir(job):
    bert = [("model.name", "bert"), ("objective.name", "masked_lm"), ("eval.sample_tokens", "8")]
    design = build_design(config.read(str(job), bert), (jax.devices()[0],))
    results, use, *_ = finished.next_steps(design, epath.Path("runs/my run"))
    assert "'runs/my run'/loss.png and 'runs/my run'/samples.txt" in results
    assert "generate --workdir='runs/my run'" in use and "<mask>" in use


def line(job, folder, *options):
    """The command line of the run `done`."""
    overrides = [f"--config.{key}={value}" for key, value in LINEAR]
    steps = [f"--config.train.steps={DONE}", "--config.eval.sample_tokens=0"]
    return [f"--config={job}", f"--workdir={folder}", *overrides, *steps, *options]


def test_a_run_whose_last_evaluation_is_missing_is_not_finished(job, copy):
    metrics = copy / "metrics.jsonl"
    kept = [row for row in metrics.read_text().splitlines() if "valid/loss" not in row]
    metrics.write_text("\n".join(kept) + "\n")
    loop.train(settings(job), str(copy))
    assert [row["step"] for row in tiny_job.lines(copy) if "valid/loss" in row] == [DONE]


def test_fewer_steps_than_were_done_are_refused_and_nothing_changes(job, copy, capsys):
    before, fewer = content(copy), settings(job, ("train.steps", "4"))
    with pytest.raises(ConfigError, match=r"train\.steps=6") as refused:
        loop.train(fewer, str(copy))
    assert refused.value.exit_code == 64
    assert {**before, "run.lock": ""} == {**content(copy), "run.lock": ""}
    assert preflight.preflight(fewer, str(copy), jax.devices()[:1]) == 64


# --- scoring other text ---------------------------------------------------------------------------


def test_eval_scores_all_of_another_text_and_writes_nothing(job, done, other, capsys, caplog):
    before = content(done)
    source = ("data.source", other)
    found = scored(job, done, capsys, source, ("eval.tokens", "1000000"))
    tokenizer = restore.restore_model(done).tokenizer
    known = np.count_nonzero(tokenizer.encode(OTHER * 20) != tokenizer.unk)
    assert found["valid/tokens"] == known > 600
    assert "yardstick/bigram" not in found
    assert "scores all of the text" in caplog.text
    assert scored(job, done, capsys, source)["valid/tokens"] < 1000  # eval.tokens=500, by rows
    half = scored(job, done, capsys, source, ("data.split", "tail"), ("eval.tokens", "1000000"))
    assert half["valid/tokens"] == pytest.approx(known / 10, abs=8)
    # These keys do not affect the model.
    free = [("seed", "9"), ("optimizer.name", "sgd"), ("train.batch_size", "16")]
    assert scored(job, done, capsys, source, *free)["valid/loss"] == pytest.approx(
        scored(job, done, capsys, source)["valid/loss"], rel=0.2
    )
    assert content(done) == before


@pytest.mark.parametrize("key, value", [("model.heads", "4"), ("tokenizer.name", "bytes")])
def test_eval_of_another_model_or_tokenizer_is_refused(job, done, other, key, value):
    changed = settings(job, ("data.source", other), ("model.vocab_size", "64"), (key, value))
    with pytest.raises(WorkdirMismatch, match=key):
        eval_mode.evaluate(changed, str(done))


def test_training_on_text_without_a_held_out_half_is_refused(job, tmp_path):
    with pytest.raises(ConfigError, match=r"data\.split"):
        loop.train(settings(job, ("data.split", "all")), str(tmp_path))


# --- older code, and the tokenizer of a run -------------------------------------------------------


@pytest.fixture
def older(copy, monkeypatch):
    """The run as older code wrote it, before a change that affects it: it has the version among the
    fingerprints, another fingerprint of the corpus, and a config without newer keys."""
    data = copy / "checkpoints" / str(DONE) / "data" / "metadata"
    stored = json.loads(data.read_text())
    del stored["code"]
    stored["fingerprints"] |= {"rows": 2, "sources": ["text-of-older-code"]}
    data.write_text(json.dumps(stored))
    for file in (copy / "config.json", copy / "checkpoints" / str(DONE) / "config" / "metadata"):
        plain = json.loads(file.read_text())
        del plain["init_tokens"], plain["train"]["z_loss"], plain["model"]["unroll"]
        file.write_text(json.dumps(plain))
    note = copy / "tokenizer" / "note.json"
    note.write_text(json.dumps({**json.loads(note.read_text()), "corpus": "of older code"}))
    change = code_version.Change(3, "end tokens are read", lambda c: c["data"]["seq_len"] == 16)
    monkeypatch.setattr(code_version, "CHANGES", (change,))
    return copy


def test_a_run_of_older_code_resumes_with_its_tokenizer_if_accepted(job, older, caplog):
    longer, before = settings(job, ("train.steps", "7")), content(older / "tokenizer")
    with pytest.raises(WorkdirMismatch, match=r"(?s)end tokens are read.*--accept_changes"):
        loop.train(longer, str(older))
    assert preflight.preflight(longer, str(older), jax.devices()[:1]) == 78
    loop.train(longer, str(older), accept_changes=True)
    assert "text-of-older-code" in caplog.text
    assert content(older / "tokenizer") == before
    loop.train(settings(job, ("train.steps", "8")), str(older))  # accepted permanently


def test_older_code_is_accepted_by_eval_and_generate(job, older, capsys, caplog):
    assert scored(job, older, capsys)["step"] == DONE
    assert restore.restore_model(older).tokenizer.size > 8
    assert caplog.text.count("end tokens are read") == 2


def test_another_corpus_is_refused_where_the_code_did_not_change(job, older, monkeypatch):
    monkeypatch.setattr(code_version, "CHANGES", ())
    with pytest.raises(WorkdirMismatch, match="corpus"):
        loop.train(settings(job, ("train.steps", "7")), str(older), accept_changes=True)


def test_the_tokenizer_of_a_run_is_not_trained_again(job, copy):
    before = content(copy / "tokenizer")
    note = copy / "tokenizer" / "note.json"
    note.write_text(json.dumps({**json.loads(note.read_text()), "corpus": "another"}))
    loop.train(settings(job, ("train.steps", "7")), str(copy))
    assert {**content(copy / "tokenizer"), "note.json": ""} == {**before, "note.json": ""}
    shutil.rmtree(copy / "tokenizer")
    with pytest.raises(InputMissing, match="tokenizer"):
        loop.train(settings(job, ("train.steps", "8")), str(copy))
    assert not (copy / "tokenizer").exists()


# --- beginning from another run -------------------------------------------------------------------


def test_init_from_takes_the_tokenizer_and_starts_at_the_old_loss(
    job, done, other, tmp_path, capsys
):
    fresh = [("init_from", str(done)), ("data.source", other), ("train.steps", "0")]
    loop.train(settings(job, *fresh), str(tmp_path / "run"))
    assert content(tmp_path / "run" / "tokenizer") == content(done / "tokenizer")
    expected = [row["valid/loss"] for row in tiny_job.lines(done) if "valid/loss" in row][-1]
    found = scored(job, tmp_path / "run", capsys, ("init_from", str(done)), ("data.split", "hash"))
    assert found["valid/loss"] == pytest.approx(expected, rel=1e-6)
    assert expected < np.log(64)  # the loss of a new model


@pytest.mark.parametrize(
    "changed",
    [
        [("tokenizer.name", "bytes"), ("model.vocab_size", "262")],
        [("tokenizer.sentinels", "2")],
        [("model.vocab_size", "63")],
        [("tokenizer.path", "{other}")],
        [("model.heads", "4")],
    ],
)
def test_init_from_with_other_tokens_or_another_model_is_refused(
    job, done, other, tmp_path, changed
):
    chars.train([OTHER], tmp_path, vocab_size=64)
    overrides = [(key, value.format(other=tmp_path)) for key, value in changed]
    with pytest.raises(UserError) as refused:
        loop.train(settings(job, ("init_from", str(done)), *overrides), str(tmp_path / "run"))
    assert refused.value.exit_code == 78
    assert changed[0][0] in str(refused.value)


def test_init_from_may_scale_rotary_positions_for_longer_rows(job, tmp_path):
    llama = [("model.name", "llama"), ("model.kv_heads", "1"), ("train.steps", "0")]
    loop.train(settings(job, *llama), str(tmp_path / "short"))
    more = [*llama, ("init_from", str(tmp_path / "short")), ("data.seq_len", "32")]
    scaled = [("model.rope_scaling", "linear"), ("model.rope_factor", "2")]
    loop.train(settings(job, *more, *scaled), str(tmp_path / "long"))
    with pytest.raises(WorkdirMismatch, match=r"model\.kv_heads: stored 1, now 2"):
        loop.train(settings(job, *more, ("model.kv_heads", "2")), str(tmp_path / "other"))


def restored(folder):
    """The last checkpoint of a run."""
    return restore.restore_params(restore.load_design(folder), folder)


def test_init_tokens_shared_keeps_rows_of_tokens_with_the_same_spelling(
    job, done, other, tmp_path, caplog
):
    given = [("init_from", str(done)), ("init_tokens", "shared"), ("data.source", other)]
    wide = [("model.vocab_size", "300"), ("train.steps", "0")]
    loop.train(settings(job, *given, *wide), str(tmp_path / "run"))
    old, new = restored(done), restored(tmp_path / "run")
    a, again = old.tokenizer.encode("a")[-1], new.tokenizer.encode("a")[-1]
    z = new.tokenizer.encode("Q" if "Q" in OTHER else "J")[-1]
    rows, before = (np.asarray(r.params["embedding"]["tokens"]) for r in (new, old))
    assert rows.shape[0] == 384 and before.shape[0] == 128
    assert np.array_equal(rows[again], before[a])
    assert not (rows[z] == before).all(axis=1).any() and rows[z].any()
    assert np.array_equal(rows[new.tokenizer.eos], before[old.tokenizer.eos])
    assert rows[299].any() and not rows[300:].any()
    ids = init_from.match_tokens(old.tokenizer, new.tokenizer)
    kept = np.count_nonzero(ids >= 0)
    assert 10 < kept < new.tokenizer.size
    assert f"{kept} of {new.tokenizer.size} tokens" in caplog.text


def test_rows_are_copied_along_any_axis():
    old, new = np.arange(8.0).reshape(2, 4), np.full((2, 6), -1.0)
    found = init_from.copy_rows(jax.numpy.array(new), jax.numpy.array(old), np.array([3, -1, 0]), 1)
    assert found.tolist() == [[3, -1, 0, -1, -1, -1], [7, -1, 4, -1, -1, -1]]
    bias = init_from.copy_rows(jax.numpy.zeros(3), jax.numpy.arange(5.0), np.array([4, 2]), 0)
    assert bias.tolist() == [4, 2, 0]


def test_the_tokenizer_path_of_the_source_run_is_inherited(job, done, tmp_path):
    """The path stays when the run resumes, even if its command does not name it."""
    old = {**json.loads((done / "config.json").read_text())}
    old["tokenizer"]["path"] = str(done / "tokenizer")
    (tmp_path / "old").mkdir()
    run_config.write_config(tmp_path / "old", old)
    given = settings(job, ("init_from", str(tmp_path / "old")))
    fixed, _ = resume.config_to_resume(given, tmp_path / "new")
    assert fixed.tokenizer.path == str(done / "tokenizer")
    (tmp_path / "new").mkdir()
    run_config.write_config(tmp_path / "new", fixed.to_dict())
    shutil.rmtree(tmp_path / "old")
    again, stored = resume.config_to_resume(given, tmp_path / "new")
    assert stored and again.tokenizer.path == fixed.tokenizer.path


@pytest.mark.parametrize("name, value", [("init_tokens", "shared"), ("init_layers", "(0, 2)")])
def test_what_does_nothing_without_init_from_is_refused(job, tmp_path, name, value):
    with pytest.raises(ConfigError, match=f"{name} chooses what a run takes from its init_from"):
        resume.config_to_resume(settings(job, (name, value)), tmp_path)


# --- phases ---------------------------------------------------------------------------------------


def test_evaluation_uses_the_last_row_length_that_training_reaches(job, tmp_path, caplog):
    phases = [("data.seq_len", "8"), ("train.phases", '((2, {"seq_len": 16}), (99, {}))')]
    for steps, seq_len in ((2, 8), (3, 16)):
        caplog.clear()
        growing = fix_schedule(settings(job, *phases, ("train.steps", str(steps))))
        design = build_design(growing, (jax.devices()[0],))
        feed = Feed.open(design, epath.Path(tmp_path))
        assert design.spec.phases.eval_seq_len == seq_len
        assert {batch["tokens"].shape[1] for batch in feed.eval_batches()} == {seq_len}
        assert ("rows of 16 tokens" in caplog.text) == (steps == 3)
        page = "\n".join(preview.format_preview(feed))
        assert "data.seq_len=" not in page and f"samples have rows of seq_len={seq_len}" in page


def test_a_lost_config_json_is_read_from_the_checkpoint(job, copy, caplog):
    (copy / "config.json").unlink()
    with pytest.raises(WorkdirMismatch, match="learning_rate"):
        loop.train(settings(job, ("optimizer.learning_rate", "0.5")), str(copy))
    assert caplog.text.count("config.json is missing") == 1
    loop.train(settings(job, ("train.steps", "7")), str(copy))
    assert caplog.text.count("config.json is missing") == 2  # once per command
