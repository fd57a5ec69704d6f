"""The folders of checkpointed steps: which are committed, and what to do with the others."""

import logging
from typing import Any

from etils import epath

from pretrain_jax.files import outputs, parsing
from pretrain_jax.files.paths import is_remote
from pretrain_jax.workdir import history

log = logging.getLogger(__name__)
COMMIT_MARKER = "commit_success.txt"


def step_numbers(directory: epath.Path) -> list[int]:
    """The steps with a folder, committed or not, ascending."""
    with outputs.report_unwritable(directory, OSError):  # the name may belong to a file
        if not directory.exists():
            return []
        names = [child.name for child in directory.iterdir()]
    # str.isdecimal alone accepts digits of other scripts, which no run writes.
    return sorted(int(name) for name in names if name.isascii() and name.isdecimal())


def split_checkpoint(path: epath.PathLike) -> tuple[epath.Path, int | None]:
    """(workdir, step) of a path of the form RUN or RUN/checkpoints/STEP; None = no step is named.

    >>> split_checkpoint("runs/xl/checkpoints/2000")
    (PosixGPath('runs/xl'), 2000)
    """
    path = epath.Path(path)
    if path.parent.name == "checkpoints" and path.name.isascii() and path.name.isdecimal():
        return path.parent.parent, int(path.name)
    return path, None


def committed_steps(directory: epath.Path) -> list[int]:
    """The committed steps, ascending."""
    return [step for step in step_numbers(directory) if is_committed(directory, step)]


def is_committed(directory: epath.Path, step: int) -> bool:
    """Whether the folder of a step is there and complete."""
    return (directory / str(step) / COMMIT_MARKER).exists()


def latest_config(directory: epath.Path) -> dict[str, Any] | None:
    """The config of the last committed step, to replace a missing config.json; None without one.

    Reads the file itself: Orbax would wait for the other processes.
    """
    step = max(committed_steps(directory), default=None)
    if step is None:
        return None
    log.warning("config.json is missing: using the config of the checkpoint of step %d", step)
    return parsing.read_json(directory / str(step) / "config" / "metadata", "put config.json back")


def set_aside_uncommitted(directory: epath.Path) -> None:
    """Renames step folders without a commit marker, so that Orbax does not see them.

    On a local disk Orbax takes every folder with a number as a step, and would count it among the
    last n. The folder may be the rest of an interrupted deletion, or a step that lost its marker.
    Only the user can tell, so it becomes N.incomplete. On gs:// Orbax reads the marker itself and
    cleans up.
    """
    if is_remote(directory):
        return
    for step in step_numbers(directory):
        if is_committed(directory, step):
            continue
        path = directory / str(step)
        aside = directory / f"{step}.incomplete"
        if aside.exists():
            aside = history.unused_path(directory, f"{step}.incomplete.")
        path.rename(aside)
        log.warning(
            "%s has no %s, which is written last: renamed to %s; delete it, or restore the file",
            path,
            COMMIT_MARKER,
            aside.name,
        )
