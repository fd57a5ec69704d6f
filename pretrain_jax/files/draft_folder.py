"""Folders that appear complete or not at all: written under another name, then renamed."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from etils import epath

from pretrain_jax.errors import ConfigError
from pretrain_jax.files import outputs
from pretrain_jax.files.paths import is_remote
from pretrain_jax.files.sealed_folder import fsync
from pretrain_jax.process import shutdown


@contextlib.contextmanager
def draft_of(directory: epath.Path) -> Iterator[epath.Path]:
    """A new folder next to `directory`, to be renamed to it; removed at the end if it was not, also
    if a signal ends the process."""
    draft = directory.parent / f".{directory.name}.{os.getpid()}.{os.urandom(4).hex()}"
    shutdown.DRAFTS.add(str(draft))
    try:
        draft.mkdir(parents=True)
        yield draft
    finally:
        if draft.exists():
            draft.rmtree()
        shutdown.DRAFTS.discard(str(draft))


@contextlib.contextmanager
def publish(folder: Path) -> Iterator[Path]:
    """A new folder to write into; it becomes `folder` at the end, or is removed after any error.

    Every file is on disk before the rename. Raises UnwritableWorkdir.
    """
    with contextlib.ExitStack() as stack:
        with outputs.report_unwritable(folder, OSError):
            draft = Path(stack.enter_context(draft_of(epath.Path(folder))))
        yield draft
        with outputs.report_unwritable(folder, OSError):
            for path in [*draft.rglob("*"), draft]:
                fsync(path)
            draft.rename(folder)
            fsync(folder.parent)


def check_free(path: str, option: str) -> Path:
    """The path, which must be a local one that does not exist, or an empty folder.

    option: where the path was given, for the message. Raises ConfigError.
    """
    folder = Path(path)
    if is_remote(path):
        raise ConfigError(f"{option} must be a local folder; received {path}. Copy it afterwards")
    if folder.is_dir() and not any(folder.iterdir()):
        return folder
    if folder.is_symlink() or folder.exists():
        raise ConfigError(
            f"{option} must name a new or empty folder; {path} has content. Nothing was written; "
            "name another folder"
        )
    return folder
