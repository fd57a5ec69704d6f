"""Optimizers from optax; the names of OPTIMIZERS are the values of `optimizer.name`.

Weight decay is always decoupled and multiplied by the learning rate, as in PyTorch's AdamW.

Keys that mean the same in several optimizers, described here for the reference of config keys:

b1: decay of the average of gradients
b2: decay of the average of squared gradients
eps: constant in the denominator, against division by zero
weight_decay: decoupled weight decay, multiplied by the learning rate
momentum: decay of the momentum
bias_correction: whether the averages are corrected for starting at 0; False = the Adam that BERT
    was released with
decay_rate: exponent of the decay of second moments, 1 - step^-decay_rate
clip_threshold: largest root mean square of an update before it is scaled
nesterov: whether the momentum is Nesterov's
rms: root mean square of an update, for scaling="moonlight"
no_decay: regular expressions; parameters whose name matches one of them have no weight decay
layer_decay: for finetuning: the learning rate of each layer divided by that of the next higher one,
    as in ELECTRA (0.8 for base); heads and final norms have the full rate, embeddings the lowest.
    1 = one rate for all
rates: ((pattern, factor), ...): parameters whose name matches a regular expression have `factor` x
    their learning rate; the first match decides. Names have numbers of layers:
    "stack/layers_3/attention/query/kernel"
unfreeze: ((pattern, step), ...): parameters whose name matches (as in `rates`) do not change in the
    updates before update `step`, counted from 0; -1 = they never change
"""

from collections.abc import Callable, Hashable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from pretrain_jax.optim import orthogonal
from pretrain_jax.optim.parameters import ParameterInfo
from pretrain_jax.optim.per_layer import per_layer
from pretrain_jax.optim.rates import with_rates
from pretrain_jax.optim.trees import Tree
from pretrain_jax.registry import pick

NO_DECAY = ("bias$", "scale$")


def build_optimizer(
    name: str,
    schedule: optax.Schedule,
    axes: Tree,
    *,
    no_decay: tuple[str, ...] = NO_DECAY,
    layer_decay: float = 1.0,
    rates: tuple = (),
    unfreeze: tuple = (),
    **options: Any,
) -> optax.GradientTransformation:
    """Builds the named optimizer.

    axes      the logical axis names of every parameter, in the structure of the parameters (nested
              dicts, as Linen makes them). Leaves are tuples or PartitionSpecs: ("layers", "width",
              "heads", "head_width"). A first axis "layers" marks the parameter of a stack.
    no_decay  regular expressions (re.search): parameters whose '/'-joined name matches one of them
              have no weight decay
    options   the keyword-only options of the named optimizer

    Raises ConfigError for an unknown name or an invalid regular expression, and in `init` for one
    of `rates` or `unfreeze` that matches no parameter. With the defaults of `layer_decay`, `rates`
    and `unfreeze`, the optimizer is as if these keys did not exist.

    >>> params = {"bias": jnp.ones(1)}
    >>> tx = build_optimizer("sgd", lambda count: 0.5, {"bias": ("width",)})
    >>> updates, state = tx.update({"bias": jnp.ones(1)}, tx.init(params), params)
    >>> updates["bias"].tolist()
    [-0.5]
    """
    builder = pick(OPTIMIZERS, name, "optimizer.name")
    info = ParameterInfo.of(axes, no_decay)
    tx = per_layer(builder(schedule, info, **options), info.stacked)
    return with_rates(tx, info, layer_decay, rates, unfreeze)


def adamw(
    schedule: optax.Schedule,
    info: ParameterInfo,
    *,
    b1: float = 0.9,
    b2: float = 0.95,
    eps: float = 1e-8,
    weight_decay: float = 0.1,
    bias_correction: bool = True,
) -> optax.GradientTransformation:
    """AdamW (Loshchilov and Hutter 2019) with the defaults of GPT-3 (appendix B).

    BERT's released Adam is `bias_correction=False`, b2 0.999, eps 1e-6, weight_decay 0.01.
    """
    adam = optax.scale_by_adam if bias_correction else _scale_by_uncorrected_adam
    return _decayed(adam(b1=b1, b2=b2, eps=eps), schedule, info, weight_decay)


def adafactor(
    schedule: optax.Schedule,
    info: ParameterInfo,
    *,
    decay_rate: float = 0.8,
    clip_threshold: float = 1.0,
    eps: float = 1e-30,
    weight_decay: float = 0.0,
) -> optax.GradientTransformation:
    """Adafactor (Shazeer and Stern 2018) as T5 uses it: no momentum, steps relative to parameters.

    A step is scaled by max(rms of the parameter, 1e-3). Second moments are factored into rows and
    columns where both sides have at least 128 entries. Attention kernels [D, H, K] count as
    D x (H K), as T5 stores them; most of them would be too narrow otherwise.
    """
    direction = optax.adafactor(
        learning_rate=None, decay_rate=decay_rate, clipping_threshold=clip_threshold, eps=eps
    )
    return _decayed(
        optax.chain(_with_joined_heads(direction, info), optax.scale(-1.0)),
        schedule,
        info,
        weight_decay,
    )


def lamb(
    schedule: optax.Schedule,
    info: ParameterInfo,
    *,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-6,
    weight_decay: float = 0.01,
) -> optax.GradientTransformation:
    """LAMB (You et al. 2020): Adam's step times |parameter| / |step|.

    As in TensorFlow Addons, parameters without decay do not get this factor: biases start at 0,
    where the factor would hardly let them move.
    """
    return optax.chain(
        optax.scale_by_adam(b1=b1, b2=b2, eps=eps),
        optax.add_decayed_weights(weight_decay, info.decays),
        optax.masked(optax.scale_by_trust_ratio(), info.decays),
        optax.scale_by_learning_rate(schedule),
    )


def lion(
    schedule: optax.Schedule,
    info: ParameterInfo,
    *,
    b1: float = 0.9,
    b2: float = 0.99,
    weight_decay: float = 1.0,
) -> optax.GradientTransformation:
    """Lion (Chen et al. 2023): the sign of a momentum.

    It needs a learning rate 3 to 10 times below AdamW's and a decay as many times above (section 5
    of the paper), hence the default decay of 10 times AdamW's.
    """
    return _decayed(optax.scale_by_lion(b1=b1, b2=b2), schedule, info, weight_decay)


def muon(
    schedule: optax.Schedule,
    info: ParameterInfo,
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

    Attention kernels [D, H, K] are matrices of D x (H K).

    scaling: which published Muon. "moonlight" (Liu et al. 2025, arXiv:2502.16982, section 2.2, and
        github.com/MoonshotAI/Moonlight) multiplies the orthogonal step by rms x sqrt(max(fan_in,
        fan_out)), so that Muon's and AdamW's parameters can share one learning rate and one weight
        decay. "jordan" (github.com/KellerJordan/Muon) multiplies it by
        sqrt(max(1, fan_out / fan_in)), made for a learning rate of 0.02, and ignores `rms`.
    newton_schulz: the dtype in which steps are orthogonalized (`orthogonal.orthogonal`). Both
        sources use "bfloat16", which is faster on accelerators and changes a step by about 1 %.
    adam_rate: the learning rate of AdamW's parameters, as a multiple of
        `optimizer.learning_rate`. 0 = the value of the source: 1 for moonlight, 0.015 (3e-4 / 0.02)
        for jordan. The weight decay of these parameters is multiplied by the same number.
    """
    variant = pick(orthogonal.VARIANTS, scaling, "optimizer.scaling")
    direction = orthogonal.scale_by_orthogonal_momentum(
        info.inputs,
        momentum,
        pick(orthogonal.DTYPES, newton_schulz, "optimizer.newton_schulz"),
        lambda fan_in, fan_out: variant.size(fan_in, fan_out, rms),
    )
    rate = adam_rate or variant.adam_rate
    # Stands where optax's muon has other parts, so that the states it wrote can be restored.
    same = optax.identity()
    halves: dict[Hashable, optax.GradientTransformation] = {
        "muon": optax.chain(direction, same, same, same),
        "adam": optax.chain(optax.scale_by_adam(b1=b1, b2=b2, eps=eps), optax.scale(rate), same),
    }
    decays = lambda tree: jax.tree.map(  # noqa: E731
        lambda half: weight_decay * (rate if half == "adam" else 1.0), info.halves(tree)
    )
    both = optax.partition(halves, info.halves)
    return _decayed(both, schedule, info, decays if weight_decay else 0.0)


def sgd(
    schedule: optax.Schedule,
    info: ParameterInfo,
    *,
    momentum: float = 0.9,
    nesterov: bool = False,
    weight_decay: float = 0.0,
) -> optax.GradientTransformation:
    """Stochastic gradient descent: m <- momentum x m + g, without (1 - momentum), as in PyTorch."""
    return _decayed(optax.trace(momentum, nesterov), schedule, info, weight_decay)


OPTIMIZERS: dict[str, Callable[..., optax.GradientTransformation]] = {
    builder.__name__: builder for builder in (adamw, adafactor, lamb, lion, muon, sgd)
}


def _decayed(
    direction: optax.GradientTransformation,
    schedule: optax.Schedule,
    info: ParameterInfo,
    weight_decay: float | Callable[[Tree], Tree],
) -> optax.GradientTransformation:
    """-learning rate x (direction + weight_decay x parameter).

    weight_decay: one number for all parameters, or a function tree -> decay of each parameter.
    """
    parts = [direction, optax.scale_by_learning_rate(schedule)]
    if callable(weight_decay):
        parts.insert(1, optax.masked(_add_decays(weight_decay), info.decays))
    elif weight_decay:
        parts.insert(1, optax.add_decayed_weights(weight_decay, info.decays))
    return optax.chain(*parts)


def _add_decays(decays: Callable[[Tree], Tree]) -> optax.GradientTransformation:
    """optax.add_decayed_weights with a separate decay for each parameter."""

    def update(updates: Tree, state: Tree, params: Tree = None) -> tuple[Tree, Tree]:
        add = lambda u, p, decay: u + decay * p  # noqa: E731
        return jax.tree.map(add, updates, params, decays(updates)), state

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


def _with_joined_heads(
    tx: optax.GradientTransformation, info: ParameterInfo
) -> optax.GradientTransformation:
    """`tx` on parameters whose heads and head width are one axis."""

    def update(updates: Tree, state: Tree, params: Tree = None) -> tuple[Tree, Tree]:
        steps, state = tx.update(info.join_heads(updates), state, info.join_heads(params))
        return jax.tree.map(lambda s, u: s.reshape(u.shape), steps, updates), state

    return optax.GradientTransformation(lambda params: tx.init(info.join_heads(params)), update)
