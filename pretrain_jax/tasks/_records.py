"""The files of a task: JSON lines."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pretrain_jax.errors import DataError, InputMissing
from pretrain_jax.files import parsing

SHOTS = "shots.jsonl"
"""The file of a task's folder that has the solved examples of prompts; without it, they are other
items of the same file."""
FIX = "docs/reference/tasks.md lists the formats"


class Record(NamedTuple):
    """One line of a file."""

    values: dict[str, Any]
    place: str
    """"arc.jsonl line 3", for messages."""
    file: str
    """"arc": the name of the file without its ending."""

    def take(self, keys: Mapping[str, type]) -> dict[str, Any]:
        """The values, which must have these keys with values of these types. Raises DataError."""
        return parsing.check_keys(keys, self.values, self.place, FIX)


def find_files(path: Path, ending: str = ".jsonl") -> list[Path]:
    """A file, or the files of a folder with this ending, without the one of shots.

    Raises InputMissing without one.
    """
    if path.is_file():
        return [path]
    files = sorted(file for file in path.glob(f"*{ending}") if file.name != SHOTS)
    if not files:
        raise InputMissing(
            f"the data of a task must be a file, or a folder with {ending} files; {path} "
            f"{'has none' if path.is_dir() else 'does not exist'}; {FIX}"
        )
    return files


def read_records(path: Path) -> Iterator[Record]:
    """The records of a file or a folder. Raises DataError for a file without one."""
    for file in find_files(path):
        place = None
        text = parsing.read_bytes(file, FIX).decode("utf-8", "replace").removeprefix("\ufeff")
        for number, line in enumerate(text.split("\n"), start=1):
            if line.strip():
                place = f"{file} line {number}"
                yield Record(parsing.parse_json_as(line, dict, place, FIX), place, file.stem)
        if place is None:
            raise DataError(f"the file of a task must have items; {file} is empty; {FIX}")


def check_index(value: Any, count: int, what: str, place: str) -> int:
    """`value` as an index below `count`; a bool or digits count as one. Raises DataError."""
    number = int(value) if isinstance(value, (bool, int)) or str(value).isdigit() else -1
    if not 0 <= number < count:
        raise DataError(
            f'"{what}" in {place} must be 0 .. {count - 1}, the number of a choice; received '
            f"{value!r}; {FIX}"
        )
    return number
