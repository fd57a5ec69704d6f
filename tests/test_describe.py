"""describe: one JSON object on standard output, sizes that add up, nothing allocated."""

import json
import subprocess
import sys
from pathlib import Path

import jax
import pytest

from pretrain_jax import command, describe
from pretrain_jax.composition import config
from pretrain_jax.composition.build import Design, build_design, fix_schedule
from pretrain_jax.estimates import sizes
from pretrain_jax.optim.trees import named_leaves

ROOT = Path(__file__).parents[1]
NANO = str(ROOT / "configs/gpt2_nano.py")


def nano(*overrides: tuple[str, str], devices: int = 1) -> Design:
    settings = fix_schedule(config.read(NANO, overrides))
    return build_design(settings, tuple(jax.devices()[:devices]))


def run(*options: str) -> subprocess.CompletedProcess[str]:
    command_line = [sys.executable, "-m", "pretrain_jax.describe", *options]
    return subprocess.run(command_line, capture_output=True, text=True, timeout=120)


def test_json_is_all_of_standard_output():
    done = run(f"--config={ROOT}/configs/gpt3_175b.py", "--json", "--config.model.remat=none")
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    assert found["parameters"] == 174_604_259_328 == sum(found["parameters_by_part"].values())
    assert found["tokens_per_step"] == 1536 * 2048
    assert found["flops_per_token"] == 6 * (96 * 12 * 12288**2 + 50257 * 12288) + (
        12 * 96 * 12288 * 2048
    )
    assert found["config"]["model.remat"] == ["none", "command line"]
    assert found["config"]["model.layers"] == [96, "file"]
    assert found["config"]["model.unroll"] == [0, "default"]
    assert found["config"]["train.phases"][0][:2] == [
        [0, {"batch_size": 256}],
        [5000, {"batch_size": 512}],
    ]


def test_a_mistake_ends_with_64_and_one_line():
    done = run("--config=configs/gpt2_nano.py", "--jsn")
    assert (done.returncode, done.stdout) == (64, "")
    assert "did you mean json?" in done.stderr and "Traceback" not in done.stderr


def test_the_table_shows_every_value_with_its_origin(capsys):
    assert describe.main([f"--config={NANO}", "--config.seed=3"]) == 0
    lines = capsys.readouterr().out.splitlines()
    words = {line.split()[0]: line.split()[1:] for line in lines if line.strip()}
    assert words["seed"] == ["command", "line", "3"]
    assert words["train.steps"] == ["file", "1500"]
    assert words["train.accumulate"] == ["default", "1"]
    assert words["optimizer.decay_steps"] == ["train.steps", "1500"]
    assert any(line.split() == ["parameters", "1,071,872"] for line in lines)


def test_parts_are_the_parameters_of_the_model_without_padding():
    """A vocabulary of 1000 is stored in 1024 rows; 24 x 128 values are not parameters."""
    design = nano(("model.vocab_size", "1000"))
    parts = sizes.count_parameters(design)
    stored = {name: leaf.size for name, leaf in named_leaves(design.model.param_shapes)}
    assert parts.keys() == stored.keys()
    assert {n: stored[n] - parts[n] for n in parts if stored[n] != parts[n]} == {
        "embedding/tokens": 24 * 128
    }


def test_an_untied_read_out_is_not_padded_either():
    overrides = [("model.name", "llama"), ("model.vocab_size", "1000")]
    parts = sizes.count_parameters(nano(*overrides))
    assert parts["output/table"] == parts["embedding/tokens"] == 1000 * 128


def test_memory_of_an_unsharded_adam_is_three_times_the_parameters():
    design = nano()
    memory = sizes.memory_per_device(design)
    stored = sum(leaf.size for leaf in jax.tree.leaves(design.model.param_shapes))
    assert memory["parameters"] == memory["gradients"] == 4 * stored
    assert memory["optimizer"] == pytest.approx(2 * 4 * stored, rel=1e-4)  # and some counts
    assert memory["total"] == sum(memory.values()) - memory["total"]


BATCH_INDEPENDENT = 4 * 2048 * 128 + 4 * 4 * 4 * 128 * 128
"""Bytes of nano's activations that do not depend on the batch: the gradient of the output
projection, and the four attention kernels of four layers, reshaped to matrices."""


def split_activations(total: int, parts: int) -> float:
    """Activation bytes of one of `parts` equal parts of a batch, from those of the batch."""
    return (total - BATCH_INDEPENDENT) / parts + BATCH_INDEPENDENT


def test_memory_is_split_over_the_mesh():
    unsplit = sizes.memory_per_device(nano())
    split = sizes.memory_per_device(
        nano(("mesh.data", "2"), ("mesh.fsdp", "2"), ("mesh.tensor", "2"), devices=8)
    )
    # Nearly everything is split by width (fsdp) and by heads, features or vocabulary (tensor).
    assert split["parameters"] == pytest.approx(unsplit["parameters"] / 4, rel=0.03)
    assert split["optimizer"] == pytest.approx(unsplit["optimizer"] / 4, rel=0.03)
    assert split["activations"] == pytest.approx(
        split_activations(unsplit["activations"], 4), rel=0.01
    )


def test_activations_fall_with_recomputation_and_microbatches():
    plain = sizes.memory_per_device(nano())
    full = sizes.memory_per_device(nano(("model.remat", "full")))
    parts = sizes.memory_per_device(nano(("train.accumulate", "4")))
    assert full["activations"] < plain["activations"] / 2
    assert parts["activations"] == pytest.approx(
        split_activations(plain["activations"], 4), rel=0.01
    )
    assert parts["gradients"] == 2 * plain["gradients"]


def test_memory_is_near_that_of_the_compiled_step():
    """Within a third of XLA's count for the same step on this platform."""
    from pretrain_jax.step import train_step

    design = nano(("model.unroll", "1"), ("train.batch_size", "4"))
    batch = design.task.batch_shapes(4, 128)
    step = jax.jit(train_step, static_argnums=2, donate_argnums=0)
    analysis = (
        step.lower(design.update.abstract_state, batch, design.update.program)
        .compile()
        .memory_analysis()
    )
    assert analysis is not None
    compiled = analysis.argument_size_in_bytes + analysis.temp_size_in_bytes
    assert sizes.memory_per_device(design)["total"] == pytest.approx(compiled, rel=0.33)


def test_describing_allocates_no_parameters():
    before = {id(array) for array in jax.live_arrays()}
    describe.describe(command.parse([f"--config={ROOT}/configs/gpt2_xl.py"], {}))
    made = [array for array in jax.live_arrays() if id(array) not in before]
    assert sum(array.nbytes for array in made) < 1 << 20


def test_a_batch_with_more_chunks_of_logits_than_positions_is_described():
    """1,536 rows of 2,048 on one device: the logits of one position exceed a chunk."""
    settings = fix_schedule(config.read(str(ROOT / "configs/jurassic1_178b.py")))
    memory = sizes.memory_per_device(build_design(settings, tuple(jax.devices()[:1])))
    assert memory["activations"] > 1e12
