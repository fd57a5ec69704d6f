"""Learning rates of single parameters, for finetuning: by depth, by name, frozen at first.

Three keys of every optimizer, `layer_decay`, `rates` and `unfreeze`, multiply its updates, weight
decay included. They change neither gradients nor the optimizer's state: the gradient norm and
clipping include frozen parameters, and so do the moments, which are updated as without these keys.
A frozen parameter therefore costs as much time and memory as any other. The metric `learning_rate`
is that of the schedule, the rate of a parameter whose factor is 1.

**Depth.** With `layer_decay`, the rate of a parameter is the schedule's x layer_decay^(L + 2 -
depth), as in google-research/electra (model/optimization.py, `_get_layer_lrs`), for a stack of L
layers:

    depth 0      everything before the layers: embedding/ with its norm, ELECTRA's map from the
                 width of the tables to that of a stack (input/), tables of relative positions. A
                 tied read-out is the table of tokens
    depth i + 1  layer i, counted from 0, of its own stack: an encoder-decoder has two
    depth L + 2  everything else: heads, token read-outs, final norms

With a layer_decay of 0.5 and 3 layers, heads have the rate of the schedule, layers 2, 1 and 0 have
1/4, 1/8 and 1/16 of it, and embeddings 1/32: nothing has depth L + 1, as in the released code.
If stacks differ in depth, depth 0 counts the layers of the deepest.

**Names.** `rates` and `unfreeze` search '/'-joined names (re.search), in which each layer of a
stack has its own name: "stack/layers_3/attention/query/kernel". Keep the slash after a number,
since "layers_1" is also a part of "layers_12". The first pattern that matches a name decides.

    rates=(("^classify/", 10.0),)                    a new head: ten times the rate
    unfreeze=(("^embedding/|layers_[0-2]/", 200),)   the lowest layers: frozen for 200 updates
    unfreeze=(("^classify/", 0), ("", -1))           trains the head alone

ULMFiT (Howard and Ruder 2018, section 3.3) unfreezes one layer after the other, the last one first.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from pretrain_jax.errors import ConfigError, short_repr
from pretrain_jax.optim.parameters import Axes, ParameterInfo, compile_pattern
from pretrain_jax.optim.trees import Tree, name_of, named_leaves
from pretrain_jax.registry import Range

BEFORE_LAYERS = re.compile("^embedding/|(^|/)input/")


@dataclass(frozen=True)
class Kind:
    """A config key that gives parameters numbers by name."""

    key: str
    number: str
    """What a number is called."""
    types: tuple[type, ...]
    allowed: Range
    default: float
    """The number of parameters that no pattern matches."""
    fix: str
    """How to write the key, for messages."""


RATES = Kind(
    key="optimizer.rates",
    number="factor",
    types=(int, float),
    allowed=Range(0, open="least"),
    default=1.0,
    fix='Write (("^classify/", 10.0),), or use optimizer.unfreeze to freeze parameters',
)
UNFREEZE = Kind(
    key="optimizer.unfreeze",
    number="step",
    types=(int,),
    allowed=Range(0, 2**31 - 1, special=-1),
    default=0,
    fix='Write (("^embedding/", 200),); -1 freezes for the whole run',
)


@dataclass(frozen=True)
class Rules:
    """Numbers of parameters, by name: that of the first pattern that matches."""

    kind: Kind
    pairs: tuple[tuple[re.Pattern[str], float], ...]

    @classmethod
    def of(cls, kind: Kind, entries: Sequence[Any]) -> "Rules":
        """Rules from ((pattern, number), ...). Raises ConfigError for anything else."""
        if not all(_is_pair(entry, kind) for entry in entries):
            raise ConfigError(
                f"{kind.key} must be a list of (pattern, {kind.number}), each {kind.number} "
                f"{kind.allowed}; received {short_repr(entries)}. {kind.fix}"
            )
        return cls(kind, tuple((compile_pattern(text, kind.key), n) for text, n in entries))

    def check(self, names: Sequence[str]) -> None:
        """Raises ConfigError unless every pattern is the first to match one of these names."""
        used = {self._first_match(name) for name in names}
        for at, (pattern, _) in enumerate(self.pairs):
            if at not in used:
                one_per_part = {name.partition("/")[0]: name for name in reversed(names)}
                raise ConfigError(
                    f"every pattern of {self.kind.key} must match a parameter that no earlier one "
                    f"matches; received {short_repr(pattern.pattern)}, which matches none, among "
                    f"names such as {', '.join(sorted(one_per_part.values()))}"
                )

    def numbers(self, params: Tree, info: ParameterInfo) -> Tree:
        """The number of each parameter: [layers, 1, ...] in a stack, a scalar elsewhere."""

        def number(name: str) -> float:
            at = self._first_match(name)
            return self.kind.default if at is None else self.pairs[at][1]

        def leaf_numbers(path: Any, leaf: Any) -> np.ndarray:
            name = name_of(path)
            values = [number(each) for each in layer_names(name, leaf, info.stacked)]
            return _broadcastable(values, leaf) if name in info.stacked else np.asarray(values[0])

        return jax.tree_util.tree_map_with_path(leaf_numbers, params)

    def _first_match(self, name: str) -> int | None:
        return next((at for at, (p, _) in enumerate(self.pairs) if p.search(name)), None)


def with_rates(
    tx: optax.GradientTransformation,
    info: ParameterInfo,
    layer_decay: float,
    rates: Sequence[Any],
    unfreeze: Sequence[Any],
) -> optax.GradientTransformation:
    """`tx` with the rates that the docstring of this module describes; its state is that of `tx`.

    tx: an optimizer that multiplies by the rate of a schedule, which counts the past updates.

    Raises ConfigError for malformed rules, and in `init` for a pattern without a parameter.
    """
    factor_rules, step_rules = Rules.of(RATES, rates), Rules.of(UNFREEZE, unfreeze)
    if layer_decay == 1 and not rates and not unfreeze:
        return tx

    def init(params: Tree) -> Tree:
        leaves = named_leaves(params)
        names = [each for leaf in leaves for each in layer_names(*leaf, info.stacked)]
        factor_rules.check(names)
        step_rules.check(names)
        return tx.init(params)

    def update(updates: Tree, state: Tree, params: Tree | None = None) -> tuple[Tree, Tree]:
        updates, new_state = tx.update(updates, state, params)
        by_depth = depth_factors(updates, info, layer_decay)
        by_name = factor_rules.numbers(updates, info)
        scale = lambda u, depth, name: u * (depth * name).astype(u.dtype)  # noqa: E731
        updates = jax.tree.map(scale, updates, by_depth, by_name)
        if unfreeze:
            steps, count = step_rules.numbers(updates, info), past_updates(state)
            updates = jax.tree.map(lambda u, step: _freeze(u, step, count), updates, steps)
        return updates, new_state

    return optax.GradientTransformation(init, update)


def depth_factors(params: Tree, info: ParameterInfo, layer_decay: float) -> Tree:
    """layer_decay^(L + 2 - depth) of each parameter: float64 [layers, 1, ...] in a stack, a scalar
    elsewhere. `params` may hold shapes.

    >>> info = ParameterInfo.of({"embedding": {"tokens": ("vocabulary", "width")},
    ...                          "layers": {"up": ("layers", "width")}}, ())
    >>> params = {"embedding": {"tokens": np.ones((7, 4))}, "layers": {"up": np.ones((2, 4))}}
    >>> depth_factors(params, info, 0.5)["layers"]["up"].tolist()
    [[0.125], [0.25]]
    >>> float(depth_factors(params, info, 0.5)["embedding"]["tokens"])
    0.0625
    """
    leaves = named_leaves(params)
    deepest = max((leaf.shape[0] for name, leaf in leaves if name in info.stacked), default=0)

    def factor(path: Any, leaf: Any) -> np.ndarray:
        name = name_of(path)
        if name in info.stacked:
            depth = 1 + np.arange(leaf.shape[0])
            return _broadcastable(layer_decay ** (leaf.shape[0] + 2 - depth), leaf)
        exponent = deepest + 2 if is_before_layers(name, info.axes[name]) else 0
        return np.asarray(layer_decay**exponent)

    return jax.tree_util.tree_map_with_path(factor, params)


def is_before_layers(name: str, axes: Axes) -> bool:
    """Whether a parameter outside the layers comes before them.

    >>> is_before_layers("encoder_buckets/table", ("buckets", "heads"))
    True
    >>> is_before_layers("output/table", ("vocabulary", "width"))
    False
    """
    return bool(BEFORE_LAYERS.search(name)) or "buckets" in axes


def layer_names(name: str, leaf: Any, stacked: set[str]) -> list[str]:
    """The names of a parameter's layers, as `layers.stacks.separate` spells them; its own name
    outside stacks.

    >>> layer_names("stack/layers/up/kernel", np.ones((2, 4, 8)), {"stack/layers/up/kernel"})
    ['stack/layers_0/up/kernel', 'stack/layers_1/up/kernel']
    """
    if name not in stacked:
        return [name]
    rooted = f"/{name}"
    return [rooted.replace("/layers/", f"/layers_{n}/", 1)[1:] for n in range(leaf.shape[0])]


def past_updates(state: Tree) -> jax.Array:
    """The count of past updates, int32 scalar, that an optimizer's schedule keeps in its state."""
    is_count = lambda node: isinstance(node, optax.ScaleByScheduleState)  # noqa: E731
    return next(node.count for node in jax.tree.leaves(state, is_leaf=is_count) if is_count(node))


def _is_pair(entry: Any, kind: Kind) -> bool:
    if not isinstance(entry, tuple | list) or len(entry) != 2:
        return False
    pattern, number = entry
    is_number = isinstance(number, kind.types) and not isinstance(number, bool)
    return isinstance(pattern, str) and is_number and kind.allowed.contains(number)


def _broadcastable(values: Any, leaf: Any) -> np.ndarray:
    """Values of layers, [layers], as [layers, 1, ...] with the rank of a stacked parameter."""
    return np.reshape(values, (-1, *(1,) * (leaf.ndim - 1)))


def _freeze(update: jax.Array, step: np.ndarray, count: jax.Array) -> jax.Array:
    """The update in layers whose `step` has come, and elsewhere one that changes no bit."""
    trains = (step >= 0) & (count >= step)
    # Not 0.0: a parameter of -0.0 would become 0.0.
    return jnp.where(trains, update, -0.0)
