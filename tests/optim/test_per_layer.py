"""An optimizer sees one layer at a time, and its state is laid out like the parameters."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import PartitionSpec

from pretrain_jax.optim import orthogonal
from pretrain_jax.optim.clipping import clip_by_norm
from pretrain_jax.optim.optimizers import OPTIMIZERS, build_optimizer
from pretrain_jax.optim.parameters import ParameterInfo
from pretrain_jax.optim.trees import like_params

make: Any = build_optimizer  # whose trees optax types more narrowly than tests index them

RATE = 0.01
LAYER = {
    "query": {
        "kernel": ((128, 2, 64), ("width", "heads", "head_width")),
        "bias": ((2, 64), ("heads", "head_width")),
    },
    "out": {"kernel": ((2, 64, 128), ("heads", "head_width", "width"))},
    "up": {"kernel": ((128, 160), ("width", "feed_forward"))},
    "norm": {"scale": ((128,), ("width",))},
    "gate": ((), ()),
}
STACKS = {"encoder": 3, "decoder": 2}
TOKENS = ((192, 128), ("vocabulary", "width"))


def is_leaf(node):
    return isinstance(node, tuple)


def axes_tree(stacked):
    one = jax.tree.map(lambda leaf: leaf[1], LAYER, is_leaf=is_leaf)
    if stacked:
        layers = jax.tree.map(lambda names: ("layers", *names), one, is_leaf=is_leaf)
        return {"tokens": TOKENS[1]} | {name: {"layers": layers} for name in STACKS}
    return {"tokens": TOKENS[1]} | {
        name: {"layers": {str(i): one for i in range(depth)}} for name, depth in STACKS.items()
    }


def draw(seed) -> Any:
    """A stacked tree whose layers differ in size by factors, as in training."""
    rng = np.random.default_rng(seed)

    def leaf(depth, shape):
        scale = 0.02 * 3.0 ** np.arange(depth).reshape(-1, *(1 for _ in shape))
        return jnp.asarray(scale * rng.normal(size=(depth, *shape)), jnp.float32)

    tree: dict[str, Any] = {"tokens": jnp.asarray(rng.normal(size=TOKENS[0]), jnp.float32)}
    for name, depth in STACKS.items():
        layers = jax.tree.map(lambda spec, d=depth: leaf(d, spec[0]), LAYER, is_leaf=is_leaf)
        tree[name] = {"layers": layers}
    return tree


def unstack(tree):
    return {"tokens": tree["tokens"]} | {
        name: {"layers": {str(i): jax.tree.map(lambda x, i=i: x[i], tree[name]["layers"])
                          for i in range(depth)}}
        for name, depth in STACKS.items()
    }  # fmt: skip


def train(tx, trees, steps=3) -> list[Any]:
    """All updates of some steps, of trees(seed)."""
    params, update, taken = trees(0), jax.jit(tx.update), []
    state = tx.init(params)
    for seed in range(1, steps + 1):
        updates, state = update(trees(seed), state, params)
        params = optax.apply_updates(params, updates)
        taken.append(updates)
    return taken


def distance(a, b):
    """|a - b| / |b| of the leaf where it is largest."""
    apart = jax.tree.map(lambda x, y: float(jnp.linalg.norm(x - y) / jnp.linalg.norm(y)), a, b)
    return max(jax.tree.leaves(apart))


def schedule(count):
    return RATE / (count + 1)


@functools.cache
def layer_by_layer(name):
    tx = make(name, schedule, axes_tree(stacked=False))
    return train(tx, lambda seed: unstack(draw(seed)))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_stacked_parameters_take_the_step_of_separate_layers(name):
    stacked = train(make(name, schedule, axes_tree(stacked=True)), draw)
    for together, alone in zip(stacked, layer_by_layer(name), strict=True):
        assert distance(unstack(together), alone) < 5e-6


def without_per_layer(name, rank):
    """The same rule on kernels of some rank; Muon takes the last axis as a matrix's output."""
    if name == "lamb":
        return optax.lamb(schedule, weight_decay=0.01)
    if name == "adafactor":
        return optax.adafactor(schedule)
    direction = orthogonal.scale_by_orthogonal_momentum(
        lambda tree: jax.tree.map(lambda _: rank - 1, tree),
        momentum=0.95,
        dtype=jnp.float32,
        size=lambda fan_in, fan_out: 0.2 * max(fan_in, fan_out) ** 0.5,
    )
    decay = optax.add_decayed_weights(0.1)
    return optax.chain(direction, decay, optax.scale_by_learning_rate(schedule))


@pytest.mark.parametrize("name", ["lamb", "adafactor", "muon"])
def test_without_per_layer_the_step_is_another(name):
    """It shows that the test above can fail."""
    kernel = lambda seed: draw(seed)["encoder"]["layers"]["up"]["kernel"]  # noqa: E731
    ours = [tree["encoder"]["layers"]["0"]["up"]["kernel"] for tree in layer_by_layer(name)]
    control = train(without_per_layer(name, rank=2), lambda seed: kernel(seed)[0])
    stacked = train(without_per_layer(name, rank=3), kernel)
    assert distance(control[-1], ours[-1]) < 5e-6
    assert distance(stacked[-1][0], ours[-1]) > 0.2


def test_names_inside_a_stack_keep_their_path():
    params = draw(0)
    zeros = jax.tree.map(jnp.zeros_like, params)
    tx = make(
        "sgd",
        schedule,
        axes_tree(stacked=True),
        no_decay=("^encoder/layers/up/", "bias$"),
        weight_decay=1.0,
    )
    updates, _ = jax.jit(tx.update)(zeros, tx.init(params), params)
    moved = jax.tree.map(lambda u: bool(jnp.any(u != 0)), updates)
    assert moved["decoder"]["layers"]["up"] == {"kernel": True}
    assert moved["encoder"]["layers"]["up"] == {"kernel": False}
    assert moved["encoder"]["layers"]["query"] == {"kernel": True, "bias": False}


def test_partition_specs_name_axes_too():
    specs = jax.tree.map(
        lambda names: PartitionSpec(*names), axes_tree(stacked=True), is_leaf=is_leaf
    )
    assert ParameterInfo.of(specs, ()) == ParameterInfo.of(axes_tree(stacked=True), ())


def test_counts_are_shared_by_the_layers_and_moments_are_not():
    state = make("adamw", schedule, axes_tree(stacked=True)).init(draw(0))
    assert set(state) == {"single", "layers_3", "layers_2"}
    adam = state["layers_3"][0]
    assert adam.count.shape == ()
    assert adam.mu["encoder"]["layers"]["up"]["kernel"].shape == (3, 128, 160)
    assert adam.mu["encoder"]["layers"]["gate"].shape == (3,)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_state_leaves_with_a_parameters_shape_get_its_value(name):
    params, axes = draw(0), axes_tree(stacked=True)
    specs = jax.tree.map(lambda names: PartitionSpec(*names), axes, is_leaf=is_leaf)
    state = jax.eval_shape(make(name, schedule, axes).init, params)
    laid = like_params(state, params, specs, PartitionSpec())
    assert jax.tree.structure(laid) == jax.tree.structure(state)
    by_name = dict(zip(_names(state), map(tuple, jax.tree.leaves(laid)), strict=True))
    for leaf, names in zip(jax.tree.leaves(state), by_name.values(), strict=True):
        assert len(names) in (0, leaf.ndim)
    moments = [key for key in by_name if key.endswith("/mu/encoder/layers/up/kernel")]
    moments += [key for key in by_name if key.endswith("/trace/encoder/layers/up/kernel")]
    assert len(moments) == (name != "adafactor")
    for key in moments:
        assert by_name[key] == ("layers", "width", "feed_forward")
    factored = [key for key in by_name if "/v_row/" in key or "/v_col/" in key]
    assert bool(factored) == (name == "adafactor")
    assert all(by_name[key] == () for key in factored)
    counts = [key for key in by_name if key.endswith("/count")]
    assert counts
    assert all(by_name[key] == () for key in counts)


def _names(tree):
    paths = [path for path, _ in jax.tree_util.tree_leaves_with_path(tree)]
    return [jax.tree_util.keystr(path, simple=True, separator="/") for path in paths]


def test_the_update_needs_params():
    params = draw(0)
    tx = make("sgd", schedule, axes_tree(stacked=True))
    with pytest.raises(ValueError, match="needs params"):
        tx.update(params, tx.init(params))


@pytest.mark.parametrize(("max_norm", "factor"), [(2.5, 0.5), (5.0, 1.0), (9.0, 1.0), (0.0, 1.0)])
def test_clipping_by_the_global_norm(max_norm, factor):
    grads = {"a": jnp.array([3.0, 0.0]), "b": jnp.array([[-4.0]])}
    clipped = clip_by_norm(grads, optax.tree.norm(grads), max_norm)
    jax.tree.map(lambda c, g: np.testing.assert_allclose(c, factor * g, rtol=1e-6), clipped, grads)


def test_clipping_gradients_of_zero_leaves_zeros():
    grads = {"a": jnp.zeros(3)}
    clipped = clip_by_norm(grads, optax.tree.norm(grads), 1.0)
    assert clipped["a"].tolist() == [0, 0, 0]
