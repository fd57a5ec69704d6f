"""Muon's direction: a momentum made orthogonal, matrix by matrix.

Both published versions take the same direction and differ in its size (`VARIANTS`):

    buffer <- momentum x buffer + (1 - momentum) x gradient
    direction = Newton-Schulz(momentum x buffer + (1 - momentum) x gradient)

This is github.com/KellerJordan/Muon as of November 2025. github.com/MoonshotAI/Moonlight omits both
factors of 1 - momentum, which the norm inside Newton-Schulz would cancel. The moments have no
correction for their start at 0.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import optax
from optax.contrib import MuonState, scale_by_muon

from pretrain_jax.optim.trees import Tree

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
STEPS = 5
EPSILON = 1e-7
"""Added to the norm of a matrix."""
DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}


@dataclass(frozen=True)
class Variant:
    """A published version of Muon."""

    size: Callable[[int, int, float], float]
    """size(fan_in, fan_out, rms): the factor that scales an orthogonal direction."""
    adam_rate: float
    """The learning rate of AdamW's parameters, as a multiple of the matrices' rate."""


VARIANTS = {
    "moonlight": Variant(lambda fan_in, fan_out, rms: rms * math.sqrt(max(fan_in, fan_out)), 1.0),
    "jordan": Variant(
        lambda fan_in, fan_out, _: math.sqrt(max(1.0, fan_out / fan_in)), 3e-4 / 0.02
    ),
}


def scale_by_orthogonal_momentum(
    inputs: Callable[[Tree], Tree], momentum: float, dtype: Any, size: Callable[[int, int], float]
) -> optax.GradientTransformation:
    """The direction above times size(fan_in, fan_out), for a tree of matrices.

    inputs: inputs(tree) gives, for every leaf, the number of leading axes that are the input side:
        with 1, a query's [D, H, K] is the matrix [D, H K]; with 2, [H, K, D] is [H K, D].
    dtype: the dtype of the products in Newton-Schulz.
    size: size(fan_in, fan_out), the factor of the direction.
    """

    def one(moment: jax.Array, first: int) -> jax.Array:
        fan_in, fan_out = math.prod(moment.shape[:first]), math.prod(moment.shape[first:])
        matrix = orthogonal(moment.reshape(fan_in, fan_out), dtype)
        return size(fan_in, fan_out) * matrix.astype(moment.dtype).reshape(moment.shape)

    def update(updates: Tree, state: Tree, params: Tree = None) -> tuple[Tree, Tree]:
        del params
        mu = optax.tree.update_moment(updates, state.mu, momentum, 1)
        ahead = optax.tree.update_moment(updates, mu, momentum, 1)  # Nesterov's
        steps = jax.tree.map(one, ahead, inputs(ahead))
        return steps, MuonState(state.count + 1, mu, state.ns_coeffs)

    # The state is optax's, so that states written by optax's muon can be restored.
    return optax.GradientTransformation(scale_by_muon(COEFFICIENTS).init, update)


def orthogonal(matrix: jax.Array, dtype: Any = jnp.float32) -> jax.Array:
    """The matrix [I, O] with its singular values moved near 1: between about 0.7 and 1.2.

    Runs five steps of a quintic Newton-Schulz iteration, on the transpose of a tall matrix: the
    products are then [shorter side, shorter side].

    >>> values = jnp.linalg.svd(orthogonal(jnp.diag(jnp.array([4.0, 2.0, 0.5]))), compute_uv=False)
    >>> bool(values.min() > 0.6), bool(values.max() < 1.3)
    (True, True)
    """
    a, b, c = COEFFICIENTS
    tall = matrix.shape[0] > matrix.shape[1]
    x = (matrix.T if tall else matrix).astype(dtype)
    x = x / (jnp.linalg.norm(x) + EPSILON)
    for _ in range(STEPS):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T if tall else x
