"""Calls a function in another Python process, with its own C heap.

Vocabularies are learned this way. The libraries allocate a lot, and so does the compiler; in one
process they would wait for each other, because on CPUs all threads share one heap (xla/malloc.py).
multiprocessing is no alternative: it runs the script of the caller again.
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
os.dup2(2, 1)  # keeps what the function prints out of the answer
given = json.load(sys.stdin)
sys.path[:] = given["path"]
function = getattr(importlib.import_module(given["module"]), given["function"])
try:
    done = {"value": function(**given["arguments"])}
except Exception as error:
    done = {"error": str(error) or type(error).__name__}
json.dump(done, answer)
"""


def call_in_child(function: Callable[..., Any], **arguments: Any) -> Any:
    """`function(**arguments)` of a module-level function whose arguments and result are JSON.

    >>> import statistics
    >>> call_in_child(statistics.mean, data=[1, 2, 6])
    3

    Raises RuntimeError with the message of an exception in the function, ChildLost if the process
    ends without an answer. The process ignores SIGINT, which the caller handles. It is killed when
    the calling thread ends for any reason.
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
            f"{given['module']}.{given['function']} runs in a child process, which must exit "
            f"normally; it ended with exit code {done.returncode}"
            + (" (killed). Did it run out of memory?" if done.returncode < 0 else "")
        )
    answer = json.loads(done.stdout)
    if "error" in answer:
        raise RuntimeError(answer["error"])
    return answer["value"]
