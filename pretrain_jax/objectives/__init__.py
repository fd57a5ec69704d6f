"""Pretraining objectives; every module of this folder is a name for `objective.name`.

A module offers `build(**options) -> Objective`. An objective is a vertical slice: its host half
(`corrupt`, numpy) makes an example into the fields of the contract, its device half (`loss`, jax)
makes fields into sums.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pretrain_jax import losses


@dataclass(frozen=True)
class Objective:
    """What the data path, the trainer and the checks at start-up need to know of an objective."""

    fields: tuple[str, ...]
    """Fields of the contract that `corrupt` writes."""
    attention: str
    """How the predicting stream may look at itself: "causal", "prefix" or "full"."""
    arrangement: str
    """How documents become raw examples: "chunks"."""
    raw_length: Callable[[int], int]
    """Raw tokens of an example that fills a row of `seq_len`."""
    overlap: int
    """Raw tokens that neighbouring chunks of one document share."""
    lengths: Callable[[Any], dict[str, Any]]
    """Upper bounds of axes "L", "M", "P", "E" for raw examples of n tokens; n may be an array."""
    corrupt: Callable[..., dict[str, Any]]
    """corrupt(example, rng, vocab) -> fields. Pure: 1-D int arrays in, 1-D arrays out."""
    yardsticks: tuple[str, ...]
    """Which baselines of data/yardsticks.py score the same tokens."""
    covers_text: bool = False
    """Whether every token of a document is predicted once an epoch: bits a byte are defined."""
    loss: Callable[..., dict[str, tuple[Any, Any]]] = losses.token_loss
    """loss(apply, params, batch, rng, train) -> {term: (sum, weight)}."""
    coefficients: Mapping[str, float] = field(default_factory=lambda: {"loss": 1.0})
    """The objective minimised is the sum over terms of coefficient x sum / weight."""
