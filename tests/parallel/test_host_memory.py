"""Keeping the heap takes addresses, not memory, and nothing that runs after it notices."""

import subprocess
import sys

PROGRAM = """
from pathlib import Path
from pretrain_jax.parallel import host_memory
told = host_memory.keep()
assert told in (True, False)
status = Path("/proc/self/status").read_text()
print(status.partition("VmRSS:")[2].split()[0])
import jax
print(float(jax.jit(lambda x: (x @ x).sum())(jax.numpy.ones((300, 300)))))
"""


def test_it_takes_no_memory_and_jax_runs_on():
    command = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    kilobytes, total = done.stdout.split()
    assert int(kilobytes) < 200_000
    assert float(total) == 300.0**3
