"""Muon against both published versions, written again in numpy from their code.

Jordan: github.com/KellerJordan/Muon, SingleDeviceMuonWithAuxAdam. Moonlight:
github.com/MoonshotAI/Moonlight, examples/toy_train.py. PyTorch's matrices are [out, in].
"""

from typing import Any

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import optax
import pytest

from pretrain_jax.errors import ConfigError
from pretrain_jax.optim.optimizers import build_optimizer

make: Any = build_optimizer

UPDATES = 20
DEPTH = 3
AXES = {
    "tokens": ("vocabulary", "width"),
    "layers": {
        "query": ("layers", "width", "heads", "head_width"),
        "out": ("layers", "heads", "head_width", "width"),
        "up": ("layers", "width", "feed_forward"),
        "down": ("layers", "feed_forward", "width"),
        "bias": ("layers", "heads", "head_width"),
        "scale": ("layers", "width"),
    },
}
SHAPES = {"width": 12, "heads": 2, "head_width": 4, "feed_forward": 32, "vocabulary": 40}
INPUTS = {"query": 1, "out": 2, "up": 1, "down": 1}
"""Input axes of the matrices of one layer."""


def draw(seed: int, of: int = 1) -> Any:
    """One array per parameter; gradients differ and shrink from step to step."""
    rng = np.random.default_rng(seed)
    is_names = lambda node: isinstance(node, tuple)  # noqa: E731
    sizes = {**SHAPES, "layers": DEPTH}
    return jax.tree.map(
        lambda names: (rng.normal(size=[sizes[n] for n in names]) / of).astype(np.float32),
        AXES,
        is_leaf=is_names,
    )


def ours(**options) -> Any:
    params = draw(0)
    tx = make("muon", lambda count: 0.02 / (count + 1), AXES, **options)
    state, update = tx.init(params), jax.jit(tx.update)
    for n in range(1, UPDATES + 1):
        updates, state = update(draw(n, n), state, params)
        params = optax.apply_updates(params, updates)
    return params


# --- the references: [out, in] matrices and vectors, one at a time -----------------------------


def zeropower(g: np.ndarray, dtype: Any = np.float64) -> np.ndarray:
    x = g.astype(dtype)
    if g.shape[0] > g.shape[1]:
        x = x.T
    x = (x / dtype(np.linalg.norm(x.astype(np.float64)) + 1e-7)).astype(dtype)
    for _ in range(5):
        a = (x @ x.T).astype(dtype)
        b = (dtype(-4.7750) * a + ((dtype(2.0315) * a) @ a).astype(dtype)).astype(dtype)
        x = (dtype(3.4445) * x + (b @ x).astype(dtype)).astype(dtype)
    return (x.T if g.shape[0] > g.shape[1] else x).astype(np.float64)


def jordan(p, grads, decay, dtype=np.float64):
    buffer = np.zeros_like(p)
    for n, g in enumerate(grads):
        lr = 0.02 / (n + 1)
        buffer = buffer + 0.05 * (g - buffer)
        update = g + 0.95 * (buffer - g)
        update = zeropower(update, dtype) * max(1, g.shape[0] / g.shape[1]) ** 0.5
        p = p * (1 - lr * decay) - lr * update
    return p


def moonlight(p, grads, decay, dtype=np.float64):
    buffer = np.zeros_like(p)
    for n, g in enumerate(grads):
        lr = 0.02 / (n + 1)
        buffer = 0.95 * buffer + g
        update = zeropower(g + 0.95 * buffer, dtype)
        p = p * (1 - lr * decay) - lr * 0.2 * max(p.shape) ** 0.5 * update
    return p


def adam(p, grads, decay, rate):
    m, v = np.zeros_like(p), np.zeros_like(p)
    for n, g in enumerate(grads):
        lr = rate * 0.02 / (n + 1)
        m, v = m + 0.1 * (g - m), v + 0.05 * (g**2 - v)
        step = (m / (1 - 0.9 ** (n + 1))) / (np.sqrt(v / (1 - 0.95 ** (n + 1))) + 1e-8)
        p = p * (1 - lr * decay) - lr * step
    return p


def theirs(rule, rate, decay, **dtype) -> Any:
    """All parameters by a reference, layer by layer."""
    trees = [draw(0), *(draw(n, n) for n in range(1, UPDATES + 1))]
    table = [tree["tokens"].astype(np.float64) for tree in trees]
    found: Any = {"tokens": adam(table[0], table[1:], decay, rate), "layers": {}}
    for name in AXES["layers"]:
        stacks = [tree["layers"][name].astype(np.float64) for tree in trees]
        layers = []
        for k in range(DEPTH):
            one = [stack[k] for stack in stacks]
            if name in INPUTS:
                rows = int(np.prod(one[0].shape[: INPUTS[name]]))
                flat = [x.reshape(rows, -1).T for x in one]
                layers.append(rule(flat[0], flat[1:], decay, **dtype).T.reshape(one[0].shape))
            else:
                layers.append(adam(one[0], one[1:], 0.0, rate))  # biases and gains: no decay
        found["layers"][name] = np.stack(layers)
    return found


def distance(a, b) -> float:
    """The largest |a - b| / |b| of a leaf."""
    apart = jax.tree.map(lambda x, y: float(np.linalg.norm(x - y) / np.linalg.norm(y)), a, b)
    return max(jax.tree.leaves(apart))


REFERENCES = {"moonlight": (moonlight, 1.0), "jordan": (jordan, 0.015)}


@pytest.mark.parametrize("decay", [0.0, 0.1])
@pytest.mark.parametrize("scaling", REFERENCES)
def test_twenty_updates_are_those_of_the_published_code(scaling, decay):
    got = ours(scaling=scaling, weight_decay=decay)
    rule, rate = REFERENCES[scaling]
    assert distance(got, theirs(rule, rate, decay)) < 5e-6
    other = "jordan" if scaling == "moonlight" else "moonlight"
    assert distance(got, theirs(REFERENCES[other][0], rate, decay)) > 1e-3


def test_the_default_is_moonlights():
    assert distance(ours(), theirs(moonlight, 1.0, 0.1)) < 5e-6


def test_the_rate_of_the_other_parameters_can_be_set():
    got = ours(adam_rate=0.25)
    assert distance(got, theirs(moonlight, 0.25, 0.1)) < 5e-6


def test_in_bfloat16_as_the_references_are():
    got = ours(newton_schulz="bfloat16")
    rounded = theirs(moonlight, 1.0, 0.1, dtype=ml_dtypes.bfloat16)
    assert distance(got, rounded) < 5e-3
    assert distance(got, ours()) > 5e-5  # not equal by chance
    assert jax.tree.all(jax.tree.map(lambda x: x.dtype == jnp.float32, got))


@pytest.mark.parametrize(
    ("options", "key"),
    [
        ({"scaling": "keller"}, "optimizer.scaling"),
        ({"newton_schulz": "float16"}, "optimizer.newton_schulz"),
    ],
)
def test_mistakes_are_named(options, key):
    with pytest.raises(ConfigError, match=key):
        make("muon", lambda count: 0.02, AXES, **options)


def test_a_state_of_optaxs_muon_can_be_restored():
    params = {"kernel": jnp.ones((4, 6)), "bias": jnp.ones(6)}
    axes = {"kernel": ("width", "feed_forward"), "bias": ("feed_forward",)}
    of_optax = optax.contrib.muon(1.0).init(params)
    own = make("muon", lambda count: 0.02, axes).init(params)["single"][0]
    assert jax.tree.structure(own) == jax.tree.structure(of_optax)
    jax.tree.map(np.testing.assert_array_equal, own, of_optax)
