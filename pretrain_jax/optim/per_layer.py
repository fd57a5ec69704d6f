"""An optimizer that sees one layer of a stack at a time."""

from typing import Any

import jax
import optax
from flax.traverse_util import flatten_dict, unflatten_dict

from pretrain_jax.optim.trees import Tree, name_of, named_leaves, owning_parameter


def per_layer(tx: optax.GradientTransformation, stacked: set[str]) -> optax.GradientTransformation:
    """Applies `tx` to one layer at a time of the parameters named in `stacked`.

    Layers are vmapped; stacks of the same depth share one vmap. The state is {"single": state of
    the parameters outside all stacks, "layers_12": state of the stacks of 12 layers, ...}. In a
    stack's state, every leaf that belongs to a parameter has a leading layers axis; counts are
    shared by the layers.
    """

    def groups(tree: Tree) -> dict[str, Tree]:
        by_group: dict[str, dict[tuple[str, ...], Any]] = {}
        leaves: Any = flatten_dict(tree)
        for path, leaf in leaves.items():
            group = f"layers_{leaf.shape[0]}" if "/".join(path) in stacked else "single"
            by_group.setdefault(group, {})[path] = leaf
        return {group: unflatten_dict(part) for group, part in by_group.items()}

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
            raise ValueError("update needs params: weight decay and relative steps read them")
        parts = groups(params)
        done = {
            group: update_group(group, part, state[group], parts[group])
            for group, part in groups(updates).items()
        }
        steps = dict(pair for part, _ in done.values() for pair in named_leaves(part))
        in_order = jax.tree_util.tree_map_with_path(lambda path, _: steps[name_of(path)], updates)
        return in_order, {group: new for group, (_, new) in done.items()}

    return optax.GradientTransformation(init, update)


def _layer_axes(state: Tree, params: Tree) -> Tree:
    """vmap axes of an optimizer state: 0 for leaves that belong to a parameter, None for counts."""
    names = {name for name, _ in named_leaves(params)}
    return jax.tree_util.tree_map_with_path(
        lambda path, _: None if owning_parameter(name_of(path), names) is None else 0, state
    )
