"""The CPU form of attention is the plain one: values, gradients, exact zeros."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pretrain_jax.layers import attention, attention_cpu
from pretrain_jax.layers.masks import Mask


def close(a, b):
    return float(jnp.max(jnp.abs(a - b)) / jnp.max(jnp.abs(b)))


@pytest.mark.parametrize("kind", ["causal", "prefix", "full"])
@pytest.mark.parametrize("length", [24, 300])  # one block, and two blocks and a rest
def test_values_and_gradients_equal_the_plain_form(kind, length):
    keys = jax.random.split(jax.random.key(0), 4)
    q, k, v, g = (jax.random.normal(key, (2, length, 2, 8)) for key in keys)
    third = length // 3
    segments = np.repeat([[1, 2, 0]], [third, third, length - 2 * third], axis=1)
    segments = jnp.asarray(np.concatenate([segments, np.ones_like(segments)]))
    prefix = jnp.arange(length)[None] % third < 4 if kind == "prefix" else None
    mask = Mask(segments, prefix, kind)

    def plain(q, k, v):
        return attention.attend(q, k, v, mask.dense())

    def fast(q, k, v):
        return attention_cpu.attend(q, k, v, mask.added(), kind == "causal")

    for one, other in ((plain, fast),):
        y, back = jax.vjp(one, q, k, v)
        y2, back2 = jax.vjp(other, q, k, v)
        assert close(y2, y) < 2e-6
        for expected, found in zip(back(g), back2(g), strict=True):
            assert close(found, expected) < 5e-6


def test_what_is_masked_has_a_gradient_of_exactly_zero():
    keys = jax.random.split(jax.random.key(1), 3)
    q, k, v = (jax.random.normal(key, (1, 200, 1, 4)) for key in keys)
    mask = Mask(jnp.asarray([[1] * 90 + [2] * 110]), None, "causal")

    def of_one_query(k, v, at):
        return attention_cpu.attend(q, k, v, mask.added(), True)[0, at].sum()

    for at, first in ((40, 0), (150, 90)):
        for gradient in jax.grad(of_one_query, (0, 1))(k, v, at):
            seen = np.abs(np.asarray(gradient[0])).sum((1, 2)) > 0
            assert not seen[:first].any() and not seen[at + 1 :].any()
