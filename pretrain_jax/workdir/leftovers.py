"""Deletes temporary files of killed processes from a workdir."""

import logging
import os
import re

from etils import epath

log = logging.getLogger(__name__)

PROCESS_FILE = re.compile(r"\.tokenizer\.(\d+)(?:\.[0-9a-f]+)?|\.probe-.*-(\d+)")
"""Drafts of tokenizers (composition/tokenizer.py) and files of claim.probe, with the process id."""
HALF_WRITTEN = ("config.json.tmp", "loss.png.tmp", "metrics.jsonl.tmp")


def clear(workdir: epath.Path) -> None:
    """Deletes drafts of processes that have ended. The caller must have claimed the workdir.

    Keeps drafts of running processes, such as a preflight that trains a tokenizer. Deletes those
    with the id of this process, which has no drafts yet: in a container a killed process may have
    had the same id.
    """
    for path in workdir.iterdir():
        match = PROCESS_FILE.fullmatch(path.name)
        if match:
            process = int(match[1] or match[2])
            if process != os.getpid() and is_alive(process):
                continue
        elif path.name not in HALF_WRITTEN:
            continue
        log.info("deleting %s, which a killed process left", path)
        if path.is_dir():
            path.rmtree()
        else:
            path.unlink()


def is_alive(process: int) -> bool:
    """Whether a process with this id runs on this host."""
    try:
        os.kill(process, 0)
    except PermissionError:
        return True
    except (ProcessLookupError, OverflowError):
        return False
    return True
