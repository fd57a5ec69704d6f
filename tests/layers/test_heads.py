"""Heads after a stack: parameters as published, numbers as computed by hand."""

import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pretrain_jax import losses
from pretrain_jax.layers.embeddings import Readout
from pretrain_jax.layers.heads import PooledClassifier, SpanBoundary
from pretrain_jax.layers.initializers import Normal
from pretrain_jax.sharding import rules

D, V = 6, 11
BATCH = {
    "example_at": jnp.array([[0, 3, 0], [1, 0, 0]]),
    "left_at": jnp.array([[0, 0, 4, 0], [2, 2, 2, 0]]),
    "right_at": jnp.array([[3, 3, 6, 0], [5, 5, 5, 0]]),
    "span_positions": jnp.array([[0, 1, 0, 0], [0, 1, 2, 0]]),
}


def pooled(**changes: Any) -> Any:
    return PooledClassifier(**{"classes": 2, "kernel_init": Normal(0.5), **changes})


def boundary(**changes: Any) -> Any:
    sizes = {"positions": 3, "position_width": 4}
    return SpanBoundary(**{**sizes, "kernel_init": Normal(0.5), **changes})


def drawn(*shape):
    return jnp.asarray(np.random.default_rng(len(shape)).normal(size=shape), jnp.float32)


def tied(width=D, rows=V):
    return Readout(drawn(rows, width), None, 1.0, V, z_loss=1e-4)


def boxed_shapes(head, width, rows):
    shape = jax.ShapeDtypeStruct((2, 7, width), jnp.float32)
    readout = Readout(jnp.zeros((rows, width)), None, 1.0, rows)
    return jax.eval_shape(head.init, jax.random.key(0), shape, BATCH, readout, False)["params"]


def run(head, seed=0) -> Any:
    """Random parameters (also biases and gains), hidden states [2, 7, D], the head's result."""
    hidden, readout = drawn(2, 7, D), tied()
    params = nn.meta.unbox(head.init(jax.random.key(seed), hidden, BATCH, readout, False))
    rng = np.random.default_rng(seed)
    params = jax.tree.map(lambda x: x + jnp.asarray(rng.normal(0, 0.3, x.shape), x.dtype), params)
    return params["params"], np.asarray(hidden), head.apply(params, hidden, BATCH, readout, False)


def test_the_boundary_has_no_z_loss():
    assert run(boundary())[2].readout.z_loss == 0 != tied().z_loss


@pytest.mark.parametrize(
    ("head", "width", "rows", "count"),
    [
        # the pooler 590,592, and 110,106,428 with heads - 109,482,240 - 622,650 of the token head
        (pooled(), 768, 30522, 590_592 + 1538),
        # 110,300,480 as trained - 107,719,680 of the body - 621,124 of the token head
        (boundary(positions=15, position_width=200), 768, 28996, 1_959_676),
        # 336,998,976 - 332,529,664 - 1,080,644
        (boundary(positions=15, position_width=200), 1024, 28996, 3_388_668),
        (boundary(positions=20, position_width=200), 768, 28996, 1_959_676 + 1000),
    ],
)
def test_the_number_of_parameters_is_as_published(head, width, rows, count):
    shapes = nn.meta.unbox(boxed_shapes(head, width, rows))
    assert sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(shapes)) == count


def test_parameters_have_the_documented_names():
    assert jax.tree.map(jnp.shape, run(pooled())[0]) == {
        "pooler": {"kernel": (D, D), "bias": (D,)},
        "output": {"kernel": (D, 2), "bias": (2,)},
    }
    assert set(run(boundary())[0]) == {
        "positions",
        "dense_1",
        "norm_1",
        "dense_2",
        "norm_2",
        "bias",
    }


@pytest.mark.parametrize("head", [pooled(), boundary(positions=15, position_width=200)])
def test_axes_have_rules_and_divide_over_meshes_of_powers_of_two(head):
    def is_box(x):
        return isinstance(x, nn.Partitioned)

    leaves = jax.tree.leaves(boxed_shapes(head, 768, 28928), is_leaf=is_box)
    assert leaves
    for box in leaves:
        entries = rules.partition_spec(tuple(box.names))
        for entry, size in zip(entries, box.value.shape, strict=True):
            assert entry is None or size % 64 == 0, (box.names, box.value.shape)


def test_pooled_classifier_by_hand():
    params, hidden, logits = run(pooled())
    for row, places in enumerate(BATCH["example_at"]):
        for example, place in enumerate(places):
            pooler, output = params["pooler"], params["output"]
            state = np.tanh(hidden[row, place] @ pooler["kernel"] + pooler["bias"])
            expected = state @ output["kernel"] + output["bias"]
            np.testing.assert_allclose(logits[row, example], expected, rtol=1e-5, atol=1e-6)


def test_span_boundary_by_hand():
    """Logits from the two states outside the span and the position inside, per prediction."""
    params, hidden, found = run(boundary())
    logits = losses.compute_logits(found.hidden.reshape(-1, D), found.readout).reshape(2, 4, V)
    for row, p in np.ndindex(2, 4):
        left, right, place = (
            BATCH[name][row, p] for name in ("left_at", "right_at", "span_positions")
        )
        x = np.concatenate([hidden[row, left], hidden[row, right], params["positions"][place]])
        for number in "12":
            dense, norm = params[f"dense_{number}"], params[f"norm_{number}"]
            x = x @ dense["kernel"] + dense["bias"]
            x = x * 0.5 * (1 + np.array([math.erf(value / math.sqrt(2)) for value in x]))
            x = (x - x.mean()) / np.sqrt(x.var() + 1e-12) * norm["scale"] + norm["bias"]
        expected = np.asarray(tied().table) @ x + params["bias"]
        np.testing.assert_allclose(logits[row, p], expected, rtol=1e-4, atol=1e-4)


def test_span_boundary_reads_nothing_inside_the_span():
    head, hidden, readout = boundary(), drawn(2, 7, D), tied()
    params = head.init(jax.random.key(0), hidden, BATCH, readout, False)

    def third(hidden):
        """The third prediction of the second row, for a span of positions 3 and 4."""
        return head.apply(params, hidden, BATCH, readout, False).hidden[1, 2] @ drawn(D)

    moved = np.any(np.asarray(jax.grad(third)(hidden)) != 0, axis=-1)
    assert np.argwhere(moved).tolist() == [[1, 2], [1, 5]]


@pytest.mark.parametrize("make", [pooled, boundary])
def test_only_products_are_bfloat16(make):
    hidden, readout = drawn(2, 7, D).astype(jnp.bfloat16), tied()
    head = make(dtype=jnp.bfloat16)
    params = head.init(jax.random.key(0), hidden, BATCH, readout, False)
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype("float32")}
    found = head.apply(params, hidden, BATCH, readout, False)
    assert found.dtype == jnp.float32 if make is pooled else found.hidden.dtype == jnp.bfloat16


def test_rows_that_pad_the_vocabulary_have_no_probability():
    head, readout = boundary(), tied(rows=16)
    found = head.init_with_output(jax.random.key(0), drawn(2, 7, D), BATCH, readout, False)[0]
    logits = losses.compute_logits(found.hidden.reshape(-1, D), found.readout)
    assert np.all(np.isfinite(logits[:, :V]))
    assert np.all(np.isneginf(logits[:, V:]))
