"""Reading JSON and arrays from disk.

A file may be truncated, of another type, or nested too deeply for Python's parser. All such errors
become one message with the name of the file. Nothing here loads a pickle.
"""

import json
from collections.abc import Mapping
from os import PathLike
from typing import Any, TypeVar

import numpy as np
from etils import epath

from pretrain_jax.errors import DataError, InputMissing

Wanted = TypeVar("Wanted")


def parse_json(data: bytes | str) -> Any:
    """The value of JSON in UTF-8. If a field occurs twice, the last one counts.

    Raises ValueError with a clause that fits after a semicolon.

    >>> parse_json(b'{"text": "a", "text": "b"}')
    {'text': 'b'}
    >>> parse_json("[" * 200_000)
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


def parse_json_as(data: bytes | str, wanted: type[Wanted], what: str, fix: str) -> Wanted:
    """The value of JSON, which must be of type `wanted`.

    what: the file, and possibly the line, for the message; fix: what to do about an error.

    Raises DataError.

    >>> parse_json_as("[1]", dict, "note.json", "create it again")
    Traceback (most recent call last):
    pretrain_jax.errors.DataError: note.json must hold a JSON object; it is a list; create it again
    """
    kind = {dict: "object", list: "list"}.get(wanted, wanted.__name__)
    try:
        parsed = parse_json(data)
        wrong = f"it is a {type(parsed).__name__}"
        if isinstance(parsed, wanted):
            return parsed
    except ValueError as error:
        wrong = str(error)
    raise DataError(f"{what} must hold a JSON {kind}; {wrong}; {fix}")


def read_json(
    path: str | PathLike[str], fix: str, keys: Mapping[str, type] | None = None
) -> dict[str, Any]:
    """The JSON object in a file, which must have these keys with values of these types.

    Raises InputMissing if the file does not exist, DataError if it cannot be used.
    """
    parsed = parse_json_as(read_bytes(path, fix), dict, str(path), fix)
    return check_keys(keys or {}, parsed, str(path), fix)


def read_bytes(path: str | PathLike[str], fix: str) -> bytes:
    """The content of a file. Raises InputMissing if it does not exist, DataError if it cannot be
    read."""
    try:
        return epath.Path(path).read_bytes()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise InputMissing(f"{path} must exist; {error.strerror}; {fix}") from error
    except OSError as error:
        raise DataError(f"{path} must be readable; {error.strerror or error}; {fix}") from error


def check_keys(
    keys: Mapping[str, type], values: dict[str, Any], what: str, fix: str
) -> dict[str, Any]:
    """Returns `values`; raises DataError unless it has these keys with values of these types."""
    for key, kind in keys.items():
        if not isinstance(values.get(key), kind) or isinstance(values[key], bool):
            received = f"a {type(values[key]).__name__}" if key in values else "missing"
            raise DataError(f'"{key}" in {what} must be a {kind.__name__}; it is {received}; {fix}')
    return values


def read_array(path: str | PathLike[str], dtype: Any, fix: str) -> np.ndarray:
    """The memory-mapped one-dimensional array of a .npy file.

    Raises InputMissing if the file does not exist, DataError if it has another content.
    """
    try:
        array = np.load(path, mmap_mode="r")
    except FileNotFoundError as error:
        raise InputMissing(f"{path} must exist; {error.strerror}; {fix}") from error
    # NumPy parses the header as Python; a damaged header may raise any exception of the parser.
    except Exception as error:
        raise DataError(f"{path} must be a .npy file; {error}; {fix}") from error
    if not isinstance(array, np.ndarray) or array.dtype != dtype or array.ndim != 1:
        shape = getattr(array, "shape", "an archive")
        raise DataError(
            f"{path} must hold a one-dimensional array of {np.dtype(dtype)}; it holds "
            f"{getattr(array, 'dtype', 'files')} {shape}; {fix}"
        )
    return array.view(np.ndarray)  # slicing a memmap is slow
