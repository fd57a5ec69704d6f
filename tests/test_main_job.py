"""Training as a user runs it: real files, real processes, real signals."""

import json
import shutil
import signal
import subprocess
import sys
import time

import pytest
import tiny_job
from program_cache import fresh_programs

from pretrain_jax import generate, main
from pretrain_jax.composition import config
from pretrain_jax.errors import ConfigError, InputMissing, Interrupted, WorkdirMismatch
from pretrain_jax.training import evaluations, loop
from pretrain_jax.training.signals import Signals

pytestmark = pytest.mark.usefixtures("one_device")


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    return tiny_job.write(tmp_path_factory.mktemp("job"), sample_tokens=8)


@pytest.fixture(scope="module")
def straight(job, tmp_path_factory):
    """An uninterrupted run of 60 steps."""
    workdir = tmp_path_factory.mktemp("straight") / "run"
    loop.train(config.read(str(job)), str(workdir))
    return workdir


def test_what_a_run_leaves_in_its_workdir(job, straight):
    written = {path.name for path in straight.iterdir()}
    assert {"config.json", "metrics.jsonl", "checkpoints", "tokenizer", "loss.png"} <= written | {
        "tokenizer"  # the bytes tokenizer has no files
    }
    assert "samples.txt" in written and any((straight / "tensorboard").iterdir())
    rows = tiny_job.lines(straight)
    assert [row["step"] for row in rows if "train/loss" in row] == list(range(1, 61))
    evaluations = [row for row in rows if "valid/loss" in row]
    assert [row["step"] for row in evaluations] == [30, 60]
    last = evaluations[-1]
    assert last["valid/loss"] < last["yardstick/unigram"] < last["yardstick/uniform"]
    assert last["valid/bits_per_byte"] == pytest.approx(last["valid/loss"] / 0.6931471805599453)
    assert json.loads((straight / "config.json").read_text())["train"]["steps"] == 60


@pytest.fixture(scope="module")
def resumed(job, tmp_path_factory):
    """The same 60 steps, stopped and resumed three times."""
    workdir = tmp_path_factory.mktemp("resumed") / "run"
    for steps in (13, 14, 41):
        loop.train(config.read(str(job), [("train.steps", str(steps))]), str(workdir))
    with fresh_programs():
        loop.train(config.read(str(job)), str(workdir))
    return workdir


def test_stopped_at_three_steps_and_resumed_gives_the_same_bits(job, straight, resumed):
    assert tiny_job.losses(resumed) == tiny_job.losses(straight)
    settings = config.read(str(job))
    assert tiny_job.digest(settings, resumed) == tiny_job.digest(settings, straight)


def test_tokens_and_seconds_continue_across_a_resume(resumed, straight):
    """`tokens` and `seconds` of metrics.jsonl count from step 0, over all processes of a run."""
    tokens, expected = column(resumed, "tokens"), column(straight, "tokens")
    assert tokens == expected and list(tokens) == list(range(1, 61))
    assert list(tokens.values()) == sorted(set(tokens.values()))
    seconds = list(column(resumed, "seconds").values())
    assert seconds == sorted(seconds) and seconds[0] > 0


def column(workdir, key):
    """The values of a key of the training lines in metrics.jsonl, by step."""
    rows = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    return {row["step"]: row[key] for row in rows if "train/loss" in row}


def test_observers_change_no_training_bit(job, straight, tmp_path):
    quiet = [("eval.every", "0"), ("checkpoint.every", "1000"), ("train.log_every", "7")]
    loop.train(config.read(str(job), quiet), str(tmp_path / "run"))
    seen, expected = tiny_job.losses(tmp_path / "run"), tiny_job.losses(straight)
    assert seen and all(expected[step] == loss for step, loss in seen.items())
    settings = config.read(str(job))
    assert tiny_job.digest(settings, tmp_path / "run") == tiny_job.digest(settings, straight)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_a_process_stopped_by_a_signal_resumes_with_the_same_bits(job, straight, tmp_path, how):
    workdir = tmp_path / "run"
    command = [sys.executable, "-m", "pretrain_jax.main", f"--config={job}"]
    # More steps than the test compares, so the signal arrives while it trains.
    slow = [*command, f"--workdir={workdir}", "--config.train.steps=100000"]
    with subprocess.Popen(slow, stderr=subprocess.PIPE, text=True) as process:
        until(lambda: len(tiny_job.losses(workdir)) >= 26, process)
        process.send_signal(how)
        _, errors = process.communicate(timeout=60)
    if how is signal.SIGTERM:
        assert process.returncode == 75, errors
        assert "run the same command again to resume" in errors
        saved = max(int(path.name) for path in (workdir / "checkpoints").iterdir())
        assert saved == max(tiny_job.losses(workdir))
    else:
        assert process.returncode == -signal.SIGKILL
    done = max(tiny_job.losses(workdir))
    total = str(max(60, done + 1))
    finished = tiny_job.run(job, workdir, f"--config.train.steps={total}")
    assert finished.returncode == 0, finished.stderr
    results, generate_text, longer, new_run = finished.stderr.splitlines()[-4:]
    assert f"{workdir}/loss.png" in results and f"{workdir}/samples.txt" in results
    assert f"pretrain_jax.generate --workdir={workdir}" in generate_text
    assert f"--config.train.steps={2 * int(total)}" in longer
    assert f"--config.init_from={workdir}" in new_run
    losses, expected = tiny_job.losses(workdir), tiny_job.losses(straight)
    assert all(losses[step] == expected[step] for step in expected)
    assert sorted(losses) == list(range(1, int(total) + 1))


def until(condition, process, seconds=120):
    end = time.monotonic() + seconds
    while time.monotonic() < end and process.poll() is None:
        try:
            if condition():
                return
        except (FileNotFoundError, ValueError):
            pass  # missing or incomplete file
        time.sleep(0.05)
    raise AssertionError(f"the process ended or hangs: {process.poll()}")


def test_another_config_in_the_workdir_is_refused_with_both_values(job, straight):
    changed = config.read(str(job), [("optimizer.learning_rate", "0.5"), ("seed", "4")])
    with pytest.raises(WorkdirMismatch, match=r"(?s)learning_rate: stored 0.01, now 0.5.*seed"):
        loop.train(changed, str(straight))


def test_another_corpus_is_refused_and_the_tokenizer_stays(tmp_path):
    job = tiny_job.write(tmp_path)
    chars = ("tokenizer.name", "chars")
    loop.train(config.read(str(job), [chars, ("train.steps", "2")]), str(tmp_path / "run"))
    before = {p.name: p.read_bytes() for p in (tmp_path / "run" / "tokenizer").iterdir()}
    with (tmp_path / "corpus.jsonl").open("a") as corpus:
        corpus.write('{"text": "one more: XYZ"}\n')
    with pytest.raises(WorkdirMismatch, match="the corpus changed since the checkpoint"):
        loop.train(config.read(str(job), [chars, ("train.steps", "4")]), str(tmp_path / "run"))
    assert before == {p.name: p.read_bytes() for p in (tmp_path / "run" / "tokenizer").iterdir()}


def test_a_longer_run_keeps_the_decay(job, tmp_path):
    free = [("optimizer.decay_steps", "0")]
    loop.train(config.read(str(job), [*free, ("train.steps", "10")]), str(tmp_path / "run"))
    loop.train(config.read(str(job), [*free, ("train.steps", "12")]), str(tmp_path / "run"))
    stored = json.loads((tmp_path / "run" / "config.json").read_text())
    assert stored["optimizer"]["decay_steps"] == 10


@pytest.mark.usefixtures("all_devices")
def test_a_run_resumes_on_another_mesh(straight, tmp_path):
    job, workdir = tiny_job.write(tmp_path), str(tmp_path / "run")
    loop.train(config.read(str(job), [("train.steps", "30"), ("mesh.fsdp", "8")]), workdir)
    mesh = [("mesh.data", "2"), ("mesh.fsdp", "2"), ("mesh.tensor", "2")]
    loop.train(config.read(str(job), mesh), workdir)
    found, expected = tiny_job.losses(tmp_path / "run"), tiny_job.losses(straight)
    # Dropout's bits do not depend on the mesh, so only rounding differs.
    assert [found[s] for s in expected] == pytest.approx(list(expected.values()), rel=1e-4)


def test_phases_change_length_and_batch_and_resume_inside(tmp_path):
    job = tiny_job.write(tmp_path)
    phases = [("train.phases", '((6, {"seq_len": 16, "batch_size": 16}),)'), ("data.seq_len", "8")]
    full, parts = str(tmp_path / "full"), str(tmp_path / "parts")
    loop.train(config.read(str(job), [*phases, ("train.steps", "12")]), full)
    for steps in ("4", "9", "12"):
        loop.train(config.read(str(job), [*phases, ("train.steps", steps)]), parts)
    assert tiny_job.losses(tmp_path / "full") == tiny_job.losses(tmp_path / "parts")
    # A phase starts with a compilation, which rates exclude.
    silent = [step for step, rate in rates(tmp_path / "full").items() if rate is None]
    assert silent == [1, 2, 7, 8]


def test_a_stop_in_a_phase_is_reported_as_that_phases(job, tmp_path, monkeypatch):
    class Stopping(Signals):
        def should_stop(self):
            self._calls += 1
            if self._calls > 8:
                self.received = signal.SIGTERM
            return self.received is not None

    monkeypatch.setattr(loop, "Signals", Stopping)
    phases = [("train.phases", '((20, {"batch_size": 16}), (30, {"batch_size": 8}))')]
    with pytest.raises(Interrupted, match="stopped by SIGTERM and saved at step 8 of 60"):
        loop.train(config.read(str(job), phases), str(tmp_path / "run"))
    found = rates(tmp_path / "run")
    assert list(found) == list(range(1, 9))
    assert found[8] is not None


@pytest.mark.parametrize("at", [30, 60])
def test_a_signal_during_an_evaluation_stops_it_before_its_next_batch(
    job, straight, tmp_path, monkeypatch, at
):
    """The run saves first; the resumed run does the missing evaluation."""
    seen = []

    def batches(self, here=None, batches=loop.Feed.eval_batches):
        for batch in batches(self, here):
            if here is not None and step_of(tmp_path / "run") == at:
                seen.append(batch)
                signal.raise_signal(signal.SIGTERM)
            yield batch

    settings = config.read(str(job))
    with monkeypatch.context() as patch:
        patch.setattr(loop.Feed, "eval_batches", batches)
        with pytest.raises(Interrupted, match=f"saved at step {at} of 60"):
            loop.train(settings, str(tmp_path / "run"))
    assert len(seen) == 1
    assert f"checkpoints/{at}/commit" in " ".join(map(str, (tmp_path / "run").rglob("commit*")))
    assert (at, "valid/loss") not in keys(tmp_path / "run")
    loop.train(settings, str(tmp_path / "run"))
    assert_same_files(tmp_path / "run", straight)


def test_a_kill_between_saving_and_evaluating_loses_no_line(job, straight, tmp_path, monkeypatch):
    def killed(self, step, params):
        raise KeyError("killed")

    both = [("checkpoint.every", "30")]
    with monkeypatch.context() as patch:
        patch.setattr(evaluations.Evaluations, "evaluate", killed)
        with pytest.raises(KeyError, match="killed"):
            loop.train(config.read(str(job), both), str(tmp_path / "run"))
    loop.train(config.read(str(job), both), str(tmp_path / "run"))
    assert_same_files(tmp_path / "run", straight)


def test_resuming_before_the_last_evaluation_writes_each_sample_once(
    job, straight, tmp_path, monkeypatch
):
    """As after kill -9: a checkpoint of step 25, but lines and a sample of step 30."""
    run = tmp_path / "run"
    loop.train(config.read(str(job), [("train.steps", "25")]), str(run))
    for name in ("metrics.jsonl", "samples.txt"):
        (run / name).write_bytes((straight / name).read_bytes())
    loop.train(config.read(str(job)), str(run))
    assert_same_files(run, straight)


def test_deleted_checkpoints_delete_no_metrics(job, tmp_path):
    run, settings = tmp_path / "run", config.read(str(job))
    loop.train(settings, str(run))
    shutil.rmtree(run / "checkpoints")
    before = {name: (run / name).read_bytes() for name in ("metrics.jsonl", "samples.txt")}
    refused = tiny_job.run(job, run)
    assert refused.returncode == 78 and "--go_back" in refused.stderr
    assert not (run / "checkpoints").exists()  # a folder would be in the way of the lost one
    assert all((run / name).read_bytes() == content for name, content in before.items())
    again = tiny_job.run(job, run, "--go_back", "--config.train.steps=5")
    assert again.returncode == 0, again.stderr
    assert max(tiny_job.losses(run)) == 5
    for name, content in before.items():
        assert (run / f"{name}.before_1").read_bytes() == content


def step_of(workdir):
    return max(tiny_job.losses(workdir), default=0)


def keys(workdir):
    return {(row["step"], key) for row in tiny_job.lines(workdir) for key in row}


def assert_same_files(workdir, straight):
    """Metrics and samples are those of the uninterrupted run."""
    assert tiny_job.lines(workdir) == tiny_job.lines(straight)
    assert (workdir / "samples.txt").read_text() == (straight / "samples.txt").read_text()


def test_rates_exclude_the_wait_for_the_compiler_and_the_first_rows(job, tmp_path, monkeypatch):
    class SlowSteps(loop.CompiledSteps):
        def __call__(self, phase):
            if phase not in self._futures:
                time.sleep(2)
            return super().__call__(phase)

        def start(self, phase):
            if sys._getframe(1).f_code.co_name == "__call__":
                super().start(phase)

    def slow_batches(self, phase, step, batches=loop.Feed.batches):
        time.sleep(2)
        yield from batches(self, phase, step)

    monkeypatch.setattr(loop, "CompiledSteps", SlowSteps)
    monkeypatch.setattr(loop.Feed, "batches", slow_batches)
    settings = config.read(str(job), [("train.steps", "10"), ("train.log_every", "10")])
    loop.train(settings, str(tmp_path / "run"))
    (rate,) = rates(tmp_path / "run").values()
    assert rate > 8 * 8 * 16 / 1.9  # all tokens of 8 steps of 8 rows, in less time than either wait


def test_the_command_of_a_finished_run_adds_nothing(job, tmp_path):
    settings = config.read(str(job), [("train.steps", "13")])
    loop.train(settings, str(tmp_path / "run"))
    left = {
        name: (tmp_path / "run" / name).read_bytes() for name in ("metrics.jsonl", "samples.txt")
    }
    loop.train(settings, str(tmp_path / "run"))
    for name, content in left.items():
        assert (tmp_path / "run" / name).read_bytes() == content


def rates(workdir):
    """Tokens per second by step."""
    return column(workdir, "tokens_per_second")


def test_non_finite_numbers_stop_the_run_and_the_last_good_state_stays(job, tmp_path, capsys):
    bad = ["--config.optimizer.learning_rate=1e30", "--config.optimizer.warmup_steps=1"]
    result = tiny_job.run(job, tmp_path / "run", "--config.data.workers=2", *bad)
    assert result.returncode == 81, result.stderr
    assert "must be finite" in result.stderr and "Traceback" not in result.stderr
    assert "leaked" not in result.stderr  # shared memory of its workers


def test_evaluation_repeats_the_line_of_the_run(job, straight, capsys):
    main.main([f"--config={job}", f"--workdir={straight}", "--mode=eval"])
    line = json.loads(capsys.readouterr().out.splitlines()[-1])
    last = [row for row in tiny_job.lines(straight) if "valid/loss" in row][-1]
    assert line == last


def test_init_from_starts_with_the_parameters_of_another_run(job, straight, tmp_path):
    settings = config.read(str(job), [("init_from", str(straight)), ("train.steps", "1")])
    loop.train(settings, str(tmp_path / "run"))
    assert tiny_job.losses(tmp_path / "run")[1] < tiny_job.losses(straight)[10]


def test_tokens_per_second_exclude_compilation(straight):
    """The first two steps have no rate."""
    found = rates(straight)
    assert found[1] is None and found[2] is None
    assert all(found[step] > 0 for step in range(4, 61))


def test_generate_continues_a_prompt_and_repeats_itself(straight, capsys):
    def generated(*options):
        flags = [f"--workdir={straight}", "--prompt=the cat", "--tokens=12", *options]
        assert generate.main(flags) == 0
        return capsys.readouterr().out.removesuffix("\n")

    likeliest = generated("--temperature=0")
    assert likeliest.startswith("the cat") and len(likeliest) > len("the cat")
    assert generated("--temperature=0", "--seed=1") == likeliest
    assert generated("--top_k=1", "--temperature=1") == likeliest
    assert generated("--top_k=0", "--temperature=2", "--seed=1") != likeliest


@pytest.mark.parametrize(
    "option, message",
    [("--tokens=0", "--tokens"), ("--tokens=x", "must be a number"), ("--topk=3", "top_k")],
)
def test_generate_refuses_what_it_cannot_do(straight, option, message):
    with pytest.raises(ConfigError, match=message):
        generate.main([f"--workdir={straight}", option])


def test_generate_says_where_there_is_no_run(tmp_path):
    with pytest.raises(InputMissing, match=r"has no config\.json"):
        generate.main([f"--workdir={tmp_path}"])
