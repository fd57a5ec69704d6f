"""A factory is a module class with bound arguments. One module passes it to another, which calls it
to build the module.

Factories compare by value, so that two equal models share one compilation (functools.partial
compares by identity, which would compile again).
"""

from dataclasses import dataclass
from typing import Any

import flax.linen as nn


@dataclass(frozen=True)
class Factory:
    """A module class and sorted keyword arguments; call it inside a compact method.

    Arguments of the call override bound ones.
    """

    module: type[nn.Module]
    arguments: tuple[tuple[str, Any], ...]

    def __call__(self, **overrides: Any) -> Any:
        return self.module(**{**dict(self.arguments), **overrides})


def factory(module: type[nn.Module], **arguments: Any) -> Factory:
    """Binds arguments to a module class.

    >>> factory(nn.Dense, features=8) == factory(nn.Dense, features=8)
    True
    """
    return Factory(module, tuple(sorted(arguments.items())))
