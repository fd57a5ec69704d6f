"""Differences between the arrays of a checkpoint and those that a run expects."""

from collections.abc import Mapping
from typing import Any

MAX_ROWS = 20


def describe_differences(
    stored: Mapping[str, Any], expected: Mapping[str, Any], partial: bool = False
) -> str:
    """A table of differing paths, shapes and dtypes; "" if the arrays match.

    stored, expected: arrays or their shapes, by path. partial: allows stored arrays that are not
    expected.
    """
    both = sorted(stored.keys() & expected.keys())
    unexpected = [] if partial else sorted(stored.keys() - expected.keys())
    return _table(
        {
            "missing from the checkpoint": sorted(expected.keys() - stored.keys()),
            "unexpected in the checkpoint": unexpected,
            "shape": [
                f"{path}: stored {stored[path].shape}, expected {expected[path].shape}"
                for path in both
                if stored[path].shape != expected[path].shape
            ],
            "dtype": [
                f"{path}: stored {stored[path].dtype}, expected {expected[path].dtype}"
                for path in both
                if stored[path].dtype != expected[path].dtype
            ],
        }
    )


def _table(differences: Mapping[str, list[str]]) -> str:
    lines: list[str] = []
    for title, rows in differences.items():
        lines += [f"  {title} ({len(rows)})"] if rows else []
        lines += [f"    {row}" for row in rows[:MAX_ROWS]]
        lines += [f"    and {len(rows) - MAX_ROWS} more"] if len(rows) > MAX_ROWS else []
    return "\n".join(lines)
