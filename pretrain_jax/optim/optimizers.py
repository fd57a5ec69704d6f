"""Optimizers from optax; the names of OPTIMIZERS are the values of `optimizer.name`.

What an optimizer must know about a parameter, it knows from its name and from the logical names of
its axes; never from its rank: the bias of a query projection is a matrix in memory [H, K] and a
vector in fact.

Weight decay is decoupled everywhere and multiplied by the learning rate, as in PyTorch's AdamW.
"""

import itertools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.sharding import PartitionSpec
from optax.contrib import MuonDimensionNumbers
from optax.contrib import muon as optax_muon

from pretrain_jax.errors import ConfigError
from pretrain_jax.optim import Tree, name_of, named_leaves, per_layer
from pretrain_jax.registry import pick

Axes = tuple[Any, ...]

NO_DECAY = ("bias$", "scale$")


def build_optimizer(
    name: str,
    schedule: optax.Schedule,
    axes: Tree,
    *,
    no_decay: tuple[str, ...] = NO_DECAY,
    **own: Any,
) -> optax.GradientTransformation:
    """The named optimizer for parameters whose axes are called `axes`.

    `axes` has the structure of the parameters (nested dicts, as Linen makes them); its leaves are
    tuples of logical names, or PartitionSpecs of them: ("layers", "width", "heads", "head_width").
    A first axis called "layers" makes a parameter one of a stack. Parameters whose '/'-joined name
    matches one of the regular expressions `no_decay` (re.search) are not decayed. `own` are the
    keyword-only options of the named optimizer.

    >>> params = {"bias": jnp.ones(1)}
    >>> tx = build_optimizer("sgd", lambda count: 0.5, {"bias": ("width",)})
    >>> updates, state = tx.update({"bias": jnp.ones(1)}, tx.init(params), params)
    >>> updates["bias"].tolist()
    [-0.5]
    """
    builder = pick(OPTIMIZERS, name, "optimizer.name")
    _check_options(own)
    about = About.of(axes, no_decay)
    return per_layer(builder(schedule, about, **own), about.stacked)


@dataclass(frozen=True)
class About:
    """What the optimizers may ask about a parameter, by its name."""

    axes: Mapping[str, Axes]
    """Logical names of the axes of one layer."""
    stacked: set[str]
    no_decay: tuple[re.Pattern[str], ...]

    @classmethod
    def of(cls, axes: Tree, no_decay: tuple[str, ...]) -> "About":
        is_leaf = lambda node: isinstance(node, tuple | PartitionSpec)  # noqa: E731
        named = {name: tuple(leaf) for name, leaf in named_leaves(axes, is_leaf)}
        stacked = {name for name, leaf in named.items() if leaf[:1] == ("layers",)}
        layer = {name: leaf[1:] if name in stacked else leaf for name, leaf in named.items()}
        return cls(layer, stacked, tuple(_compile(pattern) for pattern in no_decay))

    def decays(self, params: Tree) -> Tree:
        """True for every parameter that is decayed."""
        return self._map(lambda name, _: not any(p.search(name) for p in self.no_decay), params)

    def matrices(self, params: Tree) -> Tree:
        """Muon's view of every parameter: its input and output axes, None where it is no matrix.

        A matrix maps between the model's hidden axes: [D, F], or [D, H, K] as D x (H K). Tables of
        vectors (tokens, positions, buckets), biases and gains are none, nor is what carries an
        axis not known here: those are left to Adam.
        """
        return self._map(lambda name, _: _matrix(self.axes[name]), params)

    def join_heads(self, params: Tree) -> Tree:
        """Every [..., H, K, ...] as [..., H x K, ...]."""

        def join(name: str, leaf: jax.Array) -> jax.Array:
            at = _heads_at(self.axes[name])
            if at is None:
                return leaf
            return leaf.reshape(*leaf.shape[:at], -1, *leaf.shape[at + 2 :])

        return self._map(join, params)

    @staticmethod
    def _map(f: Callable[[str, Any], Any], params: Tree) -> Tree:
        return jax.tree_util.tree_map_with_path(lambda path, leaf: f(name_of(path), leaf), params)


def adamw(
    schedule: optax.Schedule,
    about: About,
    *,
    b1: float = 0.9,
    b2: float = 0.95,
    eps: float = 1e-8,
    weight_decay: float = 0.1,
    bias_correction: bool = True,
) -> optax.GradientTransformation:
    """AdamW (Loshchilov and Hutter 2019) with GPT-3's numbers (appendix B).

    The Adam that BERT was released with is `bias_correction=False`, b2 0.999, eps 1e-6, decay 0.01.
    """
    adam = optax.scale_by_adam if bias_correction else _scale_by_uncorrected_adam
    return _decayed(adam(b1=b1, b2=b2, eps=eps), schedule, about, weight_decay)


def adafactor(
    schedule: optax.Schedule,
    about: About,
    *,
    decay_rate: float = 0.8,
    clip_threshold: float = 1.0,
    eps: float = 1e-30,
    weight_decay: float = 0.0,
) -> optax.GradientTransformation:
    """Adafactor (Shazeer and Stern 2018) as T5 used it: no momentum, steps relative to parameters.

    A step is scaled by max(rms of the parameter, 1e-3). Second moments are kept as rows and
    columns where both sides have 128 or more; attention kernels [D, H, K] are D x (H K), as they
    are stored in T5, or they would mostly be too narrow for that.
    """
    direction = optax.adafactor(
        learning_rate=None, decay_rate=decay_rate, clipping_threshold=clip_threshold, eps=eps
    )
    return _decayed(
        optax.chain(_joined(direction, about), optax.scale(-1.0)), schedule, about, weight_decay
    )


def lamb(
    schedule: optax.Schedule,
    about: About,
    *,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-6,
    weight_decay: float = 0.01,
) -> optax.GradientTransformation:
    """LAMB (You et al. 2020): Adam's step times |parameter| / |step|.

    What is not decayed does not get that factor either, as in TensorFlow Addons: biases start at
    0, and near it the factor would hardly let them move.
    """
    return optax.chain(
        optax.scale_by_adam(b1=b1, b2=b2, eps=eps),
        optax.add_decayed_weights(weight_decay, about.decays),
        optax.masked(optax.scale_by_trust_ratio(), about.decays),
        optax.scale_by_learning_rate(schedule),
    )


def lion(
    schedule: optax.Schedule,
    about: About,
    *,
    b1: float = 0.9,
    b2: float = 0.99,
    weight_decay: float = 1.0,
) -> optax.GradientTransformation:
    """Lion (Chen et al. 2023): the sign of a momentum.

    It wants a learning rate 3 to 10 times below AdamW's and a decay as many times above (their
    section 5), hence the default of 10 times AdamW's.
    """
    return _decayed(optax.scale_by_lion(b1=b1, b2=b2), schedule, about, weight_decay)


def muon(
    schedule: optax.Schedule,
    about: About,
    *,
    momentum: float = 0.95,
    b1: float = 0.9,
    b2: float = 0.95,
    eps: float = 1e-8,
    weight_decay: float = 0.1,
    rms: float = 0.2,
) -> optax.GradientTransformation:
    """Muon (Jordan et al. 2024) for the matrices inside the layers, Adam (b1, b2) for the rest.

    Orthogonal steps are scaled to a root mean square of `rms`, about that of Adam's, so that one
    learning rate and one decay serve both (Liu et al. 2025, section 2.2). Both halves have
    Nesterov momentum, as in optax.
    """
    direction = optax_muon(
        learning_rate=-1.0,  # the sign back to a direction; the schedule comes after the decay
        beta=momentum,
        eps=eps,
        adam_b1=b1,
        adam_b2=b2,
        muon_weight_dimension_numbers=about.matrices,
        consistent_rms=rms,
    )
    return _decayed(direction, schedule, about, weight_decay)


def sgd(
    schedule: optax.Schedule,
    about: About,
    *,
    momentum: float = 0.9,
    nesterov: bool = False,
    weight_decay: float = 0.0,
) -> optax.GradientTransformation:
    """Stochastic gradient descent; m <- momentum x m + g, without (1 - momentum), as in PyTorch."""
    return _decayed(optax.trace(momentum, nesterov), schedule, about, weight_decay)


OPTIMIZERS: dict[str, Callable[..., optax.GradientTransformation]] = {
    builder.__name__: builder for builder in (adamw, adafactor, lamb, lion, muon, sgd)
}


def _decayed(
    direction: optax.GradientTransformation,
    schedule: optax.Schedule,
    about: About,
    weight_decay: float,
) -> optax.GradientTransformation:
    """-learning rate x (direction + weight_decay x parameter)."""
    parts = [direction, optax.scale_by_learning_rate(schedule)]
    if weight_decay:
        parts.insert(1, optax.add_decayed_weights(weight_decay, about.decays))
    return optax.chain(*parts)


def _scale_by_uncorrected_adam(b1: float, b2: float, eps: float) -> optax.GradientTransformation:
    """optax.scale_by_adam without the division of the moments by 1 - b^n."""

    def update(updates: Tree, state: Tree, params: Tree = None) -> tuple[Tree, Tree]:
        del params
        mu = optax.tree.update_moment(updates, state.mu, b1, 1)
        nu = optax.tree.update_moment(updates, state.nu, b2, 2)
        steps = jax.tree.map(lambda m, v: m / (jnp.sqrt(v) + eps), mu, nu)
        return steps, optax.ScaleByAdamState(state.count + 1, mu, nu)

    return optax.GradientTransformation(optax.scale_by_adam().init, update)


def _joined(tx: optax.GradientTransformation, about: About) -> optax.GradientTransformation:
    """`tx`, which sees heads and head width as one axis."""

    def update(updates: Tree, state: Tree, params: Tree = None) -> tuple[Tree, Tree]:
        steps, state = tx.update(about.join_heads(updates), state, about.join_heads(params))
        return jax.tree.map(lambda s, u: s.reshape(u.shape), steps, updates), state

    return optax.GradientTransformation(lambda params: tx.init(about.join_heads(params)), update)


def _heads_at(axes: Axes) -> int | None:
    """Where "heads", "head_width" stand side by side."""
    pairs = list(itertools.pairwise(axes))
    pair = ("heads", "head_width")
    return pairs.index(pair) if pair in pairs else None


def _matrix(axes: Axes) -> MuonDimensionNumbers | None:
    """("width", "heads", "head_width") -> from axis 0 to axes 1 and 2."""
    at = _heads_at(axes)
    sides: list[tuple[int, ...]] = [(i,) for i in range(len(axes))]
    if at is not None:
        sides[at : at + 2] = [(at, at + 1)]
    hidden = {"width", "feed_forward", "heads", "head_width"}
    if len(sides) != 2 or not hidden.issuperset(axes):
        return None
    return MuonDimensionNumbers(reduction_axis=sides[0], output_axis=sides[1])


def _compile(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as error:
        raise ConfigError(
            f"optimizer.no_decay holds regular expressions on parameter names; received "
            f"{pattern!r}, which is none: {error}"
        ) from error


def _check_options(own: Mapping[str, Any]) -> None:
    for key in ("b1", "b2", "momentum"):
        if key in own and not 0 <= own[key] < 1:
            raise ConfigError(
                f"optimizer.{key} is a rate of decay, at least 0 and below 1; received {own[key]}"
            )
    for key in ("weight_decay", "eps"):
        if key in own and own[key] < 0:
            raise ConfigError(f"optimizer.{key} must be 0 or more; received {own[key]}")
