"""Whether a state may be kept: which of its arrays hold NaN or infinity, and what is to blame."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

MOST_NAMED = 5


def not_finite(state: Any) -> list[str]:
    """Paths of the arrays of a tree that are not finite, sorted; one pass over them on the devices.

    >>> not_finite({"params": {"a": jnp.ones(3), "b": jnp.array([1.0, jnp.inf])}})
    ['params/b']
    """
    leaves = jax.tree_util.tree_leaves_with_path(state)
    leaves = [(path, leaf) for path, leaf in leaves if jnp.issubdtype(leaf.dtype, jnp.inexact)]
    found = jax.device_get(_all_finite([leaf for _, leaf in leaves]))
    keystr = jax.tree_util.keystr
    named = zip(leaves, found, strict=True)
    return sorted(keystr(p, simple=True, separator="/") for (p, _), good in named if not good)


@jax.jit
def _all_finite(arrays: list[jax.Array]) -> list[jax.Array]:
    return [jnp.all(jnp.isfinite(array)) for array in arrays]


def named(paths: list[str]) -> str:
    """ "a, b, c, d, e and 15 more": for a message."""
    more = len(paths) - MOST_NAMED
    return ", ".join(paths[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def of_update(step: int, values: Mapping[str, float], state: Any) -> str:
    """What to say of an update whose numbers are not finite; it was not taken.

    values: its metrics; state: the state that was kept.
    """
    bad = [f"{name} {value}" for name, value in values.items() if not abs(value) < float("inf")]
    said = (
        f"loss, gradients and learning rate must be finite; update {step} had {', '.join(bad)}. It "
        "was not taken. "
    )
    if not abs(values["learning_rate"]) < float("inf"):
        return said + "Lower optimizer.learning_rate to a number that float32 can hold"
    if arrays := not_finite(state):
        return said + of_state(step - 1, arrays, values["learning_rate"])
    if step == 1:
        return said + (
            "No learning rate has acted before the first update: with its first parameters, or "
            "those of init_from, the model overflows; try train.dtype=float32"
        )
    return said + (
        f"The state before it is finite; its learning rate was {values['learning_rate']:.3g}. "
        "Lower optimizer.learning_rate, lengthen optimizer.warmup_steps, set train.z_loss=1e-4 or "
        "train.dtype=float32, and start again from the last checkpoint in a new --workdir"
    )


def of_state(step: int, arrays: list[str], learning_rate: float | None = None) -> str:
    """What to say of a state after `step` updates that holds such arrays."""
    rate = "" if learning_rate is None else f", at a learning rate of {learning_rate:.3g}"
    return (
        f"after {step} updates {len(arrays)} arrays of the state are not finite: {named(arrays)}. "
        f"Their update overflowed{rate}: where that is more than about 1, lower "
        "optimizer.learning_rate; otherwise look at what is named: an optimizer's moments overflow "
        "where gradients are huge (optimizer.clip_norm=1). Nothing of it was saved; start again "
        "from the last checkpoint in a new --workdir"
    )
