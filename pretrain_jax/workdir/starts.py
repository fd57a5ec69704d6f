"""starts.jsonl: when, where and by which command a run was started, one line for each start."""

import datetime as dt
import json
import platform
import shlex
import sys
from collections.abc import Sequence
from importlib import metadata
from typing import Any

from etils import epath

from pretrain_jax.errors import DataError
from pretrain_jax.files import outputs, parsing

STARTS = "starts.jsonl"
PACKAGES = ("pretrain_jax", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")


def record(workdir: epath.Path, step: int, devices: Sequence[Any], processes: int) -> None:
    """Appends a line for this start. Raises UnwritableWorkdir.

    step: that the run starts after. devices: of jax, those of all processes.
    """
    line = {
        "step": step,
        "time": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "command": command(),
        "python": platform.python_version(),
        "packages": {name: version for name in PACKAGES if (version := version_of(name))},
        "platform": platform.platform(),
        "devices": f"{len(devices)} x {devices[0].device_kind}",
        "processes": processes,
    }
    path = workdir / STARTS
    with outputs.report_unwritable(path), path.open("a") as file:
        file.write(json.dumps(line) + "\n")


def command() -> str:
    """The command line of this process, as a shell reads it.

    A module that Python runs with -m is named by -m, not by its file.
    """
    return shlex.join(["python", *sys.orig_argv[1:]])


def version_of(package: str) -> str:
    """The installed version; "" without one."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def read(workdir: epath.Path) -> list[dict[str, Any]]:
    """The lines of starts.jsonl, without those that are damaged; none without the file."""
    content = outputs.read_bytes(workdir / STARTS) or b""
    found = []
    for line in content.decode("utf-8", "replace").splitlines():
        try:
            found.append(parsing.parse_json_as(line, dict, STARTS, ""))
        except DataError:
            continue
    return found
