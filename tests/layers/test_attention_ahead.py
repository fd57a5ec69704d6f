"""Programs compiled for a TPU that is not here: the kernels are in them, and no scores."""

import importlib.util
import math
import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("libtpu") is None, reason="needs the extra tpu"
)
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
    "prefix_lm_nano": {"model.max_length": LENGTH},
    "bert_nano": {"model.max_length": LENGTH, "model.dropout": 0.0},
    "t5_nano": {"model.head_width": 64, "tokenizer.sentinels": 400},
}
COMPILE = """
import re, sys
from pretrain_jax.parallel import topology
topology.set_up("v5e:2x2")
from pretrain_jax import config
from pretrain_jax.train import ahead, compiled
from pretrain_jax.train.compose import Design, fix_schedule
changes = [tuple(word.split("=", 1)) for word in sys.argv[2:]]
devices, _ = ahead.devices("v5e:2x2", 1)
design = Design(fix_schedule(config.read(f"configs/{sys.argv[1]}.py", changes)), tuple(devices))
design.check()
text = compiled.trace(design, design.phases[0]).lower().compile(ahead.QUICK).as_text()
print(design.model.execution.form, len(re.findall("tpu_custom_call", text)))
print(" ".join(sorted(set(re.findall(r"(?:f32|bf16|pred)\\[([\\d,]+)\\]", text)))))
"""


@pytest.mark.parametrize("name", CASES)
def test_the_kernels_are_there_and_the_scores_are_not(name):
    words = [f"{key}={value}" for key, value in {**SIZES, **CASES[name]}.items()]
    done = subprocess.run(
        [sys.executable, "-c", COMPILE, name, *words],
        capture_output=True,
        text=True,
        env={**os.environ, "XLA_FLAGS": ""},
    )
    assert not done.returncode, done.stderr
    how, shapes = done.stdout.splitlines()[-2:]
    form, calls = how.split()
    assert form == "tpu"
    assert int(calls) >= 3  # forward, and two for the gradients
    sizes = [tuple(map(int, shape.split(","))) for shape in shapes.split()]
    # T5's bias [H, L, M], one for all rows, is there; [B, H, L, M] in no form.
    scores = ROWS * HEADS * LENGTH * LENGTH
    assert not [s for s in sizes if s.count(LENGTH) >= 2 and math.prod(s) == scores]
