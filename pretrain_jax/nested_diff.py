"""Differences between two nested dicts, such as two configs, by dotted key."""

import json
from collections.abc import Mapping
from typing import Any

ABSENT = "(absent)"


def diff(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """{dotted key: (value before, value after)} of all keys whose values differ, as JSON.

    Values are compared as JSON: a tuple equals a list and 1 equals 1.0. Floats must be equal to
    the last bit. A missing value is ABSENT.

    >>> diff({"train": {"steps": 10}, "seed": 0}, {"train": {"steps": 20}, "seed": 0.0})
    {'train.steps': ('10', '20')}
    """
    one, other = flatten(before), flatten(after)
    pairs = {
        key: (one.get(key, ABSENT), other.get(key, ABSENT))
        for key in sorted(one.keys() | other.keys())
    }
    return {key: pair for key, pair in pairs.items() if not _same(*pair)}


def flatten(nested: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """The values of nested dicts as JSON, by dotted key.

    >>> flatten({"train": {"steps": 10}})
    {'train.steps': '10'}
    """
    flat: dict[str, str] = {}
    for key, value in nested.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = json.dumps(value, sort_keys=True)
    return flat


def _same(one: str, other: str) -> bool:
    if one == other:
        return True
    # 1 and 1.0 are the same number; true and 1 are not, although bool is an int in Python.
    values = [json.loads(text) if text != ABSENT else None for text in (one, other)]
    numbers = all(type(value) in (int, float) for value in values)
    return numbers and values[0] == values[1]
