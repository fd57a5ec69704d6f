"""Pretraining objectives; every module of this folder is a name for `objective.name`.

A module offers `build(**options) -> Objective`. An objective is a vertical slice: its host half
(`corrupt`, numpy) makes raw examples into the fields of the contract, its device half (`loss`,
`metrics`, jax) makes fields into sums.
"""

from pretrain_jax.objectives._base import Objective as Objective
