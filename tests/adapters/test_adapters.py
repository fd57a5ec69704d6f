"""Adapters on every architecture: they start as the base, train alone, and merge into it."""

from typing import Any

import flax.linen as nn
import jax
import numpy as np
import pytest
import tiny
from flax.traverse_util import flatten_dict, unflatten_dict

from pretrain_jax.adapters import bitfit, bottleneck, freeze, lora
from pretrain_jax.adapters._base import Adapter
from pretrain_jax.adapters._factories import change_factories
from pretrain_jax.composition.adaptation import choose_trained
from pretrain_jax.errors import ConfigError
from pretrain_jax.layers.stacks import BuildContext
from pretrain_jax.registry import names

MAPS = ("query", "key", "value", "out", "up", "gate", "down")
ADDING = {
    "lora": lora.build(rank=3, alpha=6.0, targets=MAPS),
    "bottleneck": bottleneck.build(width=5),
}
BATCH = tiny.pack([[7, 5], [16]], prefix=np.zeros((2, 16), np.int32))


def both(name: str, adapter: Adapter, **how):
    """(base model, adapted model) of an architecture, run in some way."""
    attention = tiny.architecture(name).attention[0]
    base = tiny.build(name, BuildContext(attention, **how))
    assert adapter.change is not None
    return base, change_factories(base, adapter.change)


def with_own(params, adapted):
    """The parameters of a base, and the initial ones that the adapter adds, by path."""
    known = flatten_dict(params).keys()

    def init(key):
        made = nn.meta.unbox(adapted.init(key, BATCH, False)["params"])
        return {path: leaf for path, leaf in flatten_dict(made).items() if path not in known}

    own = jax.jit(init)(jax.random.key(0))  # compiles nothing but these
    return unflatten_dict({**flatten_dict(params), **own}), own


def predictions(model, params):
    """Hidden states of all positions; each model is compiled once."""
    return np.asarray(tiny.hidden(model)(params, BATCH))


@pytest.mark.parametrize("name", tiny.NAMES)
def test_an_adapted_model_starts_with_the_bits_of_its_base(name):
    """Operation by operation: compiled, two programs may add in another order."""
    for kind in ADDING:
        base, adapted = both(name, ADDING[kind])
        params = tiny.random_params(base)
        together, own = with_own(params, adapted)
        assert own and all(ADDING[kind].own & set(path) for path in own)
        with jax.disable_jit():
            wanted: Any = base.apply({"params": params}, BATCH, False)
            found: Any = adapted.apply({"params": together}, BATCH, False)
        assert np.array_equal(found.hidden, wanted.hidden), kind


@pytest.mark.parametrize("how", [{"unroll": 3}, {"remat": "full"}, {"separate_layers": True}])
@pytest.mark.parametrize("kind", ADDING)
def test_it_does_so_however_the_layers_run(kind, how):
    base, adapted = both("gpt", ADDING[kind], **how)
    params = tiny.random_params(base)
    together, _ = with_own(params, adapted)
    assert np.array_equal(predictions(base, params), predictions(adapted, together))


@pytest.mark.parametrize("name", tiny.NAMES)
def test_merged_lora_computes_the_same(name):
    base, adapted = both(name, ADDING["lora"])
    params = tiny.random_params(adapted)
    merge = ADDING["lora"].merge
    assert merge is not None
    merged = merge(params)
    assert jax.tree.structure(merged) == jax.tree.structure(tiny.random_params(base))
    wanted = predictions(adapted, params)
    assert np.abs(predictions(base, merged) - wanted).max() < 1e-4 * np.abs(wanted).max()
    plain = {
        path: leaf
        for path, leaf in flatten_dict(params).items()
        if path[-1] not in (lora.IN, lora.OUT)
    }
    assert np.abs(predictions(base, unflatten_dict(plain)) - wanted).max() > 1e-2


def test_lora_is_the_formula_of_the_paper():
    _, adapted = both("gpt", lora.build(rank=2, alpha=5.0, targets=("up",)))
    params = tiny.random_params(adapted)
    dense = jax.tree.map(lambda leaf: leaf[0], params["stack"]["layers"]["feed_forward"]["up"])
    x = np.random.default_rng(0).normal(size=(4, 32)).astype(np.float32)
    merged = lora.merge(dense, 2.5)["kernel"]
    a, b = (np.asarray(dense[name], np.float64) for name in (lora.IN, lora.OUT))
    wanted = x @ np.asarray(dense["kernel"], np.float64) + 5.0 / 2 * (x @ a @ b)
    assert np.abs(x @ np.asarray(merged, np.float64) - wanted).max() < 1e-5


def test_lora_leaves_maps_that_are_not_targets_alone():
    _, adapted = both("llama", lora.build(rank=2, targets=("gate",)))
    own = {path[-2] for path in flatten_dict(tiny.random_params(adapted)) if path[-1] == lora.IN}
    assert own == {"gate"}


def test_changed_models_compare_by_value():
    for adapter in ADDING.values():
        first, second = (both("t5", adapter)[1] for _ in range(2))
        assert first == second and hash(first) == hash(second)
        assert first != both("t5", adapter)[0]


PARAMETERS = (
    "embedding/tokens",
    "stack/layers/attention/query/kernel",
    "stack/layers/attention/query/bias",
    "stack/layers/attention/query/lora_in",
    "stack/final_norm/bias",
    "classify/output/kernel",
    "classify/output/bias",
)


def trained(adapter: Adapter, heads: tuple[str, ...] = ("classify",)) -> set[str]:
    return set(choose_trained(PARAMETERS, adapter, frozenset(heads)))


def test_what_trains():
    head = {"classify/output/kernel", "classify/output/bias"}
    assert trained(Adapter(trains_all=True)) == set(PARAMETERS)
    query = ("query",)
    assert trained(lora.build(targets=query)) == {PARAMETERS[3], *head}
    assert trained(lora.build(targets=query, train=("embedding",))) == {
        PARAMETERS[3],
        PARAMETERS[0],
        *head,
    }
    assert trained(bitfit.build()) == {PARAMETERS[2], PARAMETERS[4], *head}
    assert trained(freeze.build(train=("final_norm",))) == {PARAMETERS[4], *head}
    assert trained(freeze.build()) == head


@pytest.mark.parametrize(
    ("adapter", "message"),
    [
        (bottleneck.build(), "no layers that it adapts"),
        (lora.build(), "has none of the name value"),
        (freeze.build(train=("nothing",)), "'nothing' matches none"),
        (Adapter(own_train=("nothing",)), "that match 'nothing'; this model has none"),
        (freeze.build(train=("(",)), "adapter.train must hold regular expressions"),
        (freeze.build(), "an adapter must train something"),
    ],
)
def test_an_adapter_that_trains_nothing_is_refused(adapter, message):
    with pytest.raises(ConfigError) as raised:
        trained(adapter, heads=())
    assert message in str(raised.value)


def test_every_adapter_is_listed_by_its_file():
    assert {"none", "lora", "bottleneck", "bitfit", "freeze"} <= set(names("adapters"))
