"""Trees of parameters by name, and optimizer states shaped like them."""

from collections.abc import Callable, Container
from typing import Any

import jax
from flax.traverse_util import flatten_dict, unflatten_dict

Tree = Any


def named_leaves(tree: Tree, is_leaf: Callable[[Any], bool] | None = None) -> list[tuple[str, Any]]:
    """(name, leaf) pairs of all leaves, in the order of jax.tree.leaves."""
    leaves = jax.tree_util.tree_leaves_with_path(tree, is_leaf=is_leaf)
    return [(name_of(path), leaf) for path, leaf in leaves]


def name_of(path: Any) -> str:
    """The '/'-joined name of a key path."""
    return jax.tree_util.keystr(path, simple=True, separator="/")


def split_tree(tree: Tree, names: Container[str]) -> tuple[Tree, Tree]:
    """(the leaves with these names, the others) of a tree of dicts, each as a tree of dicts.

    >>> split_tree({"a": {"x": 1, "y": 2}, "b": 3}, {"a/x", "b"})
    ({'a': {'x': 1}, 'b': 3}, {'a': {'y': 2}})
    """
    chosen, others = {}, {}
    for path, leaf in flatten_dict(tree).items():
        part = chosen if "/".join(path) in names else others
        part[path] = leaf
    return unflatten_dict(chosen), unflatten_dict(others)


def join_trees(first: Tree, second: Tree) -> Tree:
    """One tree of dicts with the leaves of two that have none in common.

    >>> join_trees({"a": {"x": 1}, "b": 3}, {"a": {"y": 2}})
    {'a': {'x': 1, 'y': 2}, 'b': 3}
    """
    return unflatten_dict({**flatten_dict(first), **flatten_dict(second)}) if second else first


def like_params(state: Tree, params: Tree, values: Tree, default: Any) -> Tree:
    """A tree with the structure of the optimizer state `state` that holds `values`.

    `values` has the structure of `params`. A leaf of the state that has the shape of its parameter
    (a moment) gets the value of this parameter; every other leaf gets `default`. With shardings as
    values and "replicated" as the default, the result shards an optimizer state. Adafactor's rows
    and columns get the default: they are 1/D + 1/F of a [D, F] parameter, too small to shard.
    `state` and `params` may hold shapes (jax.eval_shape) instead of arrays.
    """
    structure = jax.tree.structure(params)
    shapes = {name: leaf.shape for name, leaf in named_leaves(params)}
    by_name = dict(zip(shapes, structure.flatten_up_to(values), strict=True))

    def value(path, leaf):
        owner = owning_parameter(name_of(path), by_name)
        return by_name[owner] if owner is not None and shapes[owner] == leaf.shape else default

    return jax.tree_util.tree_map_with_path(value, state)


def owning_parameter(name: str, params: Container[str]) -> str | None:
    """The parameter that a leaf of an optimizer state belongs to: the longest name in `params` that
    is the end of the leaf's name; None if no parameter matches.

    >>> owning_parameter("single/0/mu/head/bias", {"head/bias", "bias"})
    'head/bias'
    """
    parts = name.split("/")
    ends = ("/".join(parts[start:]) for start in range(len(parts)))
    return next((end for end in ends if end in params), None)
