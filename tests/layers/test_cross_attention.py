"""Cross attention computes its formula; a block without a memory skips it."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pretrain_jax.layers.attention import CrossAttention, SelfAttention
from pretrain_jax.layers.block import Block, PostNorm, PreNorm
from pretrain_jax.layers.context import Context
from pretrain_jax.layers.dense import Dense
from pretrain_jax.layers.factories import factory
from pretrain_jax.layers.initializers import Normal, Uniform
from pretrain_jax.layers.masks import CrossMask, Mask
from pretrain_jax.layers.norms import RMSNorm

B, L, M, D, H, K = 2, 5, 7, 8, 2, 3
RNG = np.random.default_rng(0)
SEGMENTS = np.array([[1, 1, 2, 2, 0], [1, 1, 1, 1, 1]])
MEMORY_SEGMENTS = np.array([[1, 1, 1, 2, 2, 2, 2], [1, 1, 1, 1, 0, 0, 0]])
NO_DROP = factory(nn.Dropout, rate=0.0)


def draw(*shape):
    return np.asarray(RNG.normal(size=shape), np.float32)


def attention(module, **more):
    dense = factory(Dense, bias=False, kernel_init=Normal(0.5))
    sizes = {"heads": H, "head_width": K, "scale": 0.5, "dropout": NO_DROP}
    return factory(module, dense=dense, dense_out=dense, **sizes, **more)


def context(memory=None, segments=SEGMENTS, memory_segments=MEMORY_SEGMENTS):
    mask = Mask(jnp.asarray(segments), None, "causal")
    if memory is None:
        return Context(mask, False)
    cross = CrossMask(jnp.asarray(segments), jnp.asarray(memory_segments))
    return Context(mask, False, memory=jnp.asarray(memory), memory_mask=cross)


def init(module, *inputs) -> Any:
    return nn.meta.unbox(module.init(jax.random.key(0), *inputs))


def test_cross_attention():
    """Row by row, each example with its own memory, in float64; the output of padding is zero."""
    x, memory = draw(B, L, D), draw(B, M, D)
    module = attention(CrossAttention)()
    variables = init(module, x, context(memory))
    kernels = {n: np.float64(p["kernel"]) for n, p in variables["params"].items()}
    found = module.apply(variables, x, context(memory))
    expected = np.zeros((B, L, D))
    for row in range(B):
        for i in np.flatnonzero(SEGMENTS[row]):
            own = np.float64(memory[row, MEMORY_SEGMENTS[row] == SEGMENTS[row, i]])
            q = np.einsum("d,dhk->hk", np.float64(x[row, i]), kernels["query"])
            k, v = (np.einsum("md,dhk->hmk", own, kernels[name]) for name in ("key", "value"))
            weights = np.exp(0.5 * np.einsum("hk,hmk->hm", q, k))
            weights /= weights.sum(-1, keepdims=True)
            expected[row, i] = np.einsum("hm,hmk,hkd->d", weights, v, kernels["out"])
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_empty_queries_have_finite_gradients():
    x, memory = jnp.asarray(draw(B, L, D)), jnp.asarray(draw(B, M, D))
    module = attention(CrossAttention)()
    nothing = np.zeros((B, M), int)
    variables = init(module, x, context(memory))

    def total(variables, x, memory):
        return module.apply(variables, x, context(memory, memory_segments=nothing)).sum()

    value, gradients = jax.value_and_grad(total, argnums=(0, 1, 2))(variables, x, memory)
    assert value == 0
    assert all(np.all(leaf == 0) for leaf in jax.tree.leaves(gradients))


def test_cross_attention_without_a_memory_names_what_is_missing():
    with pytest.raises(ValueError, match=r"needs context\.memory"):
        init(attention(CrossAttention)(), draw(B, L, D), context())


def test_queries_may_have_their_own_initializer():
    module = attention(SelfAttention, query_init=Normal(0.0))()
    params = init(module, draw(B, L, D), context())["params"]
    assert np.all(params["query"]["kernel"] == 0)
    assert np.all(params["key"]["kernel"] != 0)


@pytest.mark.parametrize("wrapper", [PreNorm, PostNorm])
def test_a_block_without_a_memory_equals_one_without_cross_attention(wrapper):
    own, cross = attention(SelfAttention), attention(CrossAttention)
    residual = wrapper(factory(RMSNorm, epsilon=1e-6), NO_DROP)
    x, memory = draw(B, L, D), draw(B, M, D)
    both = Block((("attention", own), ("cross_attention", cross)), residual)
    alone = Block((("attention", own),), residual)
    variables = init(both, x, context(memory))
    assert {"cross_attention", "cross_attention_norm"} < variables["params"].keys()
    assert init(both, x, context())["params"].keys() == {"attention", "attention_norm"}
    parts = {k: v for k, v in variables["params"].items() if not k.startswith("cross")}
    found, _ = both.apply(variables, x, context())
    expected, _ = alone.apply({"params": parts}, x, context())
    np.testing.assert_array_equal(found, expected)
    with_memory, _ = both.apply(variables, x, context(memory))
    assert not np.allclose(found, with_memory)


def test_uniform_values_have_their_standard_deviation_and_no_tails():
    values = Uniform(0.1)(jax.random.key(0), (100, 100))
    assert float(jnp.std(values)) == pytest.approx(0.1, rel=0.02)
    assert float(jnp.max(jnp.abs(values))) <= 0.1 * 3**0.5
