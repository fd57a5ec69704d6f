"""What takes long says so on standard error, now and then, and how much of it is done."""

import logging
import os
import subprocess
import sys
import threading
import time

import pytest

from pretrain_jax import progress


@pytest.fixture
def soon(monkeypatch, caplog):
    monkeypatch.setattr(progress, "FIRST", 0.05)
    monkeypatch.setattr(progress, "EVERY", 0.05)
    caplog.set_level(logging.INFO, "pretrain_jax")
    return caplog


def test_a_block_that_waits_is_spoken_for(soon):
    with progress.progress("sleeping"):
        time.sleep(0.5)
    assert len([r for r in soon.records if r.getMessage().startswith("sleeping: ")]) >= 3
    assert "%" not in soon.text
    assert not [t for t in threading.enumerate() if t.name.startswith("progress")]


def test_the_share_that_is_done(soon):
    with progress.progress("counting", total=200) as done:
        for _ in range(2):
            done(25)
            time.sleep(0.2)
    assert "12 %" in soon.text and "25 %" in soon.text


def test_what_is_quick_says_nothing_and_errors_pass_through(caplog):
    caplog.set_level(logging.INFO, "pretrain_jax")
    with pytest.raises(KeyError), progress.progress("failing"):
        raise KeyError
    assert not caplog.records
    assert not [t for t in threading.enumerate() if t.name.startswith("progress")]


SLOW = """
import sys, time
from pretrain_jax import command, progress
from pretrain_jax.composition.tokenizer import load_or_train
from pretrain_jax.tokenizers import byte_bpe
progress.FIRST = progress.EVERY = 0.2
def train(texts, directory, **options):
    time.sleep(1)
    raise KeyboardInterrupt
byte_bpe.train = train
def main(argv):
    load_or_train("byte_bpe", "", texts=lambda: ["a"], corpus_fingerprint="", vocab_size=300,
                  directory=sys.argv[1])
    return 0
sys.exit(command.run(main, None))
"""


def test_a_command_shows_it_on_standard_error(tmp_path):
    """Though nobody's terminal is there: a log file must show that the job lives."""
    done = subprocess.run(
        [sys.executable, "-c", SLOW, str(tmp_path / "t")],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ},
    )
    assert done.stderr.count("byte_bpe vocabulary: ") >= 2
    assert not done.stdout
