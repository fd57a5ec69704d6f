"""Schedules and optimizers over optax, and what holds for every optimizer.

The parameters of a stack of layers are stored with a leading layers axis, but LAMB, Adafactor and
Muon look at a parameter as a whole (its norm, its rows, its singular values). So **an optimizer
sees one layer at a time** (`per_layer`), and takes the step it would take if every layer were
stored by itself. Clipping by the global norm belongs to the whole tree and stays outside
(`clip_by_norm`). An optimizer's state is a plain tree that is sharded like the parameters
(`like_params`).

Parameters are nested dicts, as Linen makes them, and go by their '/'-joined names:
"layers/attention/out/bias".
"""

from collections.abc import Callable, Container
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax.traverse_util import flatten_dict, unflatten_dict

from pretrain_jax.errors import ConfigError

Tree = Any


def per_layer(tx: optax.GradientTransformation, stacked: set[str]) -> optax.GradientTransformation:
    """`tx`, given the layers of the parameters called `stacked` one at a time.

    Layers are vmapped, stacks of the same depth together. The state is {"single": state of the
    parameters that are in no stack, "layers_12": state of the stacks of 12, ...}; in the latter
    every leaf that stands for a parameter has a leading layers axis, and counts are shared.
    """

    def groups(tree: Tree) -> dict[str, Tree]:
        found: dict[str, dict[tuple[str, ...], Any]] = {}
        leaves: Any = flatten_dict(tree)
        for path, leaf in leaves.items():
            group = f"layers_{leaf.shape[0]}" if "/".join(path) in stacked else "single"
            found.setdefault(group, {})[path] = leaf
        return {group: unflatten_dict(part) for group, part in found.items()}

    def init_group(group: str, params: Tree) -> Tree:
        if group == "single":
            return tx.init(params)
        layer = jax.tree.map(lambda p: jax.ShapeDtypeStruct(p.shape[1:], p.dtype), params)
        axes = _layer_axes(jax.eval_shape(tx.init, layer), layer)
        return jax.vmap(tx.init, out_axes=axes)(params)

    def update_group(group: str, grads: Tree, state: Tree, params: Tree) -> tuple[Tree, Tree]:
        if group == "single":
            return tx.update(grads, state, params)
        axes = _layer_axes(state, grads)
        mapped = jax.vmap(tx.update, in_axes=(0, axes, 0), out_axes=(0, axes))
        return mapped(grads, state, params)

    def init(params: Tree) -> Tree:
        return {group: init_group(group, part) for group, part in groups(params).items()}

    def update(updates: Tree, state: Tree, params: Tree | None = None) -> tuple[Tree, Tree]:
        if params is None:
            raise ValueError("per_layer's update needs params: decay and relative steps read them")
        parts = groups(params)
        done = {
            group: update_group(group, part, state[group], parts[group])
            for group, part in groups(updates).items()
        }
        steps = dict(pair for part, _ in done.values() for pair in named_leaves(part))
        in_order = jax.tree_util.tree_map_with_path(lambda path, _: steps[name_of(path)], updates)
        return in_order, {group: new for group, (_, new) in done.items()}

    return optax.GradientTransformation(init, update)


def clip_by_norm(grads: Tree, norm: jax.Array, max_norm: float) -> Tree:
    """`grads` scaled down to a global norm of `max_norm` where `norm`, theirs, is larger.

    The caller has the norm already, for its metrics. A `max_norm` of 0 means no clipping.
    Gradients with a global norm of 4 are multiplied by 0.25 under a `max_norm` of 1.
    """
    if max_norm < 0:
        raise ConfigError(
            f"optimizer.clip_norm must be 0 (no clipping) or more; received {max_norm}"
        )
    if max_norm == 0:
        return grads
    factor = jnp.where(norm > max_norm, max_norm / norm, 1.0)
    return jax.tree.map(lambda g: g * factor.astype(g.dtype), grads)


def like_params(state: Tree, params: Tree, values: Tree, default: Any) -> Tree:
    """A tree like the optimizer state `state`, with the value of the parameter a leaf stands for.

    A leaf of the state that has its parameter's shape (a moment) gets that parameter's leaf of
    `values`, of the structure of `params`; every other leaf gets `default`. With shardings as
    values and "replicated" as default this shards an optimizer. Adafactor's rows and columns get
    the default: they are 1/D + 1/F of a [D, F] parameter, not worth splitting.
    `state` and `params` may hold shapes (jax.eval_shape) instead of arrays.
    """
    structure = jax.tree.structure(params)
    shapes = {name: leaf.shape for name, leaf in named_leaves(params)}
    by_name = dict(zip(shapes, structure.flatten_up_to(values), strict=True))

    def value(path, leaf):
        owner = _owner(name_of(path), by_name)
        return by_name[owner] if owner is not None and shapes[owner] == leaf.shape else default

    return jax.tree_util.tree_map_with_path(value, state)


def _layer_axes(state: Tree, params: Tree) -> Tree:
    """vmap's axes of an optimizer state: 0 for what belongs to a parameter, None for counts."""
    names = {name for name, _ in named_leaves(params)}
    return jax.tree_util.tree_map_with_path(
        lambda path, _: None if _owner(name_of(path), names) is None else 0, state
    )


def _owner(name: str, params: Container[str]) -> str | None:
    """The parameter that a leaf of the state stands for: the longest one that ends its name.

    >>> _owner("single/0/mu/head/bias", {"head/bias", "bias"})
    'head/bias'
    """
    parts = name.split("/")
    ends = ("/".join(parts[start:]) for start in range(len(parts)))
    return next((end for end in ends if end in params), None)


def named_leaves(tree: Tree, is_leaf: Callable[[Any], bool] | None = None) -> list[tuple[str, Any]]:
    """(name, leaf) of every leaf, in the order of jax.tree.leaves."""
    leaves = jax.tree_util.tree_leaves_with_path(tree, is_leaf=is_leaf)
    return [(name_of(path), leaf) for path, leaf in leaves]


def name_of(path: Any) -> str:
    """The '/'-joined name of a key path."""
    return jax.tree_util.keystr(path, simple=True, separator="/")
