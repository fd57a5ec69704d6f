"""Pretraining objectives: every module without a leading "_" is a value of `objective.name`.

Such a module defines `build(**options) -> Objective`; its keyword-only options are the keys of the
config section `objective`. An objective has two halves: the host half (`corrupt`, numpy) turns raw
examples into fields of the batch contract (batch.py), the device half (`loss`, `metrics`, jax)
turns fields into sums. Modules with a leading "_" hold code that several objectives share.
"""

from pretrain_jax.objectives._base import Objective as Objective
