"""The TPU backend equals the plain one, with interpreted kernels: values, gradients, masks."""

import contextlib
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental.pallas import tpu as pltpu

from pretrain_jax.layers import attention_plain, attention_tpu
from pretrain_jax.layers.masks import CrossMask, Mask

HEADS, WIDTH = 2, 64
GROUPED = pytest.mark.parametrize("key_heads", [HEADS, 1])
LENGTH = 140  # one block and a remainder


@pytest.fixture
def interpreted(monkeypatch):
    """Runs TPU kernels interpreted on this CPU: splash attention has an argument for it, flash
    attention does not."""
    splash = attention_tpu.splash
    monkeypatch.setattr(splash, "make_splash_mha", partial(splash.make_splash_mha, interpret=True))
    return lambda bias: (
        contextlib.nullcontext() if bias is None else pltpu.force_tpu_interpret_mode()
    )


def drawn(*shape, seed=0):
    return jnp.asarray(np.random.default_rng([seed, *shape]).normal(size=shape), jnp.float32)


def segments(length, *ends):
    """int32 [1, length]: segments 1, 2, ... up to their ends, then padding."""
    found = np.zeros((1, length), np.int32)
    for number, (start, end) in enumerate(zip((0, *ends), ends, strict=False), 1):
        found[0, start:end] = number
    return jnp.asarray(found)


def compare(interpreted, mask, keys, bias, causal, key_heads=HEADS):
    """Values and gradients of both backends, at queries that are not empty."""
    length = mask.segments.shape[1]
    shapes = enumerate(((length, HEADS), (keys, key_heads), (keys, key_heads)))
    arrays = [drawn(1, *shape, WIDTH, seed=seed) for seed, shape in shapes]
    arrays += [] if bias is None else [bias]
    seen = (mask.segments > 0)[..., None, None]
    counts = seen * drawn(1, length, HEADS, WIDTH, seed=3)

    def total(backend, *arrays):
        y = backend.attend(
            *arrays[:3], backend.make_kernel_mask(mask), *arrays[3:], causal=causal, scale=1 / 8
        )
        return jnp.sum(y * counts), jnp.where(seen, y, 0)

    places = tuple(range(len(arrays)))
    (_, y), gradients = jax.value_and_grad(partial(total, attention_plain), places, True)(*arrays)
    with interpreted(bias):
        (_, own), found = jax.value_and_grad(partial(total, attention_tpu), places, True)(*arrays)
    # Compares single values: their sum is mostly rounding.
    found, expected = (own, found), (y, gradients)
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-5 * np.abs(other).max())


@GROUPED
@pytest.mark.parametrize("biased", [False, True], ids=["splash", "flash with a bias"])
@pytest.mark.parametrize("kind", ["causal", "prefix", "full"])
def test_values_and_gradients_equal_the_plain_backend(interpreted, kind, biased, key_heads):
    # Prefixes of 20 and 41 positions, and padding without one.
    place = jnp.arange(LENGTH)[None]
    prefix = (place < 20) | (place >= 60) & (place < 101) if kind == "prefix" else None
    mask = Mask(segments(LENGTH, 60, 131), prefix, kind)
    assert not attention_tpu.unsupported_reason(mask, None, drawn(1, LENGTH, HEADS, WIDTH))
    bias = drawn(HEADS, LENGTH, LENGTH) if biased else None
    compare(interpreted, mask, LENGTH, bias, kind == "causal", key_heads)


def test_rows_of_single_segment_need_no_segments(interpreted):
    mask = Mask(jnp.ones((1, LENGTH), jnp.int32), None, "causal", single_segment=True)
    assert attention_tpu.make_kernel_mask(mask) == ()
    compare(interpreted, mask, LENGTH, None, True)


def test_a_memory_of_another_length(interpreted):
    mask = CrossMask(segments(30, 10, 25), segments(LENGTH, 50, 140))
    compare(interpreted, mask, LENGTH, None, False)


def test_empty_queries_have_finite_outputs(interpreted):
    mask = CrossMask(segments(8, 4), segments(128, 0, 128))  # example 1 has no memory
    q, k = drawn(1, 8, HEADS, WIDTH), drawn(1, 128, HEADS, WIDTH)
    assert mask.empty_queries()[0].all()
    assert np.isfinite(attention_tpu.attend(q, k, k, attention_tpu.make_kernel_mask(mask))).all()


def test_prefix_attention_without_a_prefix_is_causal(interpreted):
    compare(interpreted, Mask(segments(LENGTH, 60, 131), None, "prefix"), LENGTH, None, False)


def test_what_it_does_not_support():
    rows, q = segments(8, 8), drawn(1, 8, HEADS, WIDTH)
    causal = Mask(rows, None, "causal")
    assert "own bias" in attention_tpu.unsupported_reason(causal, drawn(1, 2, 8, 8), q)
    assert not attention_tpu.unsupported_reason(causal, drawn(2, 8, 8), q)


def test_blocks_divide_the_padded_length():
    assert [attention_tpu.block_length(n) for n in (128, 384, 512, 640, 768, 2048)] == [
        128,
        384,
        512,
        128,
        384,
        512,
    ]
    assert attention_tpu.pad_to_block(jnp.ones((1, 114))).shape == (1, 128)
