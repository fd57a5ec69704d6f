"""What an adapter is."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pretrain_jax.layers.factories import Factory

Params = Mapping[str, Any]


@dataclass(frozen=True)
class Adapter:
    """What an adapter does to a model. Adapters compare by value."""

    change: Callable[[Factory], Factory] | None = None
    """change(factory) -> the factory to use in its place, for every factory of the model, except
    those of the objective's heads (_factories.py); None changes none."""
    own: frozenset[str] = frozenset()
    """Names of the parameters and modules that `change` adds, such as {"lora_in", "lora_out"}."""
    targets: tuple[str, ...] = ()
    """Names of linear maps that it adapts; the model must have all of them."""
    own_train: tuple[str, ...] = ()
    """Regular expressions of the parameters of the base that it trains by itself."""
    train: tuple[str, ...] = ()
    """adapter.train: those that train too."""
    merge: Callable[[Params], Params] | None = None
    """merge(parameters with the adapter's own) -> those of the base model that compute the same;
    None if there are none."""
    places: int = 0
    """Places that it adds at the beginning of each example (objectives/_places.py)."""
    in_memory: bool = False
    """Whether it adds them to the memory, where there is one, instead of the stream."""
    trains_all: bool = False
    """Whether every parameter trains: there is no adapter."""

    @property
    def can_merge(self) -> bool:
        """Whether a model without the adapter can compute the same."""
        return self.merge is not None or not self.own
