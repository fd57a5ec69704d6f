"""The GPU backend: what it passes to cuDNN and does not support, and its numbers on a GPU."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pretrain_jax.layers import attention_gpu, attention_plain
from pretrain_jax.layers.axes import use_axis_rules
from pretrain_jax.layers.masks import CrossMask, Mask
from pretrain_jax.sharding import mesh as meshes
from pretrain_jax.sharding import rules

on_cpu = pytest.mark.skipif(jax.default_backend() != "cpu", reason="needs simulated devices")
on_gpu = pytest.mark.skipif(jax.default_backend() != "gpu", reason="needs a GPU")
ROWS, LENGTH, HEADS, WIDTH = 2, 128, 4, 64
GROUPED = pytest.mark.parametrize("key_heads", [HEADS, HEADS // 2])
SEGMENTS = jnp.asarray(np.repeat([[1, 2, 0], [1, 1, 1]], [50, 68, 10], axis=1), jnp.int32)


def drawn(*shape, seed=0, dtype=jnp.bfloat16):
    return jnp.asarray(np.random.default_rng([seed, *shape]).normal(size=shape), dtype)


def mask_of(kind):
    if kind == "memory":
        return CrossMask(SEGMENTS, SEGMENTS)
    if kind == "one text":
        return Mask(jnp.ones_like(SEGMENTS), None, "causal", single_segment=True)
    prefix = jnp.arange(LENGTH)[None] % 40 < 9 if kind == "prefix" else None
    return Mask(SEGMENTS, prefix, kind)


def total(backend, mask, dtype, *arrays):
    """A weighted sum of a backend's output for q, k, v and perhaps a bias."""
    cast = [x.astype(dtype) for x in arrays[:3]]
    causal = mask.attention == "causal"
    y = backend.attend(
        *cast, backend.make_kernel_mask(mask), *arrays[3:], causal=causal, scale=1 / 8
    )
    counts = (mask.segments > 0)[..., None, None] * drawn(ROWS, LENGTH, HEADS, WIDTH, seed=3)
    return jnp.sum(y.astype(jnp.float32) * counts)


def test_rows_of_single_segment_need_no_mask():
    mask = Mask(SEGMENTS, None, "causal", single_segment=True)
    assert attention_gpu.make_kernel_mask(mask) is None
    packed = attention_gpu.make_kernel_mask(Mask(SEGMENTS, None, "causal"))
    assert packed is not None
    assert packed.shape == (ROWS, 1, LENGTH, LENGTH)


@pytest.mark.parametrize(
    ("q", "length", "message"),
    [
        (drawn(2, 8, 2, 64, dtype=jnp.float32), 8, "train.dtype is float32"),
        (drawn(2, 8, 2, 60), 8, "the width is 60"),
        (drawn(2, 8, 2, 256), 8, "the width is 256"),
        (drawn(2, 9, 2, 64), 9, "even lengths; they are 9 and 9"),
        (drawn(2, 8, 2, 64), 8, ""),
    ],
)
def test_what_it_does_not_support(q, length, message):
    mask = Mask(jnp.ones((2, length), jnp.int32), None, "causal")
    why = attention_gpu.unsupported_reason(mask, None, q)
    assert message in why
    assert bool(why) == bool(message)
    causal = mask.replace(single_segment=True)
    assert not attention_gpu.unsupported_reason(causal, None, drawn(2, 9, 2, 64))


@on_cpu
@GROUPED
@pytest.mark.parametrize("biased", ["", "one bias", "a bias for each row"])
@pytest.mark.parametrize("kind", ["one text", "causal", "prefix", "full", "memory"])
def test_devices_that_share_a_row_equal_one_device(kind, biased, key_heads, monkeypatch):
    # Tests all but cuDNN itself, which does not run on a CPU.
    monkeypatch.setattr(attention_gpu, "IMPLEMENTATION", "xla")
    mask = mask_of(kind)
    heads = enumerate((HEADS, key_heads, key_heads))
    arrays = [drawn(ROWS, LENGTH, n, WIDTH, seed=at, dtype=jnp.float32) for at, n in heads]
    if biased:
        of_row = (HEADS, LENGTH, LENGTH)
        shape = of_row if biased == "one bias" else (ROWS, *of_row)
        arrays.append(drawn(*shape, dtype=jnp.float32))
    places = tuple(range(len(arrays)))
    mesh = meshes.build(jax.devices()[:8], data=2, sequence=2, tensor=2)

    def split(*arrays):
        with use_axis_rules(rules.MeshRules(mesh)):
            return total(attention_gpu, mask, jnp.float32, *arrays)

    found = jax.jit(jax.grad(split, places))(*arrays)
    expected = jax.jit(jax.grad(lambda *a: total(attention_plain, mask, jnp.float32, *a), places))(
        *arrays
    )
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-5 * np.abs(other).max())


@on_cpu
def test_each_device_has_an_even_number_of_queries():
    mesh = meshes.build(jax.devices()[:2], sequence=2)
    mask = Mask(jnp.ones((2, 6), jnp.int32), None, "causal", single_segment=True)
    assert not attention_gpu.unsupported_reason(mask, None, drawn(2, 6, 2, 64))
    with use_axis_rules(rules.MeshRules(mesh)):
        reason = attention_gpu.unsupported_reason(mask, None, drawn(2, 6, 2, 64))
        assert "even lengths; they are 3 and 6" in reason


@on_gpu
@GROUPED
@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("kind", ["one text", "causal", "prefix", "full", "memory"])
def test_values_and_gradients_equal_the_plain_backend(kind, biased, key_heads):
    mask = mask_of(kind)
    heads = enumerate((HEADS, key_heads, key_heads))
    arrays = [drawn(ROWS, LENGTH, n, WIDTH, seed=at) for at, n in heads]
    arrays += [drawn(HEADS, LENGTH, LENGTH, dtype=jnp.float32)] if biased else []
    places = tuple(range(len(arrays)))
    found, expected = (
        jax.jit(jax.grad(lambda *a, f=f, d=d: total(f, mask, d, *a), places))(*arrays)
        for f, d in ((attention_gpu, jnp.bfloat16), (attention_plain, jnp.float32))
    )
    for one, other in zip(found, expected, strict=True):
        one, other = np.float32(one), np.float32(other)
        np.testing.assert_allclose(one, other, rtol=0, atol=0.02 * np.abs(other).max())
