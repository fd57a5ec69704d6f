"""Processes that make rows belong to the run: its signals are not theirs, its end is."""

import os
import signal
import subprocess
import sys
import time

RUN = """
import multiprocessing, sys
import numpy as np
from pretrain_jax.data.prefetch import prefetch_batches

if __name__ == "__main__":
    made = prefetch_batches(lambda step: {"step": np.array([step])}, 1 << 40, workers=1, prefetch=2)
    next(made)
    print(*(child.pid for child in multiprocessing.active_children()), flush=True)
    for _ in sys.stdin:
        for _ in range(20):
            next(made)
        print("made", flush=True)
"""


def test_they_ignore_signals_and_end_with_the_run_even_by_kill_9(tmp_path):
    program = tmp_path / "run.py"
    program.write_text(RUN)
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, program], stdin=pipe, stdout=pipe, text=True) as run:
        assert run.stdin is not None and run.stdout is not None
        (worker,) = map(int, run.stdout.readline().split())
        for number in (signal.SIGTERM, signal.SIGINT):
            os.kill(worker, number)
        run.stdin.write("go on\n")
        run.stdin.flush()
        assert run.stdout.readline() == "made\n"
        run.kill()
    end = time.monotonic() + 20
    while alive(worker) and time.monotonic() < end:
        time.sleep(0.05)
    assert not alive(worker)


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
