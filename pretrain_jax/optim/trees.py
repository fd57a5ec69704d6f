"""Trees of parameters by name, and optimizer states beside them."""

from collections.abc import Callable, Container
from typing import Any

import jax

Tree = Any


def named_leaves(tree: Tree, is_leaf: Callable[[Any], bool] | None = None) -> list[tuple[str, Any]]:
    """(name, leaf) of every leaf, in the order of jax.tree.leaves."""
    leaves = jax.tree_util.tree_leaves_with_path(tree, is_leaf=is_leaf)
    return [(name_of(path), leaf) for path, leaf in leaves]


def name_of(path: Any) -> str:
    """The '/'-joined name of a key path."""
    return jax.tree_util.keystr(path, simple=True, separator="/")


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


def _owner(name: str, params: Container[str]) -> str | None:
    """The parameter that a leaf of the state stands for: the longest one that ends its name.

    >>> _owner("single/0/mu/head/bias", {"head/bias", "bias"})
    'head/bias'
    """
    parts = name.split("/")
    ends = ("/".join(parts[start:]) for start in range(len(parts)))
    return next((end for end in ends if end in params), None)
