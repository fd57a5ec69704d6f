"""Folders that appear complete or not at all."""

import signal
import subprocess
import sys

import pytest

DRAFT = """
import sys, time
from etils import epath
from pretrain_jax.files.draft_folder import draft_of
from pretrain_jax.process import shutdown

shutdown.exit_on_signals()
with draft_of(epath.Path(sys.argv[1])) as draft:
    (draft / "part").write_text("half")
    print("ready", flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_no_half_written_folder(tmp_path, number):
    command = [sys.executable, "-c", DRAFT, str(tmp_path / "out")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline() == b"ready\n"
        assert list(tmp_path.iterdir())
        process.send_signal(number)
        assert process.wait(30) == 75
    assert not list(tmp_path.iterdir())
