"""Optimizers from optax; the names of OPTIMIZERS are the values of `optimizer.name`.

What an optimizer must know about a parameter, it knows from its name and from the logical names of
its axes; never from its rank: the bias of a query projection is a matrix in memory [H, K] and a
vector in fact.

Weight decay is decoupled everywhere and multiplied by the learning rate, as in PyTorch's AdamW.
"""

import itertools
import re
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.sharding import PartitionSpec

from pretrain_jax.errors import ConfigError
from pretrain_jax.optim import orthogonal
from pretrain_jax.optim.per_layer import per_layer
from pretrain_jax.optim.trees import Tree, name_of, named_leaves
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

    def inputs(self, params: Tree) -> Tree:
        """Of every matrix, how many of its first axes are its input side: 1 of [D, H, K], 2 of
        [H, K, D]; None for a parameter that is no matrix.

        A matrix maps between the model's hidden axes: [D, F], or [D, H, K] as D x (H K). Tables of
        vectors (tokens, positions, buckets), biases and gains are none, nor is what carries an
        axis not known here.
        """
        return self._map(lambda name, _: _inputs(self.axes[name]), params)

    def halves(self, params: Tree) -> Tree:
        """Muon's: "muon" for every matrix, "adam" for the rest."""
        half = lambda name, _: "adam" if _inputs(self.axes[name]) is None else "muon"  # noqa: E731
        return self._map(half, params)

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
    scaling: str = "moonlight",
    momentum: float = 0.95,
    newton_schulz: str = "float32",
    rms: float = 0.2,
    adam_rate: float = 0.0,
    b1: float = 0.9,
    b2: float = 0.95,
    eps: float = 1e-8,
    weight_decay: float = 0.1,
) -> optax.GradientTransformation:
    """Muon for the matrices inside the layers, AdamW (b1, b2, eps) for all other parameters.

    scaling: whose Muon. "moonlight" is that of Liu et al. 2025 (arXiv:2502.16982, section 2.2, and
        github.com/MoonshotAI/Moonlight): an orthogonal step x rms x sqrt(max(fan_in, fan_out)),
        so that one learning rate and one decay serve both halves. "jordan" is that of
        github.com/KellerJordan/Muon: x sqrt(max(1, fan_out / fan_in)), made for a learning rate
        of 0.02; `rms` is not read. Attention kernels [D, H, K] are matrices of D x (H K).
    newton_schulz: what the steps are orthogonalized in (`orthogonal.orthogonal`); both sources use
        "bfloat16", which is faster on accelerators and moves a step by about 1 %.
    adam_rate: the learning rate of AdamW's parameters, as a multiple of
        `optimizer.learning_rate`; 0 is the source's own, 1 for moonlight and 0.015 for jordan
        (3e-4 beside 0.02). Their decay is multiplied by it, too.
    """
    variant = pick(orthogonal.VARIANTS, scaling, "optimizer.scaling")
    direction = orthogonal.scale_by_orthogonal_momentum(
        about.inputs,
        momentum,
        pick(orthogonal.DTYPES, newton_schulz, "optimizer.newton_schulz"),
        lambda fan_in, fan_out: variant.size(fan_in, fan_out, rms),
    )
    rate = adam_rate or variant.adam_rate
    same = (
        optax.identity()
    )  # where optax's muon has parts: states that it wrote can be gone on from
    halves: dict[Hashable, optax.GradientTransformation] = {
        "muon": optax.chain(direction, same, same, same),
        "adam": optax.chain(optax.scale_by_adam(b1=b1, b2=b2, eps=eps), optax.scale(rate), same),
    }
    decays = lambda tree: jax.tree.map(  # noqa: E731
        lambda half: weight_decay * (rate if half == "adam" else 1.0), about.halves(tree)
    )
    both = optax.partition(halves, about.halves)
    return _decayed(both, schedule, about, decays if weight_decay else 0.0)


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
    weight_decay: float | Callable[[Tree], Tree],
) -> optax.GradientTransformation:
    """-learning rate x (direction + weight_decay x parameter).

    weight_decay: of all parameters, or a function of a tree that gives each its own.
    """
    parts = [direction, optax.scale_by_learning_rate(schedule)]
    if callable(weight_decay):
        parts.insert(1, optax.masked(_add_own_decays(weight_decay), about.decays))
    elif weight_decay:
        parts.insert(1, optax.add_decayed_weights(weight_decay, about.decays))
    return optax.chain(*parts)


def _add_own_decays(decays: Callable[[Tree], Tree]) -> optax.GradientTransformation:
    """optax.add_decayed_weights with a decay for each parameter."""

    def update(updates: Tree, state: Tree, params: Tree = None) -> tuple[Tree, Tree]:
        own = decays(updates)
        return jax.tree.map(lambda u, p, decay: u + decay * p, updates, params, own), state

    return optax.GradientTransformation(optax.identity().init, update)


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


def _inputs(axes: Axes) -> int | None:
    """("width", "heads", "head_width") -> 1; None for what is no matrix."""
    at = _heads_at(axes)
    sides = [1] * len(axes) if at is None else [*[1] * at, 2, *[1] * (len(axes) - at - 2)]
    hidden = {"width", "feed_forward", "heads", "head_width"}
    return sides[0] if len(sides) == 2 and hidden.issuperset(axes) else None


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
    for key in ("weight_decay", "eps", "rms", "adam_rate"):
        if key in own and own[key] < 0:
            raise ConfigError(f"optimizer.{key} must be 0 or more; received {own[key]}")
