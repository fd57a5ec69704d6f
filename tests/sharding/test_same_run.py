"""A run is the same on every mesh: first values exactly, losses to float32's rounding."""

import functools
import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from pretrain_jax.composition import config
from pretrain_jax.composition.build import build_design
from pretrain_jax.layers.axes import constrain, use_axis_rules
from pretrain_jax.sharding import mesh, rules

CONFIG = Path(__file__).with_name("tiny_config.py")
ALONE = (1, 1, 1, 1, 1)
MESHES = {
    "2 dcn x 4 data": (2, 4, 1, 1, 1),
    "8 fsdp": (1, 1, 8, 1, 1),
    "2 data x 2 fsdp x 2 tensor": (1, 2, 2, 1, 2),
    "2 fsdp x 2 sequence x 2 tensor": (1, 1, 2, 2, 2),
}
STEPS = 20
every_mesh = pytest.mark.parametrize("sizes", MESHES.values(), ids=MESHES.keys())


def design(sizes, optimizer="adamw", **overrides):
    axes = dict(zip(mesh.AXES, map(str, sizes), strict=True))
    pairs = [(f"mesh.{axis}", size) for axis, size in axes.items()]
    pairs += [("optimizer.name", optimizer), *overrides.items()]
    count = int(np.prod(sizes))
    return build_design(config.read(str(CONFIG), pairs), tuple(jax.devices()[:count]))


def batches(how):
    """Rows with a rule to learn (the next token is 3 more) and padding of uneven length."""
    rng = np.random.default_rng(0)
    for _ in range(STEPS):
        raw = (rng.integers(200, size=(16, 1)) + 3 * np.arange(17)) % 200
        real = np.arange(16) < rng.integers(1, 17, size=(16, 1))
        fields = {
            "tokens": raw[:, :-1] * real,
            "targets": raw[:, 1:] * real,
            "weights": real.astype(np.float32),
            "segments": real.astype(np.int32),
            "positions": np.arange(16) * real,
        }
        made = {
            name: value.astype(np.float32 if name == "weights" else np.int32)
            for name, value in fields.items()
        }
        yield how.placement.rows.to_global(made, 16)


@functools.cache
def run(sizes, optimizer="adamw"):
    """First parameters, and losses and gradient norms of 20 steps, as numpy."""
    how = design(sizes, optimizer)
    state = how.update.init_state()
    first = jax.device_get(state.params)
    layouts = jax.tree.map(lambda x: x.sharding, state)
    # Compiled once: it refuses a state with shardings other than the first.
    compiled = how.update.step.lower(
        how.update.abstract_state, next(batches(how)), how.update.program
    ).compile()
    found = []
    for batch in batches(how):
        state, metrics = compiled(state, batch)
        found.append([float(metrics["loss"]), float(metrics["grad_norm"])])
    stayed = jax.tree.map(lambda x, at: x.sharding.is_equivalent_to(at, x.ndim), state, layouts)
    assert all(jax.tree.leaves(stayed))
    return first, layouts, np.array(found)


@every_mesh
def test_first_values_are_the_same(sizes):
    """Up to the rounding of the normal distribution's inverse, which the compiler does by shape."""
    one, many = run(ALONE)[0], run(sizes)[0]
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(many), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=0)


@every_mesh
@pytest.mark.parametrize("optimizer", ["adamw", "adafactor"])
def test_losses_are_the_same(sizes, optimizer):
    losses, expected = run(sizes, optimizer)[2], run(ALONE, optimizer)[2]
    assert expected[-1, 0] < expected[0, 0] - 0.02  # it learns
    np.testing.assert_allclose(losses[:, 0], expected[:, 0], rtol=1e-5)
    np.testing.assert_allclose(losses[:, 1], expected[:, 1], rtol=1e-4)


def test_parameters_and_moments_are_created_split_and_stay_split():
    layouts = run((1, 2, 2, 1, 2))[1]
    up = layouts.params["stack"]["layers"]["feed_forward"]["up"]["kernel"]
    assert up.shard_shape((2, 32, 64)) == (2, 16, 32)
    moments = [
        sharding
        for path, sharding in jax.tree_util.tree_leaves_with_path(layouts.opt_state)
        if "/up/kernel" in jax.tree_util.keystr(path, simple=True, separator="/")
    ]
    assert len(moments) == 2
    assert all(moment == up for moment in moments)


def test_activations_are_constrained_inside_placing_alone():
    devices = design((1, 1, 2, 2, 2)).placement.mesh
    x = np.zeros((4, 6, 8), np.float32)
    assert constrain(x, "batch", "length", "hidden") is x  # pyright: ignore[reportArgumentType]

    @jax.jit
    def placed(x):
        with use_axis_rules(rules.MeshRules(devices)):
            return constrain(x, "batch", "length", "hidden")

    assert placed(x).sharding.shard_shape(x.shape) == (2, 3, 8)


COMPILE = """
import sys
sys.path.insert(0, {folder!r})
import test_same_run as runs
how = runs.design({sizes})
update = how.update
update.step.lower(update.abstract_state, next(runs.batches(how)), update.program).compile()
print("compiled")
"""


@pytest.mark.parametrize("sizes", [(1, 2, 2, 1, 2), (1, 1, 2, 2, 2)])
def test_the_compiler_never_replicates_an_array_to_split_it_again(sizes):
    """XLA logs it to the second file descriptor, past Python."""
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "0"}
    done = subprocess.run(
        [sys.executable, "-c", COMPILE.format(folder=str(CONFIG.parent), sizes=sizes)],
        capture_output=True,
        text=True,
        timeout=300,
        env=environment,
    )
    assert done.stdout == "compiled\n", done.stderr
    assert "ematerialization" not in done.stderr
