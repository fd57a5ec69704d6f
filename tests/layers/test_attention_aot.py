"""Programs compiled for absent TPUs and GPUs contain the kernels and no scores."""

import importlib.util
import math
import os
import subprocess
import sys

import pytest

ROWS, LENGTH, HEADS = 2, 384, 3
SIZES = {
    "train.batch_size": 4 * ROWS,
    "data.seq_len": LENGTH,
    "model.layers": 2,
    "model.heads": HEADS,
    "model.width": 192,
    "model.feed_forward": 256,
    "model.vocab_size": 512,
    "model.unroll": 1,
    "mesh.data": 1,
    "mesh.fsdp": -1,
}
CASES = {
    "gpt2_nano": {"model.max_length": LENGTH},
    "llama3_8b": {"model.kv_heads": 1, "train.phases": (), "train.steps": 9},
    "prefix_lm_nano": {"model.max_length": LENGTH},
    "bert_nano": {"model.max_length": LENGTH, "model.dropout": 0.0},
    "t5_nano": {"model.head_width": 64, "tokenizer.sentinels": 400},
}
TARGETS = {
    "tpu": ("libtpu", "v5e:2x2", "tpu_custom_call"),
    "gpu": ("jax_plugins", "h200:4", "__cudnn.fmha"),
}
"""Per platform: the module that compiles for it, a topology, and the kernels' name."""
COMPILE = """
import re, sys
from pretrain_jax.devices import topology
where, kernel, name, *changes = sys.argv[1:]
topology.configure_environment(where)
from pretrain_jax.composition import config
from pretrain_jax.planning import aot
from pretrain_jax.composition.build import build_design, fix_schedule
changes = [tuple(word.split("=", 1)) for word in changes]
devices, _ = aot.find_devices(where, 1)
design = build_design(fix_schedule(config.read(f"configs/{name}.py", changes)), tuple(devices))
design.check()
step = design.update.step.trace(*design.update.abstract_arguments(design.spec.phases[0]))
text = aot.compile_for(devices[0].platform, step).as_text()
print(design.model.module.build_context.attention_backend, len(re.findall(kernel, text)))
print(" ".join(sorted(set(re.findall(r"(?:f32|bf16|pred)\\[([\\d,]+)\\]", text)))))
"""


def compiled(platform, name, **changes):
    """A step's attention backend, number of kernel calls, and the shapes of all arrays."""
    needs, topology, kernel = TARGETS[platform]
    if importlib.util.find_spec(needs) is None:
        pytest.skip(f"needs {needs}: an extra of setup.py")
    words = [f"{key}={value}" for key, value in {**SIZES, **CASES[name], **changes}.items()]
    done = subprocess.run(
        [sys.executable, "-c", COMPILE, topology, kernel, name, *words],
        capture_output=True,
        text=True,
        env={**os.environ, "XLA_FLAGS": ""},
    )
    assert not done.returncode, done.stderr
    how, shapes = done.stdout.splitlines()[-2:]
    backend, calls = how.split()
    return backend, int(calls), [tuple(map(int, shape.split(","))) for shape in shapes.split()]


@pytest.mark.parametrize("platform", TARGETS)
@pytest.mark.parametrize("name", CASES)
def test_programs_have_kernels_and_no_scores(name, platform):
    backend, calls, sizes = compiled(platform, name)
    assert backend == platform
    assert calls >= 2 + (platform == "tpu")  # forward, and one or two for the gradients
    # T5's bias [H, L, M], one for all rows, exists; [B, H, L, M] exists only on GPUs, where cuDNN
    # takes the mask of packed rows and the bias as one sum.
    scores = ROWS * HEADS * LENGTH * LENGTH
    found = [s for s in sizes if s.count(LENGTH) >= 2 and math.prod(s) == scores]
    assert bool(found) == (platform == "gpu" and name == "t5_nano")


@pytest.mark.parametrize("name", ["gpt2_nano", "t5_nano"])
def test_gpus_that_share_a_row_run_the_kernel_too(name):
    backend, calls, sizes = compiled("gpu", name, **{"mesh.sequence": 2})
    assert backend == "gpu"
    assert calls >= 2
    # 8 rows on two groups of two devices, each with half of a row's queries.
    found = [s for s in sizes if sorted(s)[-4:] == sorted((4, HEADS, LENGTH // 2, LENGTH))]
    assert bool(found) == (name == "t5_nano")
