"""What another process computes comes back, and so does what goes wrong in it."""

import os
import re
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pretrain_jax.errors import ChildLost
from pretrain_jax.process import child

LONG_CALL = """
import subprocess
from pretrain_jax.process import child
child.call_in_child(subprocess.call, args={command})
"""


def test_values_come_back():
    assert child.call_in_child(statistics.mean, data=[1, 2, 6]) == 3
    assert child.call_in_child(os.getpid) != os.getpid()


def test_what_a_function_prints_is_no_part_of_its_value():
    assert child.call_in_child(subprocess.call, args=["echo", "words"]) == 0


def test_its_errors_come_back_with_their_words():
    with pytest.raises(RuntimeError, match="at least one data point"):
        child.call_in_child(statistics.mean, data=[])


@pytest.mark.parametrize("status", [0, 3])
def test_a_process_that_ends_early_is_no_result(status):
    message = rf"posix\._exit runs in a child process.*ended with exit code {status}$"
    with pytest.raises(ChildLost, match=message):
        child.call_in_child(os._exit, status=status)


def test_a_killed_process_is_told_in_words():
    # By what it calls itself: the function is to be of a module, and this one is not importable.
    kill_own_parent = [sys.executable, "-c", "import os; os.kill(os.getppid(), 9)"]
    with pytest.raises(ChildLost, match=r"-9 .killed.\. Did it run out of memory"):
        child.call_in_child(subprocess.call, args=kill_own_parent)


def test_it_ends_with_its_caller(tmp_path):
    named = tmp_path / "pid"
    name_own_parent = "import os, sys, time; open(sys.argv[1], 'w').write(str(os.getppid()))"
    command = [sys.executable, "-c", f"{name_own_parent}; time.sleep(30)", str(named)]
    program = LONG_CALL.format(command=command)
    caller = subprocess.Popen([sys.executable, "-c", program])
    while not (named.exists() and named.read_text()):
        assert caller.poll() is None
        time.sleep(0.05)
    caller.send_signal(signal.SIGTERM)
    caller.wait()
    running = Path(f"/proc/{int(named.read_text())}/status")
    for _ in range(200):
        if not running.exists() or re.search(r"State:\s+Z", running.read_text()):
            return
        time.sleep(0.05)
    pytest.fail("the process goes on without its caller")
