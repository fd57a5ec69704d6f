"""The composition root refuses what can be known to be wrong before data and compilation."""

from pathlib import Path
from types import SimpleNamespace

import jax
import pytest

from pretrain_jax import config
from pretrain_jax.errors import ConfigError
from pretrain_jax.train.compose import Design, fix_schedule
from pretrain_jax.train.options import DataOptions, Phase, TrainOptions, phases

NANO = str(Path(__file__).parents[2] / "configs/gpt2_nano.py")


def design(*overrides: tuple[str, str], devices=None) -> Design:
    settings = fix_schedule(config.read(NANO, overrides))
    return Design(settings, devices or tuple(jax.devices()[:1]))


def phases_of(entries: tuple, steps: int = 100) -> list[Phase]:
    data, train = DataOptions(seq_len=512), TrainOptions(steps=steps, batch_size=8, phases=entries)
    return phases(data, train)


def test_a_run_without_phases_is_one_phase():
    assert phases_of(()) == [Phase(0, 100, 512, 8, 1)]


def test_phases_follow_each_other_and_keep_what_they_do_not_change():
    found = phases_of(((10, {"seq_len": 128}), (90, {"batch_size": 4})))
    assert found == [Phase(0, 10, 512, 8, 1), Phase(10, 90, 128, 8, 1), Phase(90, 100, 128, 4, 1)]


def test_a_shorter_run_leaves_later_phases_empty():
    found = phases_of(((0, {"seq_len": 128}), (90, {"seq_len": 512})), steps=50)
    assert found == [Phase(0, 50, 128, 8, 1), Phase(90, 90, 512, 8, 1)]


@pytest.mark.parametrize(
    "entries",
    [
        (1,),
        (None,),
        ("ab",),
        ((0,),),
        ((0, 5),),
        ((0, {}, 1),),
        ((1.5, {}),),
        ((-1, {}),),
        ((5, {}), (5, {})),
        ((5, {}), (3, {})),
        ((0, {"learning_rate": 1}),),
    ],
)
def test_malformed_phases_are_refused(entries):
    with pytest.raises(ConfigError, match=r"train\.phases is a list of \(from_step, changes\)"):
        phases_of(entries)


@pytest.mark.parametrize("value", [0, -8, 2.0, "8", 2**31])
@pytest.mark.parametrize("key", ["seq_len", "batch_size"])
def test_a_phase_with_an_impossible_size_is_refused(key, value):
    with pytest.raises(
        ConfigError, match=rf"{key} in train\.phases, must be a whole number from 1"
    ):
        phases_of(((0, {key: value}),))


@pytest.mark.parametrize(
    "key, value",
    [
        ("data.seq_len", "0"),
        ("data.workers", "-1"),
        ("train.steps", "-1"),
        ("train.batch_size", "0"),
        ("train.accumulate", "0"),
        ("train.log_every", "0"),
        ("eval.every", "-1"),
        ("eval.tokens", "0"),
        ("eval.sample_tokens", "-1"),
        ("model.vocab_size", "0"),
        ("model.layers", "0"),
        ("model.max_length", "0"),
        ("model.max_length", "1e10"),
        ("model.unroll", "0"),
        ("model.dropout", "1"),
        ("model.dropout", "-0.1"),
        ("model.remat", "some"),
        ("optimizer.clip_norm", "-1"),
        ("train.dtype", "float16"),
    ],
)
def test_a_number_out_of_range_is_refused_by_name(key, value):
    with pytest.raises(ConfigError, match=key.replace(".", r"\.")):
        design((key, value)).check()


def test_heads_that_do_not_divide_name_the_nearest_that_do():
    with pytest.raises(ConfigError, match="nearest numbers of heads are 4 and 8"):
        design(("model.heads", "6")).check()


def test_a_row_longer_than_the_position_table_is_refused():
    with pytest.raises(ConfigError, match=r"Set model\.max_length=256 or data\.seq_len=128"):
        design(("data.seq_len", "256")).check()


def test_deterministic_reaches_the_compiler_where_it_matters():
    gpu = (SimpleNamespace(platform="gpu"),)
    wanted = ("train.deterministic", "true")
    assert design(wanted, devices=gpu).compiler_options == {"xla_gpu_deterministic_ops": True}
    assert design(devices=gpu).compiler_options == design(wanted).compiler_options == {}
    # XLA refuses the names of options that it does not have.
    options = design(wanted, devices=gpu).compiler_options
    assert jax.jit(lambda x: x + 1, compiler_options=options)(1) == 2
