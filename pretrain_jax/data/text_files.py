"""Opening text files; anything else raises an error with the name of the file.

Only regular files are opened: reading a pipe may block, and a device never ends. A UTF-8 byte-order
mark is skipped, and files whose names end in .gz are decompressed.
"""

import contextlib
import gzip
import hashlib
import os
import stat
import zlib
from collections.abc import Iterator
from io import BufferedReader
from typing import BinaryIO, cast

from pretrain_jax.data import file_types
from pretrain_jax.errors import DataError, InputMissing

KINDS = {
    stat.S_IFIFO: "a named pipe, which can only be read once",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFDIR: "a folder",
}


@contextlib.contextmanager
def open_regular(path: str) -> Iterator[BufferedReader]:
    """Opens a regular file to read its raw bytes.

    Raises DataError for anything but a regular file, InputMissing if it cannot be opened.
    """
    try:
        check_kind(path, os.stat(path).st_mode)
        # It may have become a pipe since the first check; the second check detects this.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            check_kind(path, os.fstat(descriptor).st_mode)
            yield file
    except OSError as error:
        raise InputMissing(f"{path} must be readable; {error.strerror or error}") from error


def check_kind(path: str, mode: int) -> None:
    """Raises DataError unless the mode of a stat is that of a regular file."""
    if not stat.S_ISREG(mode):
        kind = KINDS.get(stat.S_IFMT(mode), "not a file")
        raise DataError(
            f"data.source must name regular files; {path} is {kind}. Write its content to a file, "
            "or leave it out of data.source"
        )


class TextFile:
    """A text file that must not change between reads.

    The split, the fingerprint and the tokens come from several passes over it.
    """

    def __init__(self, path: str):
        self.path = path
        self._version: tuple[int, ...] | None = None

    @contextlib.contextmanager
    def open(self) -> Iterator[BinaryIO]:
        """The text of the file, after a byte-order mark.

        Raises DataError if the file is not text or has changed since the first read.
        """
        with open_regular(self.path) as file:
            self._check_unchanged(file)
            try:
                with decompressed(file, self.path) as text:
                    head = text.peek(file_types.HEAD)[: file_types.HEAD]
                    if wrong := file_types.not_text_reason(head, self.path):
                        raise DataError(f"{self.path} must be UTF-8 text; {wrong}")
                    text.read(len(file_types.BOM) * head.startswith(file_types.BOM))
                    yield text
            except (gzip.BadGzipFile, zlib.error, EOFError) as error:
                raise DataError(
                    f"{self.path} must be a complete gzip file; {error}. Copy or compress it again"
                ) from error
            self._check_unchanged(file)

    def digest(self) -> str:
        """SHA-256 of the bytes of the file, with a prefix if it has a byte-order mark.

        Threads run it in parallel: hashlib releases the GIL.
        """
        with self.open() as text:
            has_bom = text.tell() > 0
        with open_regular(self.path) as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            self._check_unchanged(file)
        return f" behind a mark {digest}" if has_bom else digest

    def _check_unchanged(self, file: BinaryIO) -> None:
        status = os.fstat(file.fileno())
        version = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
        if self._version not in (None, version):
            raise DataError(
                f"{self.path} must not change while it is read; it changed. Start again when no "
                "process writes to it"
            )
        self._version = version


@contextlib.contextmanager
def decompressed(file: BufferedReader, path: str) -> Iterator[BufferedReader]:
    """The file, decompressed if its name ends in .gz."""
    if not path.lower().endswith(".gz"):
        yield file
        return
    with gzip.GzipFile(fileobj=file, mode="rb") as packed:
        yield cast(BufferedReader, packed)  # it has `peek` too
