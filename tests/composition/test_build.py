"""The composition root reports errors before reading data and compiling."""

import json
import subprocess
import sys
import typing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import pytest
from ml_collections import ConfigDict

from pretrain_jax.composition import config
from pretrain_jax.composition.build import Design, build_design, fix_schedule
from pretrain_jax.composition.phases import Phase, build_phases
from pretrain_jax.composition.sections import SECTIONS, section_options
from pretrain_jax.composition.spec import DataOptions, TrainOptions, build_spec
from pretrain_jax.devices.target import Target
from pretrain_jax.errors import ConfigError
from pretrain_jax.estimates import flops
from pretrain_jax.layers import attention, attention_plain, attention_tpu, stacks
from pretrain_jax.layers.masks import Mask

NANO = str(Path(__file__).parents[2] / "configs/gpt2_nano.py")


def design(*overrides: tuple[str, str], devices=None) -> Design:
    settings = fix_schedule(config.read(NANO, overrides))
    return build_design(settings, devices or tuple(jax.devices()[:1]))


READ: Any = config.read(NANO)
LISTS = sorted(
    f"{section}.{key}"
    for section in SECTIONS
    for key, option in section_options(section, READ[section]).items()
    if (typing.get_origin(option.type) or option.type) is tuple
)


@pytest.mark.parametrize("text", ["[[[]]]", "((True, {}),)", "((1j, ...),)", '({"a": {1}},)'])
@pytest.mark.parametrize("key", LISTS)
def test_nested_literals_are_refused_by_every_key_that_takes_a_list(key, text):
    with pytest.raises(ConfigError, match=rf"{key} must be .*received"):
        design((key, text)).check()


def test_the_lists_of_a_config_json_are_tuples():
    stored = json.loads(json.dumps(READ.to_dict()))
    stored["objective"]["labels"] = ["no", "yes"]
    stored["train"]["phases"] = [[50, {"batch_size": 4}]]
    spec = build_spec(ConfigDict(stored))
    assert spec.objective.labels == ("no", "yes")
    assert spec.optimizer == build_spec(READ).optimizer
    assert spec.train.phases == ((50, {"batch_size": 4}),)


def phases(entries: tuple, steps: int = 100) -> list[Phase]:
    data, train = DataOptions(seq_len=512), TrainOptions(steps=steps, batch_size=8, phases=entries)
    return list(build_phases(data, train))


def test_a_run_without_phases_is_one_phase():
    assert phases(()) == [Phase(0, 100, 512, 8, 1)]


def test_phases_follow_each_other_and_keep_what_they_do_not_change():
    built = phases(((10, {"seq_len": 128}), (90, {"batch_size": 4})))
    assert built == [Phase(0, 10, 512, 8, 1), Phase(10, 90, 128, 8, 1), Phase(90, 100, 128, 4, 1)]


def test_a_shorter_run_leaves_later_phases_empty():
    built = phases(((0, {"seq_len": 128}), (90, {"seq_len": 512})), steps=50)
    assert built == [Phase(0, 50, 128, 8, 1), Phase(90, 90, 512, 8, 1)]


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
        ((True, {}),),
        ((-1, {}),),
        ((5, {}), (5, {})),
        ((5, {}), (3, {})),
        ((0, {"learning_rate": 1}),),
    ],
)
def test_malformed_phases_are_refused(entries):
    with pytest.raises(
        ConfigError, match=r"train\.phases must be a list of \(from_step, changes\)"
    ):
        phases(entries)


@pytest.mark.parametrize("value", [0, -8, 2.5, True, "8", 2**31])
@pytest.mark.parametrize("key", ["seq_len", "batch_size"])
def test_a_phase_with_an_impossible_size_is_refused(key, value):
    with pytest.raises(ConfigError, match=rf"{key} in train\.phases must be"):
        phases(((0, {key: value}),))


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
        ("model.unroll", "-1"),
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


def test_dropout_on_tpus_turns_off_fusion_of_matrix_products():
    tpu = (SimpleNamespace(platform="tpu"),)
    apart = {"xla_tpu_dot_dot_fusion": False}
    assert design(("model.dropout", "0.1"), devices=tpu).update.compiler_options == apart
    assert design(("model.dropout", "0.0"), devices=tpu).update.compiler_options == {}
    assert design(("model.dropout", "0.1")).update.compiler_options == {}


def test_deterministic_reaches_the_compiler_where_it_matters():
    gpu = (SimpleNamespace(platform="gpu"),)
    deterministic = ("train.deterministic", "true")
    assert design(deterministic, devices=gpu).update.compiler_options == {
        "xla_gpu_deterministic_ops": True
    }
    assert (
        design(devices=gpu).update.compiler_options
        == design(deterministic).update.compiler_options
        == {}
    )
    # XLA rejects unknown names of options.
    options = design(deterministic, devices=gpu).update.compiler_options
    assert jax.jit(lambda x: x + 1, compiler_options=options)(1) == 2


@pytest.mark.parametrize(
    ("platform", "asked", "unroll"),
    [
        ("gpu", {}, 0),  # up to 64 layers: layers/stacks.py
        ("gpu", {"remat": "full"}, 1),
        ("gpu", {"unroll": 4}, 4),
        ("tpu", {}, 1),
        ("cpu", {}, 1),
        ("cpu", {"unroll": 4}, 4),
    ],
)
def test_layers_are_unrolled_on_gpus_without_remat(platform, asked, unroll):
    assert stacks.layer_loop(platform, **asked)["unroll"] == unroll


@pytest.mark.parametrize(
    ("platform", "asked", "backend"),
    [
        ("cpu", "auto", "cpu"),
        ("cpu", "plain", "plain"),
        ("gpu", "auto", "gpu"),
        ("gpu", "cpu", "cpu"),
        ("tpu", "auto", "tpu"),
        ("tpu", "tpu", "tpu"),
        ("metal", "auto", "plain"),
    ],
)
def test_attention_uses_the_backend_of_the_platform_by_default(platform, asked, backend):
    assert attention.choose_backend(platform, attention_backend=asked) == backend


@pytest.mark.parametrize(("platform", "asked"), [("cpu", "gpu"), ("gpu", "tpu"), ("tpu", "flash")])
def test_a_backend_of_another_platform_is_refused(platform, asked):
    with pytest.raises(ConfigError, match=rf"model\.attention_backend must be one of .*'{asked}'"):
        attention.choose_backend(platform, attention_backend=asked)


def test_the_backend_reaches_the_model_and_a_simulated_gpu_uses_the_plain_one():
    assert design().model.module.build_context.attention_backend == "cpu"
    assert (
        design(("model.attention_backend", "plain")).model.module.build_context.attention_backend
        == "plain"
    )
    assert design().plain_model.module.build_context.attention_backend == "plain"
    simulated = Design(design().spec, Target(design().target.devices, "NVIDIA H100"))
    assert simulated.model.module.build_context.attention_backend == "plain"


def test_flops_of_kernels_equal_those_of_plain_attention():
    """Splash attention computes complete blocks, so a multiple of them adds no FLOPs."""

    q = jax.ShapeDtypeStruct((2, 256, 2, 64), jnp.float32)
    segments = jax.ShapeDtypeStruct((2, 256), jnp.int32)

    def count_flops(backend):
        def attend(q, segments):
            return backend.attend(q, q, q, backend.make_kernel_mask(Mask(segments, None, "full")))

        return flops.count_jaxpr(jax.make_jaxpr(attend)(q, segments).jaxpr)

    assert count_flops(attention_tpu) == count_flops(attention_plain) == 4 * 2 * 2 * 256 * 256 * 64


def test_the_values_of_a_config_need_no_jax():
    code = "import sys, pretrain_jax.composition.spec; sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
