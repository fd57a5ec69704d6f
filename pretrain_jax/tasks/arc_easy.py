"""ARC-Easy (Clark et al. 2018): the questions that simple methods answer."""

from pretrain_jax.tasks._arc import arc

TASK = arc()
