"""Finds NaN and infinity in a state, and explains the likely cause."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from pretrain_jax.errors import list_names
from pretrain_jax.optim.trees import named_leaves


def non_finite_arrays(state: Any) -> list[str]:
    """Paths of the arrays of a tree that contain NaN or infinity, sorted; one pass on the devices.

    >>> non_finite_arrays({"params": {"a": jnp.ones(3), "b": jnp.array([1.0, jnp.inf])}})
    ['params/b']
    """
    leaves = [pair for pair in named_leaves(state) if jnp.issubdtype(pair[1].dtype, jnp.inexact)]
    are_finite = jax.device_get(_all_finite([leaf for _, leaf in leaves]))
    return sorted(name for (name, _), finite in zip(leaves, are_finite, strict=True) if not finite)


@jax.jit
def _all_finite(arrays: list[jax.Array]) -> list[jax.Array]:
    return [jnp.all(jnp.isfinite(array)) for array in arrays]


def explain_update(step: int, values: Mapping[str, float], state: Any) -> str:
    """The error message for a rejected update whose metrics are not finite.

    values: metrics of the update; state: the state before it, which is kept.
    """
    bad = [f"{name} {value}" for name, value in values.items() if not abs(value) < float("inf")]
    message = (
        f"loss, gradients and learning rate must be finite; update {step} had {', '.join(bad)}. It "
        "was not applied. "
    )
    if not abs(values["learning_rate"]) < float("inf"):
        return message + "Lower optimizer.learning_rate to a number that float32 can represent"
    if arrays := non_finite_arrays(state):
        return message + explain_state(step - 1, arrays, values["learning_rate"])
    if step == 1:
        return message + (
            "No learning rate was applied before the first update, so the model overflows with its "
            "initial parameters, or those of init_from. Try train.dtype=float32"
        )
    return message + (
        f"The state before it is finite; the learning rate was {values['learning_rate']:.3g}. "
        "Lower optimizer.learning_rate, lengthen optimizer.warmup_steps, set train.z_loss=1e-4 or "
        "train.dtype=float32, and start again from the last checkpoint in a new --workdir"
    )


def explain_state(step: int, arrays: list[str], learning_rate: float | None = None) -> str:
    """The error message for a state after `step` updates with these non-finite arrays."""
    rate = "" if learning_rate is None else f", at a learning rate of {learning_rate:.3g}"
    return (
        f"after {step} updates {len(arrays)} arrays of the state are not finite: "
        f"{list_names(arrays)}. Their update overflowed{rate}. If the rate is more than about 1, "
        "lower optimizer.learning_rate. Otherwise check these arrays: moments of an optimizer "
        "overflow if gradients are huge (try optimizer.clip_norm=1). The state was not saved; "
        "start again from the last checkpoint in a new --workdir"
    )
