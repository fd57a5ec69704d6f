"""The CPU backend equals the plain one: values, gradients, exact zeros."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pretrain_jax.layers import attention_cpu, attention_plain
from pretrain_jax.layers.masks import CrossMask, Mask


def close(a, b):
    return float(jnp.max(jnp.abs(a - b)) / jnp.max(jnp.abs(b)))


def same(plain, fast, *arrays):
    """Both functions give the same values and, for one random cotangent, gradients."""
    y, back = jax.vjp(plain, *arrays)
    y2, back2 = jax.vjp(fast, *arrays)
    assert close(y2, y) < 2e-6
    g = jax.random.normal(jax.random.key(9), y.shape)
    for expected, found in zip(back(g), back2(g), strict=True):
        assert close(found, expected) < 5e-6


def segments(length):
    """Row 0: two examples and padding, a third of the row each; row 1: one example."""
    third = length // 3
    first = np.repeat([[1, 2, 0]], [third, third, length - 2 * third], axis=1)
    return jnp.asarray(np.concatenate([first, np.ones_like(first)]))


@pytest.mark.parametrize("key_heads", [4, 2])
@pytest.mark.parametrize("shape", [None, "hlm", "bhlm"])
@pytest.mark.parametrize("kind", ["causal", "prefix", "full"])
@pytest.mark.parametrize("length", [24, 300])  # one block; two blocks and a remainder
def test_values_and_gradients_equal_the_plain_backend(kind, length, shape, key_heads):
    """Without a bias, with one for all rows (T5), and with one per row (Transformer-XL)."""
    keys = jax.random.split(jax.random.key(0), 4)
    q = jax.random.normal(keys[0], (2, length, 4, 8))
    k, v = (jax.random.normal(key, (2, length, key_heads, 8)) for key in keys[1:3])
    sizes = {"b": 2, "h": 4, "l": length, "m": length}
    bias = [jax.random.normal(keys[3], [sizes[axis] for axis in shape])] if shape else []
    prefix = jnp.arange(length)[None] % (length // 3) < 4 if kind == "prefix" else None
    mask = Mask(segments(length), prefix, kind)

    def plain(q, k, v, *bias):
        return attention_plain.attend(q, k, v, mask, *bias, scale=0.4)

    def fast(q, k, v, *bias):
        bias = bias[0] if bias else None
        return attention_cpu.attend(q, k, v, mask.additive(), bias, kind == "causal", scale=0.4)

    same(plain, fast, q, k, v, *bias)


@pytest.mark.parametrize("key_heads", [3, 1])
def test_query_heads_that_share_keys_equal_repeated_keys(key_heads):
    """transformers' repeat_kv: query heads 0 and 1 of six share key head 0 of three."""
    keys = jax.random.split(jax.random.key(2), 3)
    q = jax.random.normal(keys[0], (2, 24, 6, 8))
    k, v = (jax.random.normal(key, (2, 24, key_heads, 8)) for key in keys[1:])
    mask = Mask(segments(24), None, "causal")

    def repeated(q, k, v):
        k, v = (jnp.repeat(x, 6 // key_heads, axis=2) for x in (k, v))
        return attention_plain.attend(q, k, v, mask)

    same(repeated, lambda q, k, v: attention_plain.attend(q, k, v, mask), q, k, v)


def test_a_memory_of_another_length():
    keys = jax.random.split(jax.random.key(0), 3)
    q = jax.random.normal(keys[0], (2, 9, 2, 8))
    k, v = (jax.random.normal(key, (2, 15, 2, 8)) for key in keys[1:])
    mask = CrossMask(segments(9), segments(15))
    assert mask.empty_queries().any()

    def plain(q, k, v):
        return attention_plain.attend(q, k, v, mask)

    same(plain, lambda q, k, v: attention_cpu.attend(q, k, v, mask.additive()), q, k, v)


def test_masked_keys_have_a_gradient_of_exactly_zero():
    keys = jax.random.split(jax.random.key(1), 3)
    q, k, v = (jax.random.normal(key, (1, 200, 1, 4)) for key in keys)
    mask = Mask(jnp.asarray([[1] * 90 + [2] * 110]), None, "causal")

    def of_one_query(k, v, at):
        return attention_cpu.attend(q, k, v, mask.additive(), None, True)[0, at].sum()

    for at, first in ((40, 0), (150, 90)):
        for gradient in jax.grad(of_one_query, (0, 1))(k, v, at):
            seen = np.abs(np.asarray(gradient[0])).sum((1, 2)) > 0
            assert not seen[:first].any() and not seen[at + 1 :].any()
