"""Files of text, opened so that whatever is no such file is refused at once, by name.

A pipe would be waited for, a device never ends: only regular files are opened. What is read is the
text behind a UTF-8 byte-order mark, decompressed where the name ends in .gz.
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

from pretrain_jax.data import contents
from pretrain_jax.errors import DataError, InputMissing

KINDS = {
    stat.S_IFIFO: "a named pipe, which can be read only once",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFDIR: "a folder",
}


@contextlib.contextmanager
def raw(path: str) -> Iterator[BufferedReader]:
    """A regular file, open for reading its bytes as they are.

    Raises DataError for anything that is no file, InputMissing where it cannot be opened.
    """
    try:
        check_kind(path, os.stat(path).st_mode)
        # What lies there may have become a pipe by now: then the second look finds it.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            check_kind(path, os.fstat(descriptor).st_mode)
            yield file
    except OSError as error:
        raise InputMissing(f"{path} must be readable; {error.strerror or error}") from error


def check_kind(path: str, mode: int) -> None:
    """Raises DataError unless a stat's mode is that of a regular file."""
    if not stat.S_ISREG(mode):
        kind = KINDS.get(stat.S_IFMT(mode), "something else")
        raise DataError(
            f"data.source must name files; {path} is {kind}. Write what it gives to a file, or "
            "leave it out of data.source"
        )


class TextFile:
    """A file of text that must stay as it is while a run begins: the split, the fingerprint and the
    tokens come from several readings."""

    def __init__(self, path: str):
        self.path = path
        self._seen: tuple[int, ...] | None = None

    @contextlib.contextmanager
    def opened(self) -> Iterator[BinaryIO]:
        """The file's text, from behind a byte-order mark.

        Raises DataError for what is no text, and where the file is no longer what it was.
        """
        with raw(self.path) as file:
            self._check_unchanged(file)
            try:
                with unpacked(file, self.path) as text:
                    head = text.peek(contents.HEAD)[: contents.HEAD]
                    if wrong := contents.complaint(head, self.path):
                        raise DataError(f"{self.path} must be text in UTF-8; {wrong}")
                    text.read(len(contents.BOM) * head.startswith(contents.BOM))
                    yield text
            except (gzip.BadGzipFile, zlib.error, EOFError) as error:
                raise DataError(
                    f"{self.path} must be a complete gzip file; {error}. Copy or compress it again"
                ) from error
            self._check_unchanged(file)

    def digest(self) -> str:
        """SHA-256 of the file's bytes; of one with a byte-order mark, which is skipped, with a
        word for that. Threads run it side by side, since hashlib releases the GIL."""
        with self.opened() as text:
            marked = text.tell() > 0
        with raw(self.path) as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
            self._check_unchanged(file)
        return f" behind a mark {found}" if marked else found

    def _check_unchanged(self, file: BinaryIO) -> None:
        now = os.fstat(file.fileno())
        seen = (now.st_dev, now.st_ino, now.st_size, now.st_mtime_ns)
        if self._seen not in (None, seen):
            raise DataError(
                f"{self.path} must stay as it is while it is read; it changed. Start again when "
                "nothing writes to it"
            )
        self._seen = seen


@contextlib.contextmanager
def unpacked(file: BufferedReader, path: str) -> Iterator[BufferedReader]:
    """The file, through gzip where its name ends in .gz."""
    if not path.lower().endswith(".gz"):
        yield file
        return
    with gzip.GzipFile(fileobj=file, mode="rb") as packed:
        yield cast(BufferedReader, packed)  # it has `peek` too
