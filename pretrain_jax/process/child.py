"""A function computed by another Python, with a C heap of its own.

Vocabularies are learned this way: the libraries allocate without end, in the run's own process
beside a compiler that does the same and, on a CPU, in one heap for all threads, in which each waits
for the others (xla/malloc.py). Not by multiprocessing, which runs the caller's script
once more.
"""

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

from pretrain_jax.errors import ChildLost

PROGRAM = """
import ctypes, importlib, json, os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_IGN)
ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG, from Linux's prctl.h
answer = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)  # what the function prints is no part of the answer
given = json.load(sys.stdin)
sys.path[:] = given["path"]
function = getattr(importlib.import_module(given["module"]), given["function"])
try:
    done = {"value": function(**given["arguments"])}
except Exception as error:
    done = {"error": str(error) or type(error).__name__}
json.dump(done, answer)
"""


def call(function: Callable[..., Any], **arguments: Any) -> Any:
    """`function(**arguments)`: a function of a module, whose arguments and result JSON can write.

    >>> import statistics
    >>> call(statistics.mean, data=[1, 2, 6])
    3

    Raises RuntimeError with the words of what the function raised, ChildLost where the process
    ended without an answer. An interrupt is the caller's: the process ignores it, and ends when the
    thread that called ends, whatever ended that.
    """
    given = {"path": sys.path, "module": function.__module__, "function": function.__name__}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        input=json.dumps({**given, "arguments": arguments}),
        stdout=subprocess.PIPE,
        text=True,
    )
    if done.returncode or not done.stdout:
        raise ChildLost(
            f"{given['module']}.{given['function']} runs in a process of its own, which must end "
            f"by itself; it ended with {done.returncode}"
            + (", killed: was there memory for it?" if done.returncode < 0 else "")
        )
    said = json.loads(done.stdout)
    if "error" in said:
        raise RuntimeError(said["error"])
    return said["value"]
