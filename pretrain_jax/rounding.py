"""Integer division that rounds up."""

from typing import Any


def ceil_div(numerator: Any, denominator: Any) -> Any:
    """numerator / denominator, rounded up; ints or int arrays.

    >>> ceil_div(9, 4)
    3
    """
    return -(-numerator // denominator)


def round_up(number: Any, multiple: Any) -> Any:
    """The smallest multiple of `multiple` that is at least `number`; ints or int arrays.

    >>> round_up(9, 4)
    12
    """
    return ceil_div(number, multiple) * multiple
