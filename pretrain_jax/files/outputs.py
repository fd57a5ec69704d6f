"""Writing and reading the files of a run; failures raise UnwritableWorkdir with the file name."""

import contextlib
import errno
import os
from collections.abc import Callable, Iterator
from typing import Any

from etils import epath

from pretrain_jax.errors import UnwritableWorkdir, UserError
from pretrain_jax.files import parsing
from pretrain_jax.files.paths import is_remote


@contextlib.contextmanager
def report_unwritable(
    path: epath.PathLike, failures: type[Exception] = Exception
) -> Iterator[None]:
    """A block that writes an output of a run: `failures` in it raise UnwritableWorkdir with its
    path.

    By default all exceptions count, because remote storage has its own exception classes. So
    compute the content before the block, or pass OSError.
    """
    try:
        yield
    except UserError:
        raise
    except failures as error:
        reason = getattr(error, "strerror", None) or str(error) or repr(error)
        raise UnwritableWorkdir(
            f"{os.fspath(path)} must be writable, like all outputs of a run; {reason}. Free some "
            "space, fix its permissions, or move away what is in its place; then start the same "
            "command again"
        ) from error


def write_atomic(path: epath.Path, content: bytes, writer: str = "") -> None:
    """Writes a file atomically: readers see the old or the new content.

    writer: a name of this process, for files that several processes write: each has its own draft.
    Raises UnwritableWorkdir.
    """
    draft = path.parent / f"{path.name}{writer}.tmp"
    with report_unwritable(path):
        draft.write_bytes(content)
        draft.replace(path)


def check_writable(path: epath.Path) -> None:
    """Raises UnwritableWorkdir if the folder of a new file does not exist."""
    with report_unwritable(path):
        if not path.parent.is_dir():
            raise FileNotFoundError(errno.ENOENT, f"there is no folder {path.parent}")


def close_or_note(close: Callable[[], None], error: BaseException | None) -> None:
    """Calls `close`, for an `__exit__`. If `error` propagates, a failed write becomes a note of it.

    Raises UnwritableWorkdir if there is no other error.
    """
    try:
        close()
    except UnwritableWorkdir as failure:
        if error is None:
            raise
        error.add_note(str(failure))


def read_bytes(path: epath.Path) -> bytes | None:
    """The content of a file of a run; None if it does not exist.

    Raises UnwritableWorkdir if it is not a regular file: reading a pipe or a device may never end.
    """
    # epath treats everything except folders as files.
    local = not is_remote(path)
    with report_unwritable(path, OSError):
        if local and os.path.lexists(path) and not os.path.isfile(path):
            raise OSError("it is not a regular file")
        try:
            return path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None


def read_json(path: epath.Path, fix: str) -> Any:
    """The object in a JSON file of a run;

    None if it does not exist. Raises DataError with `fix`.
    """
    content = read_bytes(path)
    return None if content is None else parsing.parse_json_as(content, dict, str(path), fix)
