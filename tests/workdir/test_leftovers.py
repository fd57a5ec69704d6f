"""The next start deletes files of killed processes, but not those of running ones."""

import os
import signal
import subprocess
import sys
import time

import pytest
import tiny_job
from etils import epath

from pretrain_jax.cluster.hosts import SINGLE_PROCESS
from pretrain_jax.data.cache import open_token_cache
from pretrain_jax.data.corpus import open_corpus
from pretrain_jax.errors import UnwritableWorkdir
from pretrain_jax.tokenizers.bytes import Bytes
from pretrain_jax.training import setup
from pretrain_jax.workdir import claim, leftovers

TRAINS_TOKENIZER_FOREVER = """
import sys, time
from pretrain_jax import main
from pretrain_jax.process import child
child.call_in_child = lambda function, **arguments: time.sleep(300)
main.main(sys.argv[1:])
"""
TOKENIZES_FOREVER = """
import sys, time
from pretrain_jax.data.cache import open_token_cache
from pretrain_jax.data.corpus import open_corpus
from pretrain_jax.tokenizers.bytes import Bytes
Bytes.encode = lambda self, text: time.sleep(300)
open_token_cache(open_corpus(sys.argv[1]), "train", Bytes(0), sys.argv[2])
"""
LARGER = "--config.model.vocab_size=300"


@pytest.fixture
def started():
    """started(program, pattern, folder, *options): a process, once `folder` has a matching file."""
    running = []

    def start(program, pattern, folder, *options):
        process = subprocess.Popen([sys.executable, "-c", program, *options])
        running.append(process)
        until = time.monotonic() + 120
        while not list(folder.glob(pattern)):
            assert process.poll() is None and time.monotonic() < until
            time.sleep(0.05)
        return process

    yield start
    for process in running:
        process.kill()
        process.wait()


def end(process):
    process.send_signal(signal.SIGKILL)
    process.wait()


def test_the_draft_of_a_killed_run_is_deleted_at_the_next_start(tmp_path, started):
    job, run = tiny_job.write(tmp_path), tmp_path / "run"
    run.mkdir()
    options = [f"--config={job}", f"--workdir={run}", LARGER, "--config.tokenizer.name=byte_bpe"]
    end(started(TRAINS_TOKENIZER_FOREVER, ".tokenizer.*", run, *options))
    assert list(run.glob(".tokenizer.*"))
    with setup.claim_workdir(str(run), SINGLE_PROCESS):
        assert not list(run.glob(".*"))


def test_a_running_preflight_keeps_its_draft(tmp_path, started):
    job, run = tiny_job.write(tmp_path), tmp_path / "run"
    run.mkdir()
    options = [f"--config={job}", f"--workdir={run}", LARGER, "--config.tokenizer.name=byte_bpe"]
    process = started(TRAINS_TOKENIZER_FOREVER, ".tokenizer.*", run, *options, "--mode=preflight")
    with setup.claim_workdir(str(run), SINGLE_PROCESS):
        assert list(run.glob(".tokenizer.*"))
    end(process)
    with setup.claim_workdir(str(run), SINGLE_PROCESS):
        assert not list(run.glob(".tokenizer.*"))


def test_the_next_token_cache_deletes_that_of_a_killed_process(tmp_path, started):
    cache, source = tmp_path / "cache", f"text:{tmp_path / 'a.txt'}"
    (tmp_path / "a.txt").write_text("a text\n" * 50)
    process = started(TOKENIZES_FOREVER, "*.building/*", cache, source, str(cache))
    (left,) = cache.glob("*.building")
    (tmp_path / "b.txt").write_text("other text\n" * 50)
    other = open_corpus(f"text:{tmp_path / 'b.txt'}")
    open_token_cache(other, "train", Bytes(0), cache)
    assert left.exists()  # still in use
    end(process)
    open_token_cache(other, "valid", Bytes(0), cache)
    assert not left.exists()


def test_only_temporary_files_of_runs_are_deleted(tmp_path):
    """Also deletes files with the id of this process, as in a restarted container."""
    ours = [
        ".tokenizer.999999999.0a1b2c3d",
        f".tokenizer.{os.getpid()}.0a1b2c3d",
        ".probe-h-1-99999999",
    ]
    kept = [
        "tokenizer",
        ".tokenizer.backup",
        ".probe",
        "notes.tmp",
        f".tokenizer.{os.getppid()}.aa",
    ]
    for name in (*ours, *kept):
        (tmp_path / name).mkdir()
    (tmp_path / "config.json.tmp").write_text("{")
    leftovers.clear(epath.Path(tmp_path))
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(kept)


def test_a_probe_that_cannot_be_written_is_not_left(tmp_path, monkeypatch):
    def full(self, text):
        self.touch()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(type(epath.Path(tmp_path)), "write_text", full)
    with pytest.raises(UnwritableWorkdir):
        claim.probe(epath.Path(tmp_path))
    assert not list(tmp_path.iterdir())
