"""ARC-Challenge (Clark et al. 2018): the questions that simple methods do not answer."""

from pretrain_jax.tasks._arc import arc

TASK = arc()
