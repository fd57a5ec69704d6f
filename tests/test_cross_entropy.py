"""Cross entropy from logits: the same numbers in one pass over them as in two."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from pretrain_jax.cross_entropy import cross_entropy, in_one_pass, in_two_passes

ROWS, VOCABULARY = 6, 640
RNG = np.random.default_rng(0)
TARGETS = jnp.asarray(RNG.integers(VOCABULARY // 2, size=ROWS))
DRAWN = np.float32(3 * RNG.normal(size=(ROWS, VOCABULARY)))
LOGITS = {
    "drawn": DRAWN,
    "padded": np.where(np.arange(VOCABULARY) < 600, DRAWN, -np.inf),
    "padding first": np.where(np.arange(VOCABULARY) < 90, -np.inf, DRAWN),
    "all equal": np.zeros_like(DRAWN),
    "a thousand above": DRAWN + 1000,
    "a thousand apart": np.where(np.arange(VOCABULARY) % 7 == 3, DRAWN + 1000, DRAWN),
    "only one": np.where(np.arange(VOCABULARY) == 333, DRAWN, -np.inf),
}


def same(found, expected):
    names = ("exponentials", "top", "sum", "target")
    for name, one, other in zip(names, found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-6, atol=1e-30, err_msg=name)


@pytest.mark.parametrize("name", LOGITS)
def test_one_pass_equals_two(name):
    logits = jnp.asarray(LOGITS[name], jnp.float32)
    targets = jnp.full_like(TARGETS, 333) if name == "only one" else TARGETS
    targets = targets + 100 if name == "padding first" else targets
    same(jax.jit(in_one_pass)(logits, targets), in_two_passes(logits, targets))


def test_one_pass_over_a_vocabulary_that_eight_devices_share():
    mesh = jax.make_mesh((8,), ("all",), axis_types=(jax.sharding.AxisType.Auto,))
    sharding = NamedSharding(mesh, PartitionSpec(None, "all"))
    logits = jnp.asarray(LOGITS["padded"], jnp.float32)
    found = jax.jit(in_one_pass, in_shardings=(sharding, None))(logits, TARGETS)
    same(found, in_two_passes(logits, TARGETS))


def test_gpus_use_one_pass():
    """Maximum, sum and target are three reductions on CPUs and TPUs, one on GPUs."""
    traced = jax.jit(cross_entropy).trace(jnp.asarray(DRAWN), TARGETS)
    counts = {
        platform: traced.lower(lowering_platforms=(platform,)).as_text().count("stablehlo.reduce(")
        for platform in ("cpu", "cuda", "tpu")
    }
    assert counts == {"cpu": 3, "cuda": 1, "tpu": 3}


@pytest.mark.parametrize("name", ["drawn", "padded", "a thousand above"])
def test_the_gradient_is_probability_minus_one_hot(name):
    logits, weights = jnp.asarray(LOGITS[name], jnp.float32), RNG.normal(size=(2, ROWS))

    def total(logits):
        nll, log_z = cross_entropy(logits, TARGETS)
        return jnp.sum(nll * weights[0] + log_z * weights[1])

    probability = jax.nn.softmax(np.float64(logits))
    expected = weights.sum(0)[:, None] * probability
    expected = expected - weights[0][:, None] * np.eye(VOCABULARY)[TARGETS]
    np.testing.assert_allclose(jax.grad(total)(logits), expected, rtol=0, atol=1e-6)
