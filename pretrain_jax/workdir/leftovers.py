"""What killed processes left in a workdir, and how it goes."""

import logging
import os
import re

from etils import epath

log = logging.getLogger(__name__)

OF_A_PROCESS = re.compile(r"\.tokenizer\.(\d+)(?:\.[0-9a-f]+)?|\.probe-.*-(\d+)")
"""Names of text.DRAFT and workdir.probe, with the process that they belong to."""
HALF_WRITTEN = ("config.json.tmp", "loss.png.tmp", "metrics.jsonl.tmp")


def clear(workdir: epath.Path) -> None:
    """Takes away drafts of processes that are no more; to be called by who has claimed the workdir.

    A process that is there may be a preflight that learns a vocabulary: it keeps its draft. This
    process has none yet; in a container, the killed one may have had its number.
    """
    for path in workdir.iterdir():
        found = OF_A_PROCESS.fullmatch(path.name)
        if found:
            process = int(found[1] or found[2])
            if process != os.getpid() and alive(process):
                continue
        elif path.name not in HALF_WRITTEN:
            continue
        log.info("%s was left by a process that was killed, and is taken away", path)
        if path.is_dir():
            path.rmtree()
        else:
            path.unlink()


def alive(process: int) -> bool:
    """Whether a process of this number is on this host."""
    try:
        os.kill(process, 0)
    except PermissionError:
        return True
    except (ProcessLookupError, OverflowError):
        return False
    return True
