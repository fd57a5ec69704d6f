"""`stdlib`: the source code of the Python standard library, about 8 MB of text on every machine.

Tests and optional packages (idlelib, tkinter ...) are left out, so that all installations of a
Python version have the same text. Tables are left out as well: code pages, Unicode data, names of
entities, the manual as one string. They repeat each other, and a held-out code page is easier than
code. With numbers and quoted strings replaced by a constant, less than 30 % of the lines of a table
are distinct, and at least 35 % of the lines of all other files (Python 3.11 to 3.13).

Files that are not valid UTF-8 are skipped and counted: users cannot fix this corpus.
"""

import hashlib
import logging
import os
import platform
import sysconfig
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

from pretrain_jax.data.sources import Document, Keys, Shard, TextSource, check_no_fields
from pretrain_jax.errors import InputMissing

TAKES_NAME = ""
LEFT_OUT = {
    *("site-packages", "dist-packages", "test", "tests", "idlelib", "lib2to3", "distutils"),
    *("tkinter", "ensurepip", "__pycache__"),
}
TABLES = {
    *(
        "encodings",
        "pydoc_data",
        "html/entities.py",
        "locale.py",
        "opcode.py",
        "_opcode_metadata.py",
    ),
    *("re/_casefix.py", "stringprep.py", "_compat_pickle.py"),
}
"""Folders and files, by their path in the library."""
log = logging.getLogger(__name__)


class LibraryShard(Shard):
    """Every .py file below `root` that is valid UTF-8, in the order of relative paths."""

    def __init__(self, root: Path):
        self.name = str(root)
        self.root = root

    @cached_property
    def files(self) -> list[tuple[str, bytes]]:
        files, skipped = [], []
        for folder, folders, names in os.walk(self.root):
            folders[:] = [f for f in folders if f not in LEFT_OUT]
            for path in (Path(folder, name) for name in names if name.endswith(".py")):
                if is_table(path.relative_to(self.root).as_posix()):
                    continue
                data = path.read_bytes()
                try:
                    data.decode()
                    files.append((path.relative_to(self.root).as_posix(), data))
                except UnicodeDecodeError:
                    skipped.append(path)
        if skipped:
            log.info("stdlib: skipped %d files that are not valid UTF-8", len(skipped))
        return sorted(files)

    def digest(self) -> str:
        digest = hashlib.sha256()
        for name, data in self.files:
            digest.update(f"{name}\0{len(data)}\0".encode() + data)
        return digest.hexdigest()

    def documents(self) -> Iterator[Document]:
        return (Document.from_bytes(name, data) for name, data in self.files)


def is_table(name: str) -> bool:
    """Whether a file is a table; `name` is its path in the library.

    >>> [is_table(name) for name in ("encodings/cp437.py", "html/entities.py", "html/parser.py")]
    [True, True, False]
    """
    return bool({name, name.partition("/")[0]} & TABLES) or name.startswith("_sysconfigdata")


def find(name: str, keys: Keys) -> TextSource:
    """The standard library of the running Python; `keys.text` has no effect."""
    del name
    check_no_fields("data.source 'stdlib'", keys)
    shard = LibraryShard(Path(sysconfig.get_paths()["stdlib"]))
    if not shard.files:
        raise InputMissing(
            f"data.source 'stdlib' needs the .py files of the library; there are none in "
            f"{shard.root}. This Python was installed without them; use another Python, or "
            "data.source=text:GLOB"
        )
    return TextSource(f"stdlib-{platform.python_version()}", [shard])
