"""What optimizers know about a parameter: its name and the logical names of its axes.

Its rank says nothing: the bias of a query projection is stored as a matrix [H, K] but acts as a
vector.
"""

import itertools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
from jax.sharding import PartitionSpec

from pretrain_jax.errors import ConfigError, short_repr
from pretrain_jax.optim.trees import Tree, name_of, named_leaves

Axes = tuple[Any, ...]


@dataclass(frozen=True)
class ParameterInfo:
    """Everything that optimizers may know about parameters, by parameter name."""

    axes: Mapping[str, Axes]
    """Logical axis names, without the layers axis."""
    stacked: set[str]
    """Parameters that have a layers axis."""
    no_decay: tuple[re.Pattern[str], ...]

    @classmethod
    def of(cls, axes: Tree, no_decay: tuple[str, ...]) -> "ParameterInfo":
        is_leaf = lambda node: isinstance(node, tuple | PartitionSpec)  # noqa: E731
        named = {name: tuple(leaf) for name, leaf in named_leaves(axes, is_leaf)}
        stacked = {name for name, leaf in named.items() if leaf[:1] == ("layers",)}
        layer = {name: leaf[1:] if name in stacked else leaf for name, leaf in named.items()}
        return cls(
            layer, stacked, tuple(compile_pattern(text, "optimizer.no_decay") for text in no_decay)
        )

    def decays(self, params: Tree) -> Tree:
        """A tree of bools: true for every parameter that is decayed."""
        return self._map(lambda name, _: not any(p.search(name) for p in self.no_decay), params)

    def inputs(self, params: Tree) -> Tree:
        """For every matrix, the number of leading axes that are its input side: 1 for [D, H, K], 2
        for [H, K, D]. None for every other parameter.

        A matrix maps between the model's hidden axes: [D, F], or [D, H, K] as D x (H K). Tables of
        vectors (tokens, positions, buckets), biases, gains and parameters with any other axis are
        not matrices.
        """
        return self._map(lambda name, _: _input_axes(self.axes[name]), params)

    def halves(self, params: Tree) -> Tree:
        """Muon's partition: "muon" for every matrix, "adam" for all other parameters."""
        is_matrix = lambda name: _input_axes(self.axes[name]) is not None  # noqa: E731
        half = lambda name, _: "muon" if is_matrix(name) else "adam"  # noqa: E731
        return self._map(half, params)

    def join_heads(self, params: Tree) -> Tree:
        """Every parameter [..., H, K, ...] reshaped to [..., H x K, ...]."""

        def join(name: str, leaf: jax.Array) -> jax.Array:
            at = _heads_at(self.axes[name])
            if at is None:
                return leaf
            return leaf.reshape(*leaf.shape[:at], -1, *leaf.shape[at + 2 :])

        return self._map(join, params)

    @staticmethod
    def _map(f: Callable[[str, Any], Any], params: Tree) -> Tree:
        return jax.tree_util.tree_map_with_path(lambda path, leaf: f(name_of(path), leaf), params)


def _heads_at(axes: Axes) -> int | None:
    """The index of "heads" where "head_width" follows it; None elsewhere."""
    pairs = list(itertools.pairwise(axes))
    pair = ("heads", "head_width")
    return pairs.index(pair) if pair in pairs else None


def _input_axes(axes: Axes) -> int | None:
    """("width", "heads", "head_width") -> 1; None for parameters that are not matrices."""
    at = _heads_at(axes)
    sides = [1] * len(axes) if at is None else [*[1] * at, 2, *[1] * (len(axes) - at - 2)]
    hidden = {"width", "feed_forward", "heads", "head_width"}
    return sides[0] if len(sides) == 2 and hidden.issuperset(axes) else None


def compile_pattern(pattern: str, key: str) -> re.Pattern[str]:
    """Compiles a regular expression of the config key `key`. Raises ConfigError if it is invalid.

    >>> compile_pattern("bias$", "optimizer.no_decay").search("output/bias").group()
    'bias'
    """
    try:
        return re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise ConfigError(
            f"{key} must hold regular expressions that match parameter names; received "
            f"{short_repr(pattern)}, which is not valid: {error}"
        ) from error
