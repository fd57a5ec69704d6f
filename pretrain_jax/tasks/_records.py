"""The files of a task: JSON lines."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pretrain_jax.errors import DataError, InputMissing, short_repr
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
        for number, line in enumerate(read_lines(file), start=1):
            if line.strip():
                place = f"{file} line {number}"
                values = parsing.parse_json_as(line, dict, place, FIX)
                check_text(json.dumps(values, ensure_ascii=False), place)
                yield Record(values, place, file.stem)
        if place is None:
            raise DataError(f"the file of a task must have items; {file} is empty; {FIX}")


def read_lines(file: Path) -> list[str]:
    """The lines of a file, without their ends. Raises DataError unless it is UTF-8."""
    return read_text(file).split("\n")


def read_text(file: Path) -> str:
    """The text of a file. Raises DataError unless it is UTF-8."""
    try:
        return parsing.read_bytes(file, FIX).decode().removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise DataError(f"{file} must be UTF-8; byte {error.start} is not; {FIX}") from None


def check_text(text: str, place: str) -> None:
    """Raises DataError for half of a surrogate pair, such as the JSON "\\ud83d", which no file of
    results could hold."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        half = f"U+{ord(text[error.start]):X}"
        raise DataError(
            f"{place} must be text; it has {half}, half of a character; {FIX}"
        ) from None


def check_index(value: Any, count: int, what: str, place: str) -> int:
    """`value` as an index below `count`; a bool or digits count as one. Raises DataError."""
    digits = isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) < 10
    number = int(value) if digits or isinstance(value, (bool, int)) else -1
    if not 0 <= number < count:
        raise DataError(
            f'"{what}" in {place} must be 0 .. {count - 1}, the number of a choice; received '
            f"{short_repr(value)}; {FIX}"
        )
    return number
