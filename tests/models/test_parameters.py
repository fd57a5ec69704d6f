"""The parameter tree and its initial values: as documented, for all build settings."""

import math
import re
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from pretrain_jax import registry
from pretrain_jax.layers.embeddings import Embedding, padded_size
from pretrain_jax.layers.factories import factory
from pretrain_jax.layers.initializers import Normal
from pretrain_jax.layers.norms import LayerNorm
from pretrain_jax.layers.stacks import BuildContext
from pretrain_jax.step import cast_kernels

every_model = pytest.mark.parametrize("name", tiny.NAMES)
RESIDUAL = 0.02 / math.sqrt(2 * tiny.SIZES["layers"])
"""GPT-2 scales down the two projections of a layer back to the residual stream."""
OUTWARD = {"gpt": RESIDUAL, "gopher": RESIDUAL}
POSITIONS = {"gpt": 0.01, "gpt1": 0.02}
DOCUMENTED = ("gpt", "gpt1", "llama", "gopher", "lamda")


@every_model
def test_unroll_and_remat_change_no_parameter(name):
    context = BuildContext(
        tiny.architecture(name).attention[0], unroll=tiny.SIZES["layers"], remat="full"
    )
    plain = tiny.init_boxed(tiny.build(name))
    other = tiny.init_boxed(tiny.build(name, context))
    assert jax.tree.structure(plain) == jax.tree.structure(other)  # axis names are part of it
    for key, value in tiny.named(plain).items():
        np.testing.assert_array_equal(value, tiny.named(other)[key], err_msg=key)


@pytest.mark.parametrize("name", DOCUMENTED)
def test_initial_values_are_as_documented(name):
    model = tiny.build(name, width=128, feed_forward=256, vocab_size=1000)
    for key, value in tiny.named(tiny.init(model)).items():
        if key.endswith(("tokens", "output/table")):
            assert value.shape[0] == padded_size(1000) == 1024
            assert np.all(value[1000:] == 0)
            value = value[:1000]
        expected = initial_value(name, key)
        if isinstance(expected, int):
            assert np.all(value == expected), key
        else:
            error = 4 / math.sqrt(2 * value.size)  # four standard errors
            assert float(jnp.std(value)) == pytest.approx(expected, rel=error), key
            assert abs(float(jnp.mean(value))) < 5 * expected / math.sqrt(value.size), key


def initial_value(name: str, key: str) -> float:
    """An int is the value of all entries; a float is their standard deviation around 0."""
    if key.endswith("bias"):  # including content_bias and position_bias of Gopher
        return 0
    if key.endswith("norm/scale"):
        return 1
    if key.endswith("embedding/positions"):
        return POSITIONS[name]
    return OUTWARD.get(name, 0.02) if key.endswith(("out/kernel", "down/kernel")) else 0.02


@every_model
def test_layers_have_different_initial_values(name):
    matrices = [
        (key, value)
        for key, value in tiny.named(tiny.init(tiny.build(name))).items()
        if key.endswith("kernel")
    ]
    assert matrices
    for key, value in matrices:
        assert not np.array_equal(value[0], value[1]), key


@every_model
def test_another_seed_is_another_model(name):
    model = tiny.build(name)
    first, second = tiny.init(model, 0), tiny.init(model, 1)
    assert not np.array_equal(tiny.table(first), tiny.table(second))


def test_gpt_without_biases():
    names = tiny.named(tiny.init(tiny.build("gpt", bias=False)))
    assert not [name for name in names if name.endswith("bias")]


@every_model
def test_a_model_built_twice_compiles_once(name):
    attention = tiny.architecture(name).attention[0]
    traced = []

    @partial(jax.jit, static_argnums=0)
    def count(model, params):
        traced.append(model)
        return sum(leaf.size for leaf in jax.tree.leaves(params))

    params = tiny.init(tiny.build(name))
    for _ in range(2):
        count(tiny.build(name), params)
    assert len(traced) == 1
    assert tiny.build(name) == tiny.build(name)
    assert hash(tiny.build(name)) == hash(tiny.build(name))
    count(tiny.build(name, BuildContext(attention, remat="full")), params)
    assert len(traced) == 2  # so that the assertions above can fail


def test_makers_compare_by_value():
    def make(**changes: Any):
        arguments: dict[str, Any] = {"vocab_size": 8, "width": 4, "table_init": Normal(0.02)}
        return factory(Embedding, **{**arguments, **changes})

    assert make() == make()
    assert hash(make()) == hash(make())
    assert len({make(), make(), make(width=8), make(table_init=Normal(0.01))}) == 3
    in_another_order = factory(Embedding, width=4, table_init=Normal(0.02), vocab_size=8)
    assert in_another_order == make()
    assert factory(LayerNorm, epsilon=1e-5) != factory(LayerNorm, epsilon=1e-6)


def test_arguments_of_the_call_override_bound_ones():
    assert factory(LayerNorm, epsilon=1e-5, bias=True)(bias=False).bias is False


@every_model
def test_only_products_are_bfloat16(name):
    attention = tiny.architecture(name).attention[0]
    model = tiny.build(name, BuildContext(attention, dtype=jnp.bfloat16))
    batch, params = tiny.pack([[tiny.LENGTH]]), tiny.init(model)
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype("float32")}
    half = tiny.hidden(model)(params, batch)
    single = tiny.hidden(tiny.build(name))(params, batch)
    assert half.dtype == jnp.bfloat16
    assert float(jnp.max(jnp.abs(half - single))) < 0.05 * float(jnp.max(jnp.abs(single)))


def test_predict_at_picks_hidden_states():
    model = tiny.build("gpt")
    batch, params = tiny.pack([[9, 4], [16]]), tiny.init(model)
    predict_at = jnp.array([[11, 0, 3], [15, 2, 2]])
    hidden = tiny.hidden(model)(params, batch)
    picked = tiny.hidden(model)(params, {**batch, "predict_at": predict_at})
    for row in range(2):
        np.testing.assert_allclose(picked[row], hidden[row, predict_at[row]], atol=1e-6)


def test_documented_decoders_exist():
    assert set(DOCUMENTED) <= set(registry.names("models"))


@every_model
def test_kernels_cast_once_per_step_are_the_ones_that_layers_cast(name):
    attention = tiny.architecture(name).attention[0]
    model = tiny.build(name, BuildContext(attention, dtype=jnp.bfloat16))
    batch, params = tiny.pack([[tiny.LENGTH]]), tiny.randomise(tiny.init(model))
    low = cast_kernels(params, jnp.bfloat16)
    for key, leaf in tiny.named(low).items():
        assert (leaf.dtype == jnp.bfloat16) == bool(re.search("layers/.*/kernel$", key)), key
    found, known = (tiny.hidden(model)(values, batch) for values in (low, params))
    np.testing.assert_array_equal(np.float32(found), np.float32(known))


@pytest.mark.parametrize("name", ["gpt", "t5_1_1"])
def test_gradients_of_kernels_cast_once_have_the_same_bits(name):
    attention = tiny.architecture(name).attention[0]
    model = tiny.build(name, BuildContext(attention, dtype=jnp.bfloat16))
    batch, params = tiny.pack([[9, 7], [12]]), tiny.randomise(tiny.init(model))

    @jax.jit
    def gradients(params):
        apply: Any = model.apply
        total = lambda params: jnp.sum(jnp.sin(apply({"params": params}, batch, False).hidden))  # noqa: E731
        return tiny.named(jax.grad(total)(params))

    known = gradients(params)
    for key, gradient in gradients(cast_kernels(params, jnp.bfloat16)).items():
        np.testing.assert_array_equal(np.float32(gradient), np.float32(known[key]), err_msg=key)
