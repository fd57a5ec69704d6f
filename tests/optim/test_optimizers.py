"""One step of each optimizer against its formula, and how build_optimizer uses names."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from pretrain_jax.composition import config
from pretrain_jax.errors import ConfigError
from pretrain_jax.optim.optimizers import NO_DECAY, OPTIMIZERS, build_optimizer
from pretrain_jax.registry import options

make: Any = build_optimizer  # whose trees optax types more narrowly than tests index them

RATE = 0.01
AXES = {
    "tokens": ("vocabulary", "width"),
    "head": {"kernel": ("width", "feed_forward"), "bias": ("feed_forward",)},
    "norm": {"scale": ("width",)},
}
SHAPES = {"tokens": (7, 4), "head": {"kernel": (4, 6), "bias": (6,)}, "norm": {"scale": (4,)}}


def draw(seed, shapes: Any = SHAPES) -> Any:
    rng = np.random.default_rng(seed)
    is_shape = lambda node: isinstance(node, tuple)  # noqa: E731
    return jax.tree.map(
        lambda shape: rng.normal(size=shape).astype(np.float32), shapes, is_leaf=is_shape
    )


def run(name, steps=3, params: Any = None, axes=AXES, **own) -> tuple[Any, Any]:
    """Parameters after some updates, and the gradients of these updates."""
    params = draw(0) if params is None else params
    tx = make(name, lambda count: RATE, axes, **own)
    state = tx.init(params)
    grads = [draw(seed + 1) for seed in range(steps)]
    for grad in grads:
        updates, state = jax.jit(tx.update)(grad, state, params)
        params = optax.apply_updates(params, updates)
    return params, grads


def expected(rule, grads, decay):
    """rule(gradients so far) -> direction, for every parameter; only matrices are decayed."""
    params = draw(0)
    for n in range(1, len(grads) + 1):
        directions = jax.tree.map(lambda *g: rule(g), *grads[:n])
        params = jax.tree.map(
            lambda p, d: p - RATE * (d + (decay * p if p.ndim == 2 else 0)), params, directions
        )
    return params


def assert_close(got, want, rtol=2e-5):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=rtol, atol=1e-6), got, want)


def average(values, b):
    """Exponential average from 0."""
    total = 0.0
    for value in values:
        total = b * total + (1 - b) * value
    return total


@pytest.mark.parametrize("corrected", [True, False])
def test_adamw(corrected):
    got, grads = run("adamw", bias_correction=corrected)

    def rule(g):
        m, v = average(g, 0.9), average([x**2 for x in g], 0.95)
        if corrected:
            m, v = m / (1 - 0.9 ** len(g)), v / (1 - 0.95 ** len(g))
        return m / (np.sqrt(v) + 1e-8)

    assert_close(got, expected(rule, grads, decay=0.1))


@pytest.mark.parametrize("nesterov", [True, False])
def test_sgd(nesterov):
    got, grads = run("sgd", momentum=0.8, nesterov=nesterov, weight_decay=0.05)

    def rule(g):
        m = sum(x * 0.8**age for age, x in enumerate(reversed(g)))
        return g[-1] + 0.8 * m if nesterov else m

    assert_close(got, expected(rule, grads, decay=0.05))


def test_lion():
    got, grads = run("lion")

    def rule(g):
        return np.sign(0.9 * average(g[:-1], 0.99) + 0.1 * g[-1])

    assert_close(got, expected(rule, grads, decay=1.0))


def test_lamb_scales_decayed_parameters_alone():
    got, (grad,) = run("lamb", steps=1)
    start = draw(0)
    adam = jax.tree.map(lambda g: g / (np.abs(g) + 1e-6), grad)
    kernel, step = start["head"]["kernel"], adam["head"]["kernel"]
    step = step + 0.01 * kernel
    ratio = np.linalg.norm(kernel) / np.linalg.norm(step)
    np.testing.assert_allclose(got["head"]["kernel"], kernel - RATE * ratio * step, rtol=1e-4)
    bias = start["head"]["bias"] - RATE * adam["head"]["bias"]
    np.testing.assert_allclose(got["head"]["bias"], bias, rtol=1e-4)


def test_adafactor_steps_by_the_size_of_the_parameter():
    """Below 128 nothing is factored: the first step is sign(g) x max(rms(p), 1e-3)."""
    params = draw(0)
    params["head"]["bias"] = np.zeros(6, np.float32)
    got, (grad,) = run("adafactor", steps=1, params=params)
    kernel = params["head"]["kernel"]
    step = np.sign(grad["head"]["kernel"]) * np.sqrt(np.mean(kernel**2))
    np.testing.assert_allclose(got["head"]["kernel"], kernel - RATE * step, rtol=1e-5)
    bias = -RATE * 1e-3 * np.sign(grad["head"]["bias"])
    np.testing.assert_allclose(got["head"]["bias"], bias, rtol=1e-5)


def test_adafactor_joins_heads_before_factoring():
    axes = {"query": ("width", "heads", "head_width"), "out": ("heads", "head_width", "width")}
    params = {"query": jnp.ones((128, 2, 64)), "out": jnp.ones((2, 64, 256))}
    state = make("adafactor", lambda count: RATE, axes).init(params)
    factored = optax.tree.get(state, "v_row"), optax.tree.get(state, "v_col")
    assert jax.tree.map(jnp.shape, factored) == (
        {"query": (128,), "out": (128,)},
        {"query": (128,), "out": (256,)},
    )


def test_muon_makes_orthogonal_steps_of_the_promised_size():
    axes = {"query": ("width", "heads", "head_width"), "out": ("heads", "head_width", "width")}
    params = {"query": jnp.zeros((32, 2, 8)), "out": jnp.zeros((2, 8, 32))}
    grads = draw(1, {"query": (32, 2, 8), "out": (2, 8, 32)})
    tx = make("muon", lambda count: 1.0, axes, weight_decay=0.0)
    updates, _ = tx.update(grads, tx.init(params), params)
    for flat in (updates["query"].reshape(32, 16), updates["out"].reshape(16, 32)):
        values = np.linalg.svd(flat, compute_uv=False) / (0.2 * np.sqrt(32))
        assert values.min() > 0.5  # Newton-Schulz: between 0.5 and 1.5
        assert values.max() < 1.5
    # Against the gradient: <update, gradient> is near minus the sum of its singular values.
    nuclear = np.linalg.svd(grads["query"].reshape(32, 16), compute_uv=False).sum()
    inner = float(jnp.vdot(updates["query"], grads["query"])) / (0.2 * np.sqrt(32))
    assert inner < -0.5 * nuclear


def test_muon_leaves_tables_vectors_and_unknown_axes_to_adam():
    axes = {
        "tokens": ("vocabulary", "width"),
        "table": ("buckets", "heads"),
        "bias": ("heads", "head_width"),
        "odd": ("somewhere", "width"),
        "kernel": ("width", "width"),
    }
    params = {name: jnp.ones((4, 4)) for name in axes}
    state = make("muon", lambda count: RATE, axes).init(params)
    halves = state["single"][0].inner_states
    held = {half: set(_names(optax.tree.get(halves[half], "mu"))) for half in halves}
    assert held == {"muon": {"kernel"}, "adam": {"tokens", "table", "bias", "odd"}}


def _names(tree):
    paths = [path for path, _ in jax.tree_util.tree_leaves_with_path(tree)]
    return [jax.tree_util.keystr(path, simple=True) for path in paths]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_decay_shrinks_the_parameters_that_no_decay_does_not_match(name):
    """With zero gradients, only the decay changes parameters."""
    params = draw(0)
    zeros = jax.tree.map(jnp.zeros_like, params)
    tx = make(name, lambda count: RATE, AXES, no_decay=("^head/", *NO_DECAY), weight_decay=0.5)
    updates, _ = tx.update(zeros, tx.init(params), params)
    moved = jax.tree.map(lambda u: bool(np.any(u != 0)), updates)
    assert moved == {
        "tokens": True,
        "head": {"kernel": False, "bias": False},
        "norm": {"scale": False},
    }
    if name != "lamb":  # whose step has the size of the parameter
        np.testing.assert_allclose(updates["tokens"], -RATE * 0.5 * params["tokens"], rtol=1e-6)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_same_updates_every_time(name):
    first, second = run(name)[0], run(name)[0]
    jax.tree.map(np.testing.assert_array_equal, first, second)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_update_n_uses_the_schedule_at_n_minus_1(name):
    """A schedule that is 0 at its first two counts holds the parameters still for two updates."""
    params = draw(0)
    tx = make(name, lambda count: jnp.where(count < 2, 0.0, RATE), AXES)
    state, moved = tx.init(params), []
    for seed in range(3):
        updates, state = tx.update(draw(seed + 1), state, params)
        moved.append(bool(optax.tree.norm(updates) > 0))
    assert moved == [False, False, True]


@pytest.mark.parametrize("builder", OPTIMIZERS.values())
def test_every_option_has_a_type_and_a_default(builder):
    own = options(builder)
    assert "weight_decay" in own
    for option in own.values():
        assert isinstance(option.default, option.type)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "adam"}, "optimizer.name must be one of .*did you mean adamw"),
        ({"no_decay": ("bias(",)}, r"optimizer.no_decay must hold regular expressions.*'bias\('"),
    ],
)
def test_mistakes_are_named(changes, message):
    with pytest.raises(ConfigError, match=message):
        make(**{"name": "adamw", "schedule": lambda n: RATE, "axes": AXES, **changes})


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [
        ("adamw", "b1", "1.0"),
        ("adamw", "weight_decay", "-0.1"),
        ("adamw", "learning_rate", "-1e-3"),
        ("adamw", "warmup_steps", "-1"),
        ("adamw", "warmup_steps", "0.5"),
        ("adamw", "final", "1.5"),
        ("adamw", "clip_norm", "-1"),
        ("muon", "adam_rate", "-1"),
        ("sgd", "momentum", "1"),
    ],
)
def test_a_config_with_a_number_out_of_range_is_refused(name, key, value):
    """By composition/ranges.py and the type of the option, so that no builder checks again."""
    with pytest.raises(ConfigError, match=rf"optimizer\.{key} must be"):
        config.read("configs/gpt2_nano.py", [("optimizer.name", name), (f"optimizer.{key}", value)])
