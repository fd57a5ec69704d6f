"""A forked child of a command ends alone: its signals are not those of its parent."""

import subprocess
import sys

PROGRAM = """
import os, signal, sys, time
sys.argv = ["-m"]
import pretrain_jax
child = os.fork()
if not child:
    time.sleep(30)
time.sleep(0.3)
os.kill(child, signal.SIGTERM)
_, status = os.waitpid(child, 0)
time.sleep(0.5)
print("ended by", os.WTERMSIG(status), "and the parent goes on")
"""


def test_a_signal_to_a_forked_child_does_not_end_the_parent():
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stdout) == (0, "ended by 15 and the parent goes on\n")
    assert "Interrupted" not in done.stderr
