"""Each parameter gets its own rate: exact factors, frozen bits, and the state of before."""

import json
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import tiny

from pretrain_jax.composition import config
from pretrain_jax.composition.build import build_design
from pretrain_jax.errors import ConfigError
from pretrain_jax.layers import stacks
from pretrain_jax.layers.axes import box_all, is_box
from pretrain_jax.optim.optimizers import OPTIMIZERS, build_optimizer
from pretrain_jax.optim.parameters import ParameterInfo
from pretrain_jax.optim.rates import depth_factors, layer_names
from pretrain_jax.optim.trees import named_leaves
from pretrain_jax.sharding import mesh

make: Any = build_optimizer  # whose trees optax types more narrowly than tests index them
CONFIG = Path(__file__).parents[1] / "sharding/tiny_config.py"

LAYERS = 12
AXES = {
    "embedding": {"tokens": ("vocabulary", "width")},
    "stack": {
        "layers": {"up": {"kernel": ("layers", "width", "feed_forward")}},
        "final_norm": {"scale": ("width",)},
    },
    "classify": {"bias": ("classes",)},
}
SHAPES = {
    "embedding": {"tokens": (7, 4)},
    "stack": {
        "layers": {"up": {"kernel": (LAYERS, 4, 6)}},
        "final_norm": {"scale": (4,)},
    },
    "classify": {"bias": (3,)},
}


def draw(seed) -> Any:
    rng = np.random.default_rng(seed)
    one = lambda shape: jnp.asarray(rng.normal(size=shape), jnp.float32)  # noqa: E731
    return jax.tree.map(one, SHAPES, is_leaf=lambda node: isinstance(node, tuple))


def updates_of(name="sgd", count=1, state=None, **own) -> tuple[list[dict[str, np.ndarray]], Any]:
    """Updates by name, of some steps under jit with donated state, and the last state."""
    if name == "sgd":
        own = {"momentum": 0.0, **own}
    tx, params = make(name, lambda count: 0.5, AXES, **own), draw(0)
    update, found = jax.jit(tx.update, donate_argnums=1), []
    state = tx.init(params) if state is None else state
    for seed in range(1, count + 1):
        updates, state = update(draw(seed), state, params)
        found.append(tiny.named(jax.device_get(updates)))
    return found, state


# --- the factors of real models -------------------------------------------------------------------

DEPTHS = {  # of parameters outside the layers; the released ELECTRA has 0 or L + 2
    "bert": {"embedding/": 0, "output/": 5},
    "gpt": {"embedding/": 0, "stack/final_norm/": 5},
    "t5": {
        "embedding/": 0,
        "encoder_buckets/": 0,
        "decoder_buckets/": 0,
        "encoder/final_norm/": 5,
        "decoder/final_norm/": 5,
    },
    "t5_1_1": {
        "embedding/": 0,
        "encoder_buckets/": 0,
        "decoder_buckets/": 0,
        "encoder/final_norm/": 5,
        "decoder/final_norm/": 5,
        "output/table": 5,
    },
    "electra": {
        "embedding/": 0,
        "generator/input/": 0,
        "discriminator/input/": 0,
        "generator_output/": 5,
        "discriminator_output/": 5,
    },
}
STACKS = {
    "bert": {"stack"},
    "gpt": {"stack"},
    "t5": {"encoder", "decoder"},
    "t5_1_1": {"encoder", "decoder"},
    "electra": {"generator/stack", "discriminator/stack"},
}


def shapes_and_info(name: str) -> tuple[Any, ParameterInfo]:
    changes: dict[str, Any] = {"embedding_width": 16} if name == "electra" else {}
    model = tiny.build(name, **changes)
    batch = tiny.pack([[tiny.LENGTH]])
    boxed = jax.eval_shape(lambda: model.init(jax.random.key(0), batch, False)["params"])
    axes = jax.tree.map(lambda box: box.names, box_all(boxed), is_leaf=is_box)
    return nn.meta.unbox(boxed), ParameterInfo.of(axes, ())


@pytest.mark.parametrize("name", DEPTHS)
def test_layer_decay_is_that_of_the_released_electra(name):
    """learning_rate * layer_decay ** (n_layers + 2 - depth), layer i having depth i + 1."""
    shapes, info = shapes_and_info(name)
    found = tiny.named(depth_factors(shapes, info, 0.8))
    seen = set()
    for parameter, factor in found.items():
        before, is_layer, _ = parameter.partition("/layers/")
        seen.add(before if is_layer else next(p for p in DEPTHS[name] if parameter.startswith(p)))
        if is_layer:
            expected = [0.8 ** (3 + 2 - depth) for depth in (1, 2, 3)]
            assert factor.shape == (3, *(1 for _ in tiny.named(shapes)[parameter].shape[1:]))
        else:
            depth = next(d for p, d in DEPTHS[name].items() if parameter.startswith(p))
            expected = [0.8 ** (3 + 2 - depth)]
            assert factor.shape == ()
        np.testing.assert_array_equal(factor.ravel(), expected, err_msg=parameter)
    assert seen == DEPTHS[name].keys() | STACKS[name]


def test_depth_0_counts_the_layers_of_the_deepest_stack():
    axes = {"embedding": {"tokens": ("vocabulary",)}} | {
        name: {"layers": {"scale": ("layers", "width")}} for name in ("encoder", "decoder")
    }
    shapes = {
        "embedding": {"tokens": np.ones(7)},
        "encoder": {"layers": {"scale": np.ones((2, 4))}},
        "decoder": {"layers": {"scale": np.ones((3, 4))}},
    }
    found = depth_factors(shapes, ParameterInfo.of(axes, ()), 0.5)
    assert found["embedding"]["tokens"] == 0.5**5
    assert found["encoder"]["layers"]["scale"].ravel().tolist() == [0.125, 0.25]
    assert found["decoder"]["layers"]["scale"].ravel().tolist() == [0.0625, 0.125, 0.25]


@pytest.mark.parametrize("name", ["gpt", "t5", "electra"])
def test_names_of_layers_are_those_of_separate_layers(name):
    shapes, info = shapes_and_info(name)
    leaves = jax.tree.map(lambda s: np.empty(s.shape), shapes)
    expected = {each for each, _ in named_leaves(stacks.separate(leaves))}
    found = [n for leaf in named_leaves(leaves) for n in layer_names(*leaf, info.stacked)]
    assert set(found) == expected
    assert len(found) == len(expected)


# --- updates --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["sgd", "adamw", "lamb", "muon"])
def test_updates_are_multiplied_by_the_factors(name):
    """Weight decay too: that of adamw and lamb is part of their update. A compiler may join a
    product and a sum, which rounds once less."""
    (plain,), _ = updates_of(name)
    rules = ((r"layers_1/", 0.25), ("^classify/", 8.0), (r"layers_1\d*/", 3.0), ("^stack/", 1.0))
    (found,), _ = updates_of(name, layer_decay=0.5, rates=rules)
    layers = 0.5 ** np.arange(LAYERS + 1, 1, -1)
    layers[1] *= 0.25
    layers[10:] *= 3.0
    factors = {
        "embedding/tokens": 0.5 ** (LAYERS + 2),
        "stack/layers/up/kernel": layers.astype(np.float32)[:, None, None],
        "stack/final_norm/scale": 1.0,
        "classify/bias": 8.0,
    }
    assert factors.keys() == plain.keys()
    for parameter, factor in factors.items():
        expected = plain[parameter] * np.float32(factor)
        largest = np.abs(expected).max()
        np.testing.assert_allclose(found[parameter] / largest, expected / largest, atol=1e-6)


FREEZING = (("^embedding/|layers_[0-2]/", 2), ("^stack/final_norm/", -1), ("^stack/", 0))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_frozen_bits_do_not_change_before_their_step(name):
    """Weight decay does not change them either, and -0.0 stays -0.0."""
    tx, params = make(name, lambda count: 0.5, AXES, weight_decay=0.1, unfreeze=FREEZING), draw(0)
    params["embedding"]["tokens"] = params["embedding"]["tokens"].at[0].set(-0.0)
    params["stack"]["final_norm"]["scale"] = -jnp.zeros(4)
    plain = make(name, lambda count: 0.5, AXES, weight_decay=0.1)

    @jax.jit
    def step(params, state, grads):
        updates, new = tx.update(grads, state, params)
        return optax.apply_updates(params, updates), new, plain.update(grads, state, params)[0]

    state, changed = tx.init(params), []
    for seed in range(1, 4):
        after, state, steps = step(params, state, draw(seed))
        moved = jax.tree.map(
            lambda *pair: np.not_equal(*(np.asarray(x).view(np.uint32) for x in pair)),
            *(after, params),
        )
        kernel = moved["stack"]["layers"]["up"]["kernel"]
        changed.append((moved["embedding"]["tokens"].any(), *kernel.any((1, 2))[:4].tolist()))
        assert not moved["stack"]["final_norm"]["scale"].any()
        assert moved["classify"]["bias"].all() and kernel[3:].all()
        # What trains gets the update that it would get without rules.
        expected = jax.tree.map(jnp.add, params, steps)["stack"]["layers"]["up"]["kernel"]
        np.testing.assert_allclose(
            after["stack"]["layers"]["up"]["kernel"][3:], expected[3:], rtol=1e-6
        )
        params = after
    frozen, free = (False, False, False, False, True), (True, True, True, True, True)
    assert changed == [frozen, frozen, free]


# --- the state ------------------------------------------------------------------------------------

USED = {"layer_decay": 0.5, "rates": (("^classify/", 4.0),), "unfreeze": (("^embedding/", 3),)}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_state_of_an_optimizer_without_rates_goes_on_with_them(name):
    """The count of past updates is that of the schedule: update 3 of the whole run unfreezes."""
    (*_, plain), before = updates_of(name, count=3)
    structure = jax.tree.structure(before)
    found, after = updates_of(name, count=1, state=before, **USED)
    assert jax.tree.structure(after) == structure
    assert np.all(found[0]["embedding/tokens"] != 0)
    held, _ = updates_of(name, count=3, **USED)
    assert not any(np.any(step["embedding/tokens"]) for step in held)
    # A state's moments do not depend on the rules.
    np.testing.assert_array_equal(held[2]["classify/bias"], 4 * plain["classify/bias"])


def test_defaults_are_the_optimizer_of_before():
    tx = make("adamw", lambda count: 0.5, AXES)
    assert "with_rates" not in tx.update.__qualname__
    assert "with_rates" in make("adamw", lambda c: 0.5, AXES, layer_decay=0.9).update.__qualname__


# --- mistakes -------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["rates", "unfreeze"])
@pytest.mark.parametrize(
    ("rules", "received"),
    [
        ((("^clasify/", 2),), "'^clasify/'"),
        ((("layers_12/", 2),), "'layers_12/'"),
        ((("/", 2), ("^embedding/", 3)), "'^embedding/'"),
    ],
)
def test_a_pattern_without_a_parameter_is_refused(key, rules, received):
    tx = make("adamw", lambda count: 0.5, AXES, **{key: rules})
    with pytest.raises(ConfigError) as refused:
        jax.eval_shape(tx.init, draw(0))
    assert str(refused.value) == (
        f"every pattern of optimizer.{key} must match a parameter that no earlier one matches; "
        f"received {received}, which matches none, among names such as classify/bias, "
        "embedding/tokens, stack/final_norm/scale"
    )


@pytest.mark.parametrize(
    ("key", "rules"),
    [
        *(("rates", (("^classify/", value),)) for value in (0, -1.0, float("nan"), True, "2")),
        *(("unfreeze", (("^classify/", value),)) for value in (-2, 1.5, 2**31, True, None)),
        ("rates", ("^classify/", 10.0)),
        ("rates", ((1, 10.0),)),
        ("unfreeze", (("^classify/",),)),
        ("unfreeze", ("ab",)),
    ],
)
def test_malformed_rules_are_refused(key, rules):
    with pytest.raises(ConfigError, match=rf"optimizer\.{key} must be a list of \(pattern, ") as e:
        make("adamw", lambda count: 0.5, AXES, **{key: rules})
    assert e.value.exit_code == 64


@pytest.mark.parametrize("pattern", ["(", "a{99999999999999}", "(" * 5000])
def test_an_invalid_pattern_is_refused(pattern):
    with pytest.raises(ConfigError, match=r"optimizer\.rates must hold regular expressions"):
        make("adamw", lambda count: 0.5, AXES, rates=((pattern, 2.0),))


@pytest.mark.parametrize("value", ["0", "1.5", "-0.1", "none"])
def test_layer_decay_has_a_range(value):
    with pytest.raises(ConfigError, match=r"optimizer\.layer_decay must be"):
        config.read(str(CONFIG), [("optimizer.layer_decay", value)])


# --- a run ----------------------------------------------------------------------------------------

SGD = {
    "optimizer.name": "sgd",
    "optimizer.momentum": "0.0",
    "optimizer.learning_rate": "1.0",
    "optimizer.clip_norm": "0",
}
KEYS = {
    "optimizer.layer_decay": "0.5",
    "optimizer.rates": "(('^stack/final_norm/', 4.0),)",
    "optimizer.unfreeze": "(('^embedding/positions|layers_0/', 2), ('^embedding/', -1))",
}


def design(sizes, **more):
    axes = [(f"mesh.{axis}", str(n)) for axis, n in zip(mesh.AXES, sizes, strict=True)]
    settings = config.read(str(CONFIG), [*axes, *(SGD | KEYS | more).items()])
    stored = json.loads(json.dumps(settings.to_dict()))  # as config.json has it
    return build_design(config.resolve(stored, []), tuple(jax.devices()[: int(np.prod(sizes))]))


def run(sizes) -> tuple[list[Any], list[float]]:
    """Parameters of 0 to 3 updates, in two microbatches each, and the learning rates."""
    how = design(sizes)
    rows = np.random.default_rng(0).integers(200, size=(16, 17)).astype(np.int32)
    fields = {
        "tokens": rows[:, :-1],
        "targets": rows[:, 1:],
        "weights": np.ones((16, 16), np.float32),
        "segments": np.ones((16, 16), np.int32),
        "positions": np.tile(np.arange(16, dtype=np.int32), (16, 1)),
    }
    batch = how.placement.rows.to_global(fields, 16)
    state = how.update.init_state()
    compiled = how.update.step.lower(how.update.abstract_state, batch, how.update.program).compile()
    found, learning_rates = [tiny.named(jax.device_get(state.params))], []
    for _ in range(3):
        state, metrics = compiled(state, batch)
        found.append(tiny.named(jax.device_get(state.params)))
        learning_rates.append(float(metrics["learning_rate"]))
    return found, learning_rates


def test_a_run_on_a_mesh_is_that_on_one_device():
    alone, learning_rates = run((1, 1, 1, 1, 1))
    split, same = run((1, 1, 2, 1, 2))
    assert learning_rates == same == pytest.approx([0.2, 0.4, 0.6])  # the warm-up's
    for one, other in zip(alone, split, strict=True):
        for name, value in one.items():
            np.testing.assert_allclose(other[name], value, rtol=0, atol=1e-6, err_msg=name)
    for found in (alone, split):
        kernels = [step["stack/layers/attention/query/kernel"] for step in found]
        positions = [step["embedding/positions"] for step in found]
        tokens = [step["embedding/tokens"] for step in found]
        for values in ([kernel[0] for kernel in kernels], positions):
            assert [np.array_equal(values[0], v) for v in values] == [True, True, True, False]
        assert not np.array_equal(kernels[0][1], kernels[1][1])
        assert all(np.array_equal(tokens[0], value) for value in tokens)


def test_a_design_is_checked_before_anything_runs():
    wrong = design((1, 1, 1, 1, 1), **{"optimizer.rates": "(('^classify/', 4.0),)"})
    with pytest.raises(ConfigError, match=r"received '\^classify/', which matches none"):
        wrong.check()
