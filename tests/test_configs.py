"""Each file of configs/ loads, builds, and has the published size. Nothing is allocated."""

import ast
import inspect
import math
import textwrap
from functools import cache
from pathlib import Path
from typing import Any

import jax
import pytest

from pretrain_jax import registry
from pretrain_jax.composition import build, config, phases, presets, spec
from pretrain_jax.estimates import flops, sizes
from pretrain_jax.layers import stacks
from pretrain_jax.layers.axes import is_box
from pretrain_jax.optim import clipping, optimizers, schedules
from pretrain_jax.sharding import mesh, rules
from pretrain_jax.workdir.checkpoint import Checkpoints

ROOT = Path(__file__).parents[1]
CONFIGS = {path.stem: path for path in sorted((ROOT / "configs").glob("*.py"))}

PARAMETERS = {
    "gpt2_nano": 1_071_872,
    "bert_nano": 1_107_714,
    "spanbert_nano": 1_171_512,
    "electra_nano": 1_307_585,
    "t5_nano": 1_640_832,
    "ul2_nano": 1_640_832,
    "prefix_lm_nano": 1_071_872,
    "shakespeare_char": 804_992,
    "shakespeare_char_gpu": 10_747_776,
    # Published models: V D + T D + L (12 D^2 + 13 D) + 2 D; GPT-1 without the final norm's 2 D.
    "gpt1": 116_534_784,
    "gpt2_small": 124_439_808,
    "gpt2_medium": 354_823_168,
    "gpt2_large": 774_030_080,
    "gpt2_xl": 1_557_611_200,
    "gpt3_125m": 125_226_240,
    "gpt3_350m": 355_871_744,
    "gpt3_760m": 760_300_032,
    "gpt3_1_3b": 1_315_723_264,
    "gpt3_2_7b": 2_651_553_280,
    "gpt3_6_7b": 6_658_404_352,
    "gpt3_13b": 12_853_386_240,
    "gpt3_175b": 174_604_259_328,
    "jurassic1_178b": 177_951_790_080,
    "mt_nlg_530b": 529_581_506_560,
    # 2 V D + L (4 D^2 + 3 D F + 2 D) + D
    "llama_7b": 6_738_415_616,
    "llama_13b": 13_015_864_320,
    "llama_33b": 32_528_943_616,
    "llama_65b": 65_285_660_672,
    # 2 V D + L (2 D H K + 2 D G K + 3 D F + 2 D) + D, with G heads of keys and values
    "llama2_7b": 6_738_415_616,
    "llama2_13b": 13_015_864_320,
    "llama2_70b": 68_976_648_192,
    "llama3_8b": 8_030_261_248,
    "llama3_70b": 70_553_706_496,
    # Chinchilla's table A9, and RMSNorm's gains: V D + L (5 D I + 2 D F + 8 D + 5 I) + D
    "chinchilla_70b": 70_063_890_432,
    "gopher_280b": 279_714_217_984,
    # V D + L (4 D I + 3 D F + 2 D) + D + 32 H
    "lamda_137b": 137_702_158_336,
    # Body with pooler, masked-LM head, next-sentence head.
    "bert_base": 110_106_428,
    "bert_large": 336_226_108,
    # With the LM head, without a row of segment types.
    "roberta_base": 124_696_665,
    "roberta_large": 355_411_033,
    # As trained: body without pooler, masked-LM head, span boundary head.
    "spanbert_base": 110_300_480,
    "spanbert_large": 336_998_976,
    # Generator and discriminator; shared parameters count once.
    "electra_small": 14_196_219,
    "electra_base": 119_386_427,
    "electra_large": 354_655_291,
    # With the 28 rows that pad T5's vocabulary to 32128.
    "t5_small": 60_506_624,
    "t5_base": 222_903_552,
    "t5_large": 737_668_096,
    "t5_3b": 2_851_598_336,
    "t5_11b": 11_307_321_344,
    "t5_1_1_small": 76_961_152,
    "t5_1_1_base": 247_577_856,
    "t5_1_1_large": 783_150_080,
    "t5_1_1_xl": 2_849_757_184,
    "t5_1_1_xxl": 11_135_332_352,
    "transformer_base": 63_045_632,
    "transformer_big": 214_171_648,
    # The shapes of BabyLM's baselines, with a vocabulary of 16,384 ids and 128 positions.
    "babylm_gpt": 97_737_216,
    "babylm_bert": 98_347_264,
    "babylm_electra": 108_219_393,
    "babylm_t5": 210_812_160,
}

PARTS = {
    ("bert_base", "body"): 109_482_240,
    ("bert_large", "body"): 335_141_888,
    ("electra_small", "generator"): 4_620_026,
    ("electra_small", "discriminator"): 13_549_057,
    ("electra_base", "generator"): 33_740_602,
    ("electra_base", "discriminator"): 109_483_009,
    ("electra_large", "generator"): 51_295_290,
    ("electra_large", "discriminator"): 335_142_913,
}

TOKENS = {
    # when the warm-up ends, when the decay ends, when the run ends
    **dict.fromkeys(
        [name for name in PARAMETERS if name.startswith("gpt3_")], (375e6, 260e9, 300e9)
    ),
    "jurassic1_178b": (375e6, 260e9, 300e9),
    "mt_nlg_530b": (1e9, 340e9, 270e9),
    # The paper counts this schedule in steps: 8,000 and 1,200,000.
    **dict.fromkeys(["llama3_8b", "llama3_70b"], (66.9e9, 17.26e12, 15e12)),
}


@cache
def design(name: str) -> build.Design:
    """A config on one device."""
    settings = build.fix_schedule(config.read(str(CONFIGS[name])))
    return build.build_design(settings, tuple(jax.devices()[:1]))


@pytest.mark.parametrize("name", CONFIGS)
def test_it_builds_on_one_device(name):
    design(name).check()


@pytest.mark.parametrize("name", PARAMETERS)
def test_it_has_the_published_size(name):
    parts = sizes.count_parameters(design(name))
    assert sum(parts.values()) == PARAMETERS[name]
    assert f"{PARAMETERS[name]:,} parameters" in CONFIGS[name].read_text()


@pytest.mark.parametrize("name, part", PARTS)
def test_its_parts_have_the_published_sizes(name, part):
    assert sizes.parameters_by_part(design(name))[part] == PARTS[name, part]


def test_lamda_without_its_embedding_has_the_papers_137_billion():
    parts = sizes.count_parameters(design("lamda_137b"))
    assert sum(parts.values()) - parts["embedding/tokens"] == 137_440_014_336


@pytest.mark.parametrize("devices", [1, 3, 8, 512])
@pytest.mark.parametrize("name", CONFIGS)
def test_its_mesh_takes_any_number_of_devices(name, devices):
    found = mesh.resolve_sizes(devices, **design(name).spec.mesh)
    assert found["data"] * found["fsdp"] * found["tensor"] == devices


@pytest.mark.parametrize("name", CONFIGS)
def test_its_docstring_shows_the_command(name):
    text = ast.get_docstring(ast.parse(CONFIGS[name].read_text())) or ""
    assert f"python -m pretrain_jax.main --config=configs/{name}.py" in text


@pytest.mark.parametrize("name", TOKENS)
def test_schedules_in_steps_are_the_papers_in_tokens(name):
    section = design(name).spec.optimizer
    for steps, tokens in zip(
        (section.warmup_steps, section.decay_steps, design(name).spec.train.steps),
        TOKENS[name],
        strict=True,
    ):
        assert tokens_after(name, steps) == pytest.approx(tokens, rel=0.01)


def tokens_after(name: str, steps: int) -> int:
    """Tokens of the first `steps` updates; the last phase has no end."""
    phases = design(name).spec.phases
    ends = [phase.last for phase in phases[:-1]] + [steps]
    return sum(
        max(min(steps, end) - phase.first, 0) * phase.batch_size * phase.seq_len
        for phase, end in zip(phases, ends, strict=True)
    )


@pytest.mark.parametrize("name", PARAMETERS)
def test_the_presets_of_its_pods_are_valid(name):
    path = str(CONFIGS[name])
    known = config.read_pods(path)
    if name.endswith("_nano") or name.startswith("shakespeare"):
        assert known == {}
        return
    assert known
    for pod in known:
        settings: Any = config.read(path, (), presets.select_options(known, pod))
        at = mesh.resolve_sizes(presets.describe_topology(pod)[1], **settings.mesh)
        ways = {axis: math.prod(at[one] for one in names) for axis, names in rules.RULES.items()}
        for phase in phases.build_phases(
            spec.DataOptions(**settings.data), spec.TrainOptions(**settings.train)
        ):
            assert phase.batch_size % (ways["batch"] * phase.accumulate) == 0, phase
        boxes = jax.tree.leaves(design(name).model.boxed_params, is_leaf=is_box)
        for box in boxes:
            for axis, size in zip(box.names, box.value.shape, strict=True):
                assert size % ways[axis] == 0, (axis, size)


@pytest.mark.parametrize("name", PARAMETERS)
def test_its_docstring_repeats_no_option_of_its_pod(name):
    text = ast.get_docstring(ast.parse(CONFIGS[name].read_text())) or ""
    assert "--config.mesh" not in text and "TPU pod" not in text


def test_tokens_after_counts_phases():
    assert tokens_after("gpt3_125m", 8000) == 8000 * 16 * 2048
    assert tokens_after("gpt3_125m", 8001) == 8000 * 16 * 2048 + 32 * 2048


# PaLM, appendix B: 6 N + 12 L I T, N the matrices that multiply: layers and read-out.
@pytest.mark.parametrize(
    "name, matrices, attention",
    [
        ("gpt2_small", 12 * 12 * 768**2 + 50257 * 768, 12 * 768 * 1024),
        ("gpt2_xl", 48 * 12 * 1600**2 + 50257 * 1600, 48 * 1600 * 1024),
        ("llama_7b", 32 * (4 * 4096**2 + 3 * 4096 * 11008) + 32000 * 4096, 32 * 4096 * 2048),
        # Keys and values have 8 heads of 128; scores and their sums are as with 32 heads.
        (
            "llama3_8b",
            32 * (2 * 4096**2 + 2 * 4096 * 8 * 128 + 3 * 4096 * 14336) + 128256 * 4096,
            32 * 4096 * 4096,
        ),
        (
            "lamda_137b",
            64 * (4 * 8192 * 16384 + 3 * 8192 * 65536) + 32000 * 8192,
            64 * 16384 * 2048,
        ),
    ],
)
def test_flops_are_those_of_palms_formula(name, matrices, attention):
    assert (
        flops.per_token(design(name), design(name).spec.data.seq_len)
        == 6 * matrices + 12 * attention
    )


def test_flops_do_not_depend_on_how_the_model_runs():
    """Recomputation and unrolling change the time of a step, not its FLOPs."""
    plain = flops.per_token(design("gpt2_nano"), 128)
    for changes in (
        [("model.remat", "full")],
        [("model.unroll", "1")],
        [("train.accumulate", "4")],
    ):
        settings = build.fix_schedule(config.read(str(CONFIGS["gpt2_nano"]), changes))
        assert (
            flops.per_token(build.build_design(settings, design("gpt2_nano").target.devices), 128)
            == plain
        )


# --- every option is used -------------------------------------------------------------------

SECTIONS = {
    "data": spec.DataOptions,
    "train": spec.TrainOptions,
    "eval": spec.EvalOptions,
    "reporting": spec.ReportingOptions,
}


@cache
def attributes_read() -> set[tuple[str, str]]:
    """(a, b) of every a.b in the package: ("train", "steps") of `self.design.spec.train.steps`."""
    found = set()
    for path in (ROOT / "pretrain_jax").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute):
                owner = getattr(node.value, "attr", None) or getattr(node.value, "id", "")
                found.add((owner, node.attr))
    return found


@pytest.mark.parametrize(
    "section, option", [(s, o) for s in SECTIONS for o in registry.options(SECTIONS[s])]
)
def test_every_option_of_a_section_is_read(section, option):
    assert (section, option) in attributes_read()


def builders():
    """Groups of functions that share the options of one section."""
    for name in registry.names("tokenizers"):
        module = registry.load("tokenizers", name, "")
        yield f"tokenizers.{name}", (module.load, module.train)
    for folder in ("objectives", "models"):
        for name in registry.names(folder):
            yield f"{folder}.{name}", (registry.load(folder, name, "").build,)
    for name, schedule in schedules.SCHEDULES.items():
        yield f"schedules.{name}", (schedules.build_schedule, schedule)
    for name, optimizer in optimizers.OPTIMIZERS.items():
        yield f"optimizers.{name}", (optimizers.build_optimizer, optimizer)
    yield "mesh", (mesh.build,)
    yield "checkpoint", (Checkpoints.__init__,)
    yield "execution", (stacks.layer_loop,)
    yield "clipping", (clipping.clip_options,)


GROUPS = dict(builders())


@pytest.mark.parametrize("group", GROUPS)
def test_every_option_of_a_builder_is_read(group):
    read = set()
    for function in GROUPS[group]:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
        read |= {
            node.id
            for node in ast.walk(tree)
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)
        }
    options = set(registry.options(*GROUPS[group]))
    if group.startswith("tokenizers."):
        options.discard("vocab_size")  # a key of `model`; what is learned is held against it
    assert options <= read
