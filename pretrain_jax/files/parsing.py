"""What was written to disk, read back: JSON and arrays.

A disk gives back anything: half a file, another type, JSON nested so deep that Python's reader
gives up. Whatever is wrong ends in one sentence that names the file. Nothing here loads a pickle.
"""

import json
from collections.abc import Mapping
from os import PathLike
from typing import Any, TypeVar

import numpy as np
from etils import epath

from pretrain_jax.errors import DataError, InputMissing

Wanted = TypeVar("Wanted")


def parse(data: bytes | str) -> Any:
    """The value that JSON in UTF-8 holds. Of two fields with one name the last is taken.

    Raises ValueError with a clause that fits behind a semicolon.

    >>> parse(b'{"text": "a", "text": "b"}')
    {'text': 'b'}
    >>> parse("[" * 200_000)
    Traceback (most recent call last):
    ValueError: it is nested too deeply, or too large
    """
    try:
        return json.loads(data.decode() if isinstance(data, bytes) else data)
    except UnicodeDecodeError as error:
        raise ValueError(f"byte {error.start} is not valid UTF-8") from None
    except (RecursionError, MemoryError):
        raise ValueError("it is nested too deeply, or too large") from None
    except ValueError as error:
        raise ValueError(f"it is not JSON: {error}") from None


def value(data: bytes | str, wanted: type[Wanted], what: str, fix: str) -> Wanted:
    """The value of that type that JSON holds.

    what: the file, and perhaps the line, for the message; fix: what to do about it.

    Raises DataError.

    >>> value("[1]", dict, "note.json", "make it anew")
    Traceback (most recent call last):
    pretrain_jax.errors.DataError: note.json must hold a JSON object; it is a list; make it anew
    """
    kind = {dict: "object", list: "list"}.get(wanted, wanted.__name__)
    try:
        found = parse(data)
        wrong = f"it is a {type(found).__name__}"
        if isinstance(found, wanted):
            return found
    except ValueError as error:
        wrong = str(error)
    raise DataError(f"{what} must hold a JSON {kind}; {wrong}; {fix}")


def read_json(
    path: str | PathLike[str], fix: str, keys: Mapping[str, type] | None = None
) -> dict[str, Any]:
    """The JSON object in a file, which has at least these keys with values of these types.

    Raises InputMissing where there is no such file, DataError where it cannot be used.
    """
    try:
        data = epath.Path(path).read_bytes()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise InputMissing(f"{path} must be there; {error.strerror}; {fix}") from error
    except OSError as error:
        raise DataError(f"{path} must be readable; {error.strerror or error}; {fix}") from error
    return having(keys or {}, value(data, dict, str(path), fix), str(path), fix)


def having(keys: Mapping[str, type], found: dict[str, Any], what: str, fix: str) -> dict[str, Any]:
    """`found`, which has at least these keys with values of these types, or else DataError."""
    for key, kind in keys.items():
        if not isinstance(found.get(key), kind) or isinstance(found[key], bool):
            said = f"a {type(found[key]).__name__}" if key in found else "not there"
            raise DataError(f'"{key}" in {what} must be a {kind.__name__}; it is {said}; {fix}')
    return found


def read_array(path: str | PathLike[str], dtype: Any, fix: str) -> np.ndarray:
    """The one-dimensional array of a .npy file, memory-mapped.

    Raises InputMissing where there is no such file, DataError where it holds something else.
    """
    try:
        found = np.load(path, mmap_mode="r")
    except FileNotFoundError as error:
        raise InputMissing(f"{path} must be there; {error.strerror}; {fix}") from error
    # A header is read as Python: a damaged one may raise whatever the parser raises.
    except Exception as error:
        raise DataError(f"{path} must be a .npy file; {error}; {fix}") from error
    if not isinstance(found, np.ndarray) or found.dtype != dtype or found.ndim != 1:
        shape = getattr(found, "shape", "an archive")
        raise DataError(
            f"{path} must hold one row of {np.dtype(dtype)}; it holds "
            f"{getattr(found, 'dtype', 'files')} {shape}; {fix}"
        )
    return found.view(np.ndarray)  # slices of a memmap are slow to make
