"""Makers: how one part is told which other part to build inside it.

A maker is a module class with keyword arguments bound, compared by value, so that two equal
models are one compilation (functools.partial compares by identity and would compile again).
"""

from dataclasses import dataclass
from typing import Any

import flax.linen as nn


@dataclass(frozen=True)
class Maker:
    """A module class and sorted keyword arguments; call it inside a compact method.

    Arguments of the call win over bound ones.
    """

    module: type[nn.Module]
    arguments: tuple[tuple[str, Any], ...]

    def __call__(self, **more: Any) -> Any:
        return self.module(**{**dict(self.arguments), **more})


def maker(module: type[nn.Module], **arguments: Any) -> Maker:
    """Binds arguments to a module class.

    >>> maker(nn.Dense, features=8) == maker(nn.Dense, features=8)
    True
    """
    return Maker(module, tuple(sorted(arguments.items())))
