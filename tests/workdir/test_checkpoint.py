"""A step is complete or does not exist; restoring returns the saved bits."""

import contextlib
import functools
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from pretrain_jax.errors import (
    ConfigError,
    DataError,
    InputMissing,
    UnwritableWorkdir,
    WorkdirMismatch,
)
from pretrain_jax.workdir.checkpoint import Checkpoints
from pretrain_jax.workdir.step_folders import COMMIT_MARKER

DATA = {"seed": 0, "step": 3, "fingerprints": {"stdlib": "9f2c"}}
CONFIG = {"train": {"steps": 10}, "optimizer": {"learning_rate": 0.1}}


def make_state(seed: int = 0):
    keys = jax.random.split(jax.random.key(seed), 2)
    params = {
        "embedding": {"kernel": jax.random.normal(keys[0], (16, 8))},
        "block": {"scale": jax.random.normal(keys[1], (8,)).astype(jnp.bfloat16)},
    }
    mask = {"embedding": {"kernel": True}, "block": {"scale": False}}
    optimizer = optax.chain(
        optax.clip_by_global_norm(1.0), optax.adamw(0.1), optax.masked(optax.scale(1.0), mask)
    )
    # 2^24 + 1 is the first integer that a cast to float32 would change.
    return {"params": params, "optimizer": optimizer.init(params), "step": jnp.int32(16777217)}


def abstract(state):
    return jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), state
    )


def assert_same_bits(one, other):
    assert jax.tree.structure(one) == jax.tree.structure(other)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        assert a.dtype == b.dtype
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes()


def save_steps(checkpoints, steps, state=None):
    state = make_state() if state is None else state
    for step in steps:
        assert checkpoints.save(step, state, DATA, CONFIG)
    checkpoints.wait()


def test_a_step_holds_state_data_and_config(tmp_path):
    state = make_state()
    with Checkpoints(tmp_path, every=3) as checkpoints:
        assert checkpoints.latest() is None
        assert checkpoints.save(3, state, DATA, CONFIG)
    with Checkpoints(tmp_path, read_only=True) as checkpoints:
        assert checkpoints.latest() == 3
        assert checkpoints.read_json(3, "data") == DATA
        assert checkpoints.read_json(3, "config") == CONFIG
        assert_same_bits(checkpoints.restore(3, abstract(state)), state)
        stored = checkpoints.metadata(3)
    assert stored["params/block/scale"] == jax.ShapeDtypeStruct((8,), jnp.bfloat16)
    assert list(stored) == sorted(stored)
    assert len(stored) == len(jax.tree.leaves(state))


def test_a_directory_relative_to_where_the_command_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with Checkpoints("runs/x/checkpoints", every=1) as checkpoints:
        save_steps(checkpoints, [1])
    assert (tmp_path / "runs/x/checkpoints/1" / COMMIT_MARKER).exists()


def test_saves_when_due_or_forced_and_a_step_once(tmp_path):
    state = make_state()
    with Checkpoints(tmp_path, every=4, keep=9) as checkpoints:
        written = [step for step in range(10) if checkpoints.save(step, state, DATA, CONFIG)]
        assert written == [4, 8]
        assert checkpoints.save(9, state, DATA, CONFIG, force=True)
        assert not checkpoints.save(9, state, DATA, CONFIG, force=True)
        assert checkpoints.steps() == [4, 8, 9]


def test_the_state_may_be_donated_while_it_is_being_written(tmp_path):
    @functools.partial(jax.jit, donate_argnums=0)
    def update(state):
        return jax.tree.map(lambda x: x * 1.5 + 1, state)

    state = update({str(i): jnp.full((512, 512), i, jnp.float32) for i in range(8)})
    with Checkpoints(tmp_path, every=1, keep=9) as checkpoints:
        saved = {}
        for step in range(1, 5):
            saved[step] = jax.tree.map(lambda x: np.array(x, copy=True), state)
            checkpoints.save(step, state, DATA, CONFIG)
            for _ in range(3):
                state = update(state)
            jax.block_until_ready(state)
        checkpoints.wait()
        for step, values in saved.items():
            assert_same_bits(checkpoints.restore(step, abstract(state)), values)


MESHES = [((1,), ("data",)), ((8,), ("data",)), ((2, 2, 2), ("data", "fsdp", "tensor"))]


def shardings(state, shape, names):
    devices = np.array(jax.devices()[: int(np.prod(shape))]).reshape(shape)
    mesh = Mesh(devices, names)

    def place(x):
        # Shards columns over the last axis of the mesh and rows over the others.
        if x.ndim == 0:
            return NamedSharding(mesh, P())
        return NamedSharding(mesh, P(names) if x.ndim == 1 else P(names[:-1] or None, names[-1]))

    return jax.tree.map(place, state)


@pytest.mark.skipif(jax.device_count() < 8, reason="needs 8 devices (tests/conftest.py simulates)")
@pytest.mark.parametrize("written", MESHES)
def test_a_step_from_one_mesh_restores_on_any_other(tmp_path, written):
    state = make_state()
    with Checkpoints(tmp_path, every=1) as checkpoints:
        save_steps(checkpoints, [1], jax.device_put(state, shardings(state, *written)))
        for mesh in MESHES:
            there = jax.tree.map(
                lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s),
                state,
                shardings(state, *mesh),
            )
            restored = checkpoints.restore(1, there)
            assert_same_bits(restored, state)
            assert jax.tree.map(lambda x: x.sharding, restored) == shardings(state, *mesh)


def test_differences_are_refused_by_name_in_four_sorted_lists(tmp_path):
    state = make_state()
    with Checkpoints(tmp_path, every=1) as checkpoints:
        save_steps(checkpoints, [1])
        other = abstract(state)
        other["params"]["embedding"]["kernel"] = jax.ShapeDtypeStruct((32, 8), jnp.float32)
        other["params"]["block"] = {
            "scale": jax.ShapeDtypeStruct((8,), jnp.float32),
            "shift": jax.ShapeDtypeStruct((8,), jnp.float32),
            "bias": jax.ShapeDtypeStruct((8,), jnp.float32),
        }
        del other["step"]
        with pytest.raises(WorkdirMismatch) as refused:
            checkpoints.restore(1, other)
    lines = str(refused.value).splitlines()[1:-1]
    assert lines == [
        "  missing from the checkpoint (2)",
        "    params/block/bias",
        "    params/block/shift",
        "  unexpected in the checkpoint (1)",
        "    step",
        "  shape (1)",
        "    params/embedding/kernel: stored (16, 8), expected (32, 8)",
        "  dtype (1)",
        "    params/block/scale: stored bfloat16, expected float32",
    ]


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.int16, jnp.uint32])
def test_no_dtype_is_cast_silently(tmp_path, dtype):
    with Checkpoints(tmp_path, every=1) as checkpoints:
        save_steps(checkpoints, [1], {"step": jnp.int32(16777217)})
        with pytest.raises(WorkdirMismatch, match="step: stored int32"):
            checkpoints.restore(1, {"step": jax.ShapeDtypeStruct((), dtype)})


def test_a_part_of_the_state_can_be_restored_alone(tmp_path):
    state = make_state()
    with Checkpoints(tmp_path, every=1) as checkpoints:
        save_steps(checkpoints, [1])
        params = {"params": abstract(state["params"])}
        with pytest.raises(WorkdirMismatch, match="unexpected"):
            checkpoints.restore(1, params)
        restored = checkpoints.restore(1, params, partial=True)
        assert_same_bits(restored, {"params": state["params"]})
        with pytest.raises(WorkdirMismatch, match="params/embedding/other"):
            other = {"params": {"embedding": {"other": jax.ShapeDtypeStruct((1,), jnp.float32)}}}
            checkpoints.restore(1, other, partial=True)


def test_keeps_the_last_ones_and_every_nth(tmp_path):
    with Checkpoints(tmp_path, every=1, keep=2, keep_every=3) as checkpoints:
        save_steps(checkpoints, range(1, 9))
        assert checkpoints.steps() == [3, 6, 7, 8]
    with Checkpoints(tmp_path, every=1, keep=1) as checkpoints:
        save_steps(checkpoints, [9])
        assert checkpoints.steps() == [9]


def test_the_latest_is_the_highest_step_whatever_the_clock_says(tmp_path):
    with Checkpoints(tmp_path, every=1, keep=9) as checkpoints:
        save_steps(checkpoints, [2, 10, 9])
    for step, day in ((2, 3), (10, 1), (9, 2)):
        os.utime(tmp_path / str(step), (86400 * day, 86400 * day))
    with Checkpoints(tmp_path, read_only=True) as checkpoints:
        assert checkpoints.latest() == 10


def test_a_step_without_its_marker_is_not_a_step(tmp_path):
    state = make_state()
    with Checkpoints(tmp_path, every=1, keep=1, keep_every=2) as checkpoints:
        save_steps(checkpoints, [2, 4, 6])
    (tmp_path / "2" / COMMIT_MARKER).unlink()
    (tmp_path / "6" / COMMIT_MARKER).unlink()
    (tmp_path / "notes").mkdir()
    with Checkpoints(tmp_path, read_only=True) as checkpoints:
        assert checkpoints.latest() == 4
        with pytest.raises(InputMissing, match="no committed step 6; committed steps: 4"):
            checkpoints.restore(6, abstract(state))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["2", "4", "6", "notes"]
    # A run that writes sets them aside and saves step 6 again.
    with Checkpoints(tmp_path, every=1, keep=1) as checkpoints:
        assert checkpoints.latest() == 4
        assert_same_bits(checkpoints.restore(4, abstract(state)), state)
        save_steps(checkpoints, [5, 6])
        assert checkpoints.steps() == [6]
    aside = ["2.incomplete", "6", "6.incomplete", "notes"]
    assert sorted(path.name for path in tmp_path.iterdir()) == aside


def test_a_step_without_its_marker_is_renamed_with_a_warning_and_never_replaced(tmp_path, caplog):
    with Checkpoints(tmp_path, every=1, keep=1, keep_every=2) as checkpoints:
        save_steps(checkpoints, [2, 4])
    kept = (tmp_path / "2" / "state" / "_METADATA").read_bytes()
    for times in (1, 2):
        if times == 2:
            shutil.copytree(tmp_path / "2.incomplete", tmp_path / "2")
        else:
            (tmp_path / "2" / COMMIT_MARKER).unlink()
        caplog.clear()
        with Checkpoints(tmp_path, every=1, keep=1) as checkpoints:
            assert checkpoints.steps() == [4]
        assert "2.incomplete" in caplog.text
    assert (tmp_path / "2.incomplete" / "state" / "_METADATA").read_bytes() == kept
    assert (tmp_path / "2.incomplete.1" / "state" / "_METADATA").read_bytes() == kept


def test_a_save_that_fails_in_the_background_is_raised_before_the_next(tmp_path):
    with full_disk(), pytest.raises(UnwritableWorkdir, match="step 1") as failed:
        checkpoints = Checkpoints(tmp_path, every=1)
        checkpoints.save(1, incompressible(), DATA, CONFIG)
        for _ in range(600):
            checkpoints.raise_failure()
            time.sleep(0.05)
    assert failed.value.exit_code == 74 and checkpoints.failed and checkpoints.confirmed is None
    checkpoints.close()


def test_the_error_names_a_file_in_place_of_the_checkpoints_folder(tmp_path):
    (tmp_path / "checkpoints").write_text("in the way")
    with pytest.raises(UnwritableWorkdir, match="checkpoints"):
        Checkpoints(tmp_path / "checkpoints")


def test_the_error_for_a_damaged_step_names_it_and_the_fix(tmp_path):
    # One array only: after a failure Orbax leaves reads of others running, and TensorStore
    # sometimes complains that their event loop is closed, which is harmless.
    state = {"x": jnp.arange(8.0)}
    with Checkpoints(tmp_path, every=1) as checkpoints:
        save_steps(checkpoints, [1, 2], state)
        for file in (tmp_path / "2" / "state").rglob("*"):
            if file.parent.name == "d":
                file.write_bytes(file.read_bytes()[:3])
        with pytest.raises(
            DataError, match=r"cannot read the checkpoint .*/2: .*to resume from step 1"
        ) as error:
            checkpoints.restore(2, abstract(state))
        assert len(str(error.value).splitlines()) == 1
        assert_same_bits(checkpoints.restore(1, abstract(state)), state)


@contextlib.contextmanager
def full_disk():
    """Limits files of this process to 1 MiB."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def incompressible():
    return {"x": jax.random.bits(jax.random.key(0), (4 << 20,), jnp.uint8)}


def test_a_save_that_fails_in_the_background_is_raised(tmp_path):
    checkpoints = Checkpoints(tmp_path, every=1)
    save_steps(checkpoints, [1])
    with full_disk():
        with pytest.raises(
            UnwritableWorkdir, match=r"cannot write.*step 2 .*complete one is step 1"
        ):
            checkpoints.save(2, incompressible(), DATA, CONFIG)
            checkpoints.wait()
        with pytest.raises(UnwritableWorkdir, match="step 3"):
            checkpoints.save(3, incompressible(), DATA, CONFIG)
            checkpoints.save(4, incompressible(), DATA, CONFIG)
        with pytest.raises(UnwritableWorkdir, match="step 5"):
            checkpoints.save(5, incompressible(), DATA, CONFIG)
            checkpoints.close()
    with Checkpoints(tmp_path, every=1) as again:
        assert again.latest() == 1
        save_steps(again, [2])
        assert sorted(path.name for path in tmp_path.iterdir()) == ["1", "2"]


def test_leaving_with_an_error_keeps_that_error_and_notes_the_failed_save(tmp_path):
    with (
        full_disk(),
        pytest.raises(KeyError) as error,
        Checkpoints(tmp_path, every=1) as checkpoints,
    ):
        checkpoints.save(1, incompressible(), DATA, CONFIG)
        raise KeyError("first")
    assert "cannot write the checkpoint of step 1" in error.value.__notes__[0]


def test_orbax_is_quiet_and_raises_no_warning(tmp_path):
    # A new process, since pytest captures standard error.
    code = (
        "import sys, jax.numpy as jnp\n"
        "from pretrain_jax.workdir.checkpoint import Checkpoints\n"
        "with Checkpoints(sys.argv[1], every=1, keep=1) as checkpoints:\n"
        "    for step in (1, 2): checkpoints.save(step, {'x': jnp.ones(3)}, {}, {})\n"
        "with Checkpoints(sys.argv[1], read_only=True) as checkpoints:\n"
        "    print(checkpoints.latest(), checkpoints.read_json(2, 'data'))\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, str(tmp_path)], capture_output=True, text=True
    )
    assert (done.stdout, done.stderr) == ("2 {}\n", "")


@pytest.mark.parametrize(("key", "value"), [("every", 0), ("keep", 0), ("keep_every", -1)])
def test_bad_options_are_refused_before_anything_is_written(tmp_path, key, value):
    with pytest.raises(ConfigError, match=f"checkpoint.{key} must be at least .; received {value}"):
        Checkpoints(tmp_path / "new", False, **{key: value})
    assert not (tmp_path / "new").exists()


SAVE_FOREVER = """
import itertools, sys
import jax, jax.numpy as jnp
from pretrain_jax.workdir.checkpoint import Checkpoints

with Checkpoints(sys.argv[1], every=1, keep=2) as checkpoints:
    last = checkpoints.latest() or 0
    noise = jax.random.bits(jax.random.key(0), (8, 1 << 20), jnp.uint8)
    for step in itertools.count(last + 1):
        state = {"noise": noise ^ jnp.uint8(step), "step": jnp.uint32(step)}
        checkpoints.save(step, state, {"step": step}, {})
        print(step - 1, flush=True)  # save waits until the previous step is committed
"""


def test_kill_9_during_a_save_leaves_the_last_committed_step(tmp_path):
    directory = tmp_path / "checkpoints"
    noise = np.asarray(jax.random.bits(jax.random.key(0), (8, 1 << 20), jnp.uint8))
    cut_short = 0
    acknowledged = 0
    for delay in (0.0, 0.01, 0.03, 0.1):
        child = subprocess.Popen(
            [sys.executable, "-c", SAVE_FOREVER, directory], stdout=subprocess.PIPE, text=True
        )
        assert child.stdout is not None
        lines = []
        try:
            lines += [child.stdout.readline(), child.stdout.readline()]
            while not list(directory.glob("*tmp*")):
                time.sleep(0.001)
            time.sleep(delay)
        finally:
            child.send_signal(signal.SIGKILL)
            lines += child.communicate()[0].splitlines()
        assert child.returncode == -signal.SIGKILL
        acknowledged = max([acknowledged, *(int(line) for line in lines if line.strip())])
        cut_short += bool(list(directory.glob("*tmp*")))

        with Checkpoints(directory, every=1, keep=2) as checkpoints:
            latest = checkpoints.latest()
            assert latest is not None
            assert latest >= acknowledged
            abstract_state = {
                "noise": jax.ShapeDtypeStruct(noise.shape, noise.dtype),
                "step": jax.ShapeDtypeStruct((), checkpoints.metadata(latest)["step"].dtype),
            }
            restored = checkpoints.restore(latest, abstract_state)
            assert restored["step"] == latest
            assert np.array_equal(restored["noise"], noise ^ np.uint8(latest))
            assert checkpoints.read_json(latest, "data") == {"step": latest}
            state = {"noise": noise, "step": np.uint32(latest + 1)}
            checkpoints.save(latest + 1, jax.tree.map(jnp.asarray, state), {}, {})
            checkpoints.wait()
            assert not list(directory.glob("*tmp*"))
            # Differs from what the child would write: it must resume from the previous step.
            (directory / str(latest + 1) / COMMIT_MARKER).unlink()
    assert cut_short >= 1, "no kill fell inside a save: the test shows nothing"


def test_json_parts_are_plain_files(tmp_path):
    with Checkpoints(tmp_path, every=1) as checkpoints:
        save_steps(checkpoints, [1])
    assert json.loads((tmp_path / "1" / "data" / "metadata").read_text()) == DATA
