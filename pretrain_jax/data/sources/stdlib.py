"""`stdlib`: the Python standard library's own source, about 8 MB of text on every machine.

Tests and the packages that not every installation has (idlelib, tkinter ...) are left out, so
that two installations of one Python version hold the same text. So are tables: code pages, Unicode
data, names of entities, the manual as one string. They repeat one another, and a held-out code page
is easier than any code. In a table fewer than 3 lines in 10 are distinct when numbers and quoted
strings are taken as one; in what is left, at least 35 in 100 are (Python 3.11 to 3.13).

Files that are not valid UTF-8 are skipped and counted: the corpus is not the user's to mend.
"""

import hashlib
import logging
import os
import platform
import sysconfig
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

from pretrain_jax.data.sources import Document, Keys, Shard, Source, without_fields
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
"""Folders and files, by their place in the library."""
log = logging.getLogger(__name__)


class Library(Shard):
    """Every .py file below `root` that is valid UTF-8, in the order of relative paths."""

    def __init__(self, root: Path):
        self.name = str(root)
        self.root = root

    @cached_property
    def files(self) -> list[tuple[str, bytes]]:
        found, skipped = [], []
        for folder, folders, names in os.walk(self.root):
            folders[:] = [f for f in folders if f not in LEFT_OUT]
            for path in (Path(folder, name) for name in names if name.endswith(".py")):
                if is_table(path.relative_to(self.root).as_posix()):
                    continue
                data = path.read_bytes()
                try:
                    data.decode()
                    found.append((path.relative_to(self.root).as_posix(), data))
                except UnicodeDecodeError:
                    skipped.append(path)
        if skipped:
            log.info("stdlib: left out %d files that are not valid UTF-8", len(skipped))
        return sorted(found)

    def digest(self) -> str:
        joined = hashlib.sha256()
        for name, data in self.files:
            joined.update(f"{name}\0{len(data)}\0".encode() + data)
        return joined.hexdigest()

    def documents(self) -> Iterator[Document]:
        return (Document.of(name, data) for name, data in self.files)


def is_table(name: str) -> bool:
    """Whether a file of the library, by its path in it, is a table.

    >>> [is_table(name) for name in ("encodings/cp437.py", "html/entities.py", "html/parser.py")]
    [True, True, False]
    """
    return bool({name, name.partition("/")[0]} & TABLES) or name.startswith("_sysconfigdata")


def find(name: str, keys: Keys) -> Source:
    """The standard library of the running Python; `keys.text` has no meaning here."""
    del name
    without_fields("data.source 'stdlib'", keys)
    shard = Library(Path(sysconfig.get_paths()["stdlib"]))
    if not shard.files:
        raise InputMissing(
            f"data.source 'stdlib' needs the library's .py files; found none in {shard.root}. "
            "This Python was installed without them: use another, or data.source=text:GLOB"
        )
    return Source(f"stdlib-{platform.python_version()}", [shard])
