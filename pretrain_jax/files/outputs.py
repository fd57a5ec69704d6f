"""Writing and reading the files of a run: what fails raises UnwritableWorkdir, naming the file."""

import contextlib
import os
from collections.abc import Iterator
from typing import Any

from etils import epath

from pretrain_jax.errors import UnwritableWorkdir, UserError
from pretrain_jax.files import parsing


@contextlib.contextmanager
def writing(path: epath.PathLike, failures: type[Exception] = Exception) -> Iterator[None]:
    """A block that writes one output of a run: its failure raises UnwritableWorkdir, naming it.

    Any failure counts, for on remote storage the library behind epath has its own exceptions; so
    what is written is made before the block, or `failures` is OSError.
    """
    try:
        yield
    except UserError:
        raise
    except failures as error:
        reason = getattr(error, "strerror", None) or str(error) or repr(error)
        raise UnwritableWorkdir(
            f"{os.fspath(path)} must be writable, as every output of a run; {reason}. Free some "
            "space, mend its permissions or move away what lies in its place, then start the same "
            "command again"
        ) from error


def replace(path: epath.Path, content: bytes) -> None:
    """Whole or not at all, for whoever is looking at the file. Raises UnwritableWorkdir."""
    beside = path.parent / f"{path.name}.tmp"
    with writing(path):
        beside.write_bytes(content)
        beside.replace(path)


def read(path: epath.Path) -> bytes | None:
    """A file of a run; None where it is not there. Raises UnwritableWorkdir where it is no file,
    for reading a pipe or a device may never end."""
    # epath takes all but folders for files.
    local = "://" not in os.fspath(path)
    with writing(path, OSError):
        if local and os.path.lexists(path) and not os.path.isfile(path):
            raise OSError("it is no regular file")
        try:
            return path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None


def read_json(path: epath.Path, fix: str) -> Any:
    """What a JSON file of a run holds; None where it is not there. Raises DataError with `fix`."""
    content = read(path)
    return None if content is None else parsing.value(content, dict, str(path), fix)
