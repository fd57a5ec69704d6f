"""Runs with an adapter: what is stored, resuming, other and moved bases, every optimizer."""

import functools
import os
import shutil

import jax
import numpy as np
import pytest
import tiny_job
from etils import epath

import pretrain_jax
from pretrain_jax import main
from pretrain_jax.cluster.hosts import SINGLE_PROCESS
from pretrain_jax.composition import config, restore_source, resume
from pretrain_jax.composition.build import build_design
from pretrain_jax.digest import digest_arrays
from pretrain_jax.errors import ConfigError, InputMissing, WorkdirMismatch
from pretrain_jax.inference import features, restore, sampling
from pretrain_jax.optim import optimizers
from pretrain_jax.optim.trees import join_trees, named_leaves
from pretrain_jax.workdir.checkpoint import Checkpoints

pytestmark = pytest.mark.usefixtures("one_device")

LORA = ["--config.adapter.name=lora", "--config.adapter.rank=2"]
SHORT = ["--config.train.steps=20", "--config.eval.every=0"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two trained bases, and a run with LoRA over the first."""
    root = tmp_path_factory.mktemp("adapters")
    tiny_job.write(root)
    for name, seed in (("base", 3), ("other", 4)):
        assert run(root, name, f"--config.seed={seed}", *SHORT) == 0
    assert run(root, "lora", f"--config.init_from={root}/base", *LORA, *SHORT) == 0
    return root


def run(folder, name, *options):
    return main.main([f"--config={folder}/tiny.py", f"--workdir={folder}/{name}", *options])


def arrays(workdir):
    restored = restore.restore_params(restore.load_design(workdir), workdir)
    return {name: np.asarray(leaf) for name, leaf in named_leaves(restored.params)}


def stored(workdir):
    """Names of the arrays of the last checkpoint."""
    with Checkpoints(epath.Path(workdir) / "checkpoints", read_only=True) as checkpoints:
        step = checkpoints.latest()
        assert step is not None
        return set(checkpoints.metadata(step))


def test_the_base_keeps_its_bits_and_only_the_adapter_is_stored(folder):
    base, adapted = arrays(folder / "base"), arrays(folder / "lora")
    own = adapted.keys() - base.keys()
    assert own == {name for name in adapted if "lora_" in name} and len(own) == 4
    assert all(np.array_equal(base[name], adapted[name]) for name in base)
    assert any(adapted[name].any() for name in own if "lora_out" in name)  # it has trained
    names = stored(folder / "lora")
    assert {name for name in names if name.startswith("params/")} == {f"params/{n}" for n in own}
    moments = {name for name in names if name.startswith("opt_state/") and "/stack/" in name}
    assert moments and all("lora_" in name for name in moments)


def test_the_first_loss_is_that_of_the_base(folder):
    """The adapted model starts as the base: an evaluation before any update gives the base's."""
    base = restore.restore_params(restore.load_design(folder / "base"), folder / "base")
    settings = config.read(
        f"{folder}/tiny.py",
        [("init_from", f"{folder}/base"), ("adapter.name", "lora"), ("train.steps", "20")],
    )
    fixed, _ = resume.config_to_resume(settings, epath.Path(folder) / "nowhere")
    design = build_design(fixed, tuple(jax.devices()[:1]))
    fresh = design.update.init_params()
    taken = restore_source.restore_source_params(design, fresh, SINGLE_PROCESS, base.tokenizer)
    row = {k: np.zeros(s.shape, s.dtype) for k, s in design.task.batch_shapes(1, 16).items()}
    row["segments"] += 1
    row["positions"] += np.arange(16, dtype=np.int32)
    row["tokens"] += np.arange(16, dtype=np.int32)
    apply = lambda model, params: model.apply(params, row, jax.random.key(0), False).hidden  # noqa: E731
    assert np.array_equal(apply(base.design.model, base.params), apply(design.model, taken))


def test_resuming_gives_the_same_bits(folder):
    at_once = arrays(folder / "lora")
    parts = f"--config.init_from={folder}/base"
    options = [parts, *LORA, "--config.eval.every=0"]
    assert run(folder, "resumed", *options, "--config.train.steps=10") == 0
    assert run(folder, "resumed", *options, "--config.train.steps=20") == 0
    assert tiny_job.losses(folder / "resumed") == tiny_job.losses(folder / "lora")
    again = arrays(folder / "resumed")
    assert all(np.array_equal(at_once[name], again[name]) for name in at_once)


def test_another_base_is_refused_and_a_moved_one_is_found(folder, capsys):
    before = {path: path.stat().st_mtime_ns for path in (folder / "lora").rglob("*.json*")}
    more = [*LORA, "--config.eval.every=0", "--config.train.steps=30"]
    with pytest.raises(ConfigError, match="needs the parameters that it was trained on") as caught:
        run(folder, "lora", f"--config.init_from={folder}/other", *more)
    assert "\n" not in str(caught.value).strip()
    assert before == {path: path.stat().st_mtime_ns for path in (folder / "lora").rglob("*.json*")}
    shutil.copytree(folder / "lora", folder / "longer")
    shutil.copytree(folder / "base", folder / "moved")
    assert run(folder, "longer", f"--config.init_from={folder}/moved", *more) == 0
    assert restore.load_design(folder / "longer").spec.init_from == os.fspath(folder / "moved")


def test_a_run_cannot_start_from_an_adapter_alone(folder):
    with pytest.raises(WorkdirMismatch, match="has only those of its adapter, lora"):
        run(folder, "next", f"--config.init_from={folder}/lora", *SHORT)
    assert not (folder / "next/config.json").exists()


def test_merging_gives_a_model_without_an_adapter(folder):
    adapted = restore.restore_params(restore.load_design(folder / "lora"), folder / "lora")
    merged = restore.merge_adapter(adapted)
    assert {name for name, _ in named_leaves(merged.params)} == arrays(folder / "base").keys()
    assert merged.design.spec.adapter.name == "none"


def test_adapters_share_the_arrays_of_their_base(folder):
    bitfit = ["--config.adapter.name=bitfit", *SHORT]
    assert run(folder, "bitfit", f"--config.init_from={folder}/base", *bitfit) == 0
    model = pretrain_jax.load(folder / "base")
    ids = np.arange(1, 15)[None]
    plain = model.logits(ids)
    for name in ("lora", "bitfit"):
        adapted = model.with_adapter(folder / name)
        alone = pretrain_jax.load(folder / name)
        assert np.array_equal(adapted.logits(ids), alone.logits(ids))
        assert not np.array_equal(adapted.logits(ids), plain)
        ours = dict(named_leaves(adapted.generator.params))
        shared = [x is ours.get(n) for n, x in named_leaves(model.generator.params)]
        assert sum(shared) > len(shared) / 3
    assert np.array_equal(model.logits(ids), plain)
    with pytest.raises(ConfigError, match="needs the parameters that it was trained on"):
        pretrain_jax.load(folder / "other").with_adapter(folder / "lora")
    with pytest.raises(ConfigError, match="needs the run of an adapter"):
        model.with_adapter(folder / "other")


@pytest.mark.parametrize("name", ["prompt", "prefix"])
def test_all_uses_of_a_model_read_its_places(folder, name):
    options = [f"--config.adapter.name={name}", "--config.adapter.tokens=3", *SHORT]
    options += ["--config.optimizer.learning_rate=0.3"]
    assert run(folder, name, f"--config.init_from={folder}/base", *options) == 0
    model, base = pretrain_jax.load(folder / name), pretrain_jax.load(folder / "base")
    row = model.prompt("the cat", 1)["tokens"]
    ids = row[row >= 0][None]
    logits = model.logits(ids)
    assert logits.shape == base.logits(ids).shape
    assert not np.allclose(logits, base.logits(ids), atol=1e-4)
    made = model.generate(["the cat"], tokens=1, temperature=0)[0]
    likeliest = jax.nn.log_softmax(logits[0, -1, : model.tokenizer.size]).max()
    np.testing.assert_allclose(made.log_probabilities[0], likeliest, atol=1e-5)
    texts = ["the cat", "a dog ran"]
    for pooling in ("first", "last", "mean"):
        one, other = model.embed(texts, pooling=pooling)
        assert pooling == "first" or not np.allclose(one, other)
    with pytest.raises(ConfigError, match="needs a model without an adapter"):
        model.with_adapter(folder / "lora")


@pytest.mark.parametrize(("pooling", "value"), [("first", 2), ("last", 4), ("mean", 3)])
def test_pooling_leaves_out_places_and_padding(pooling, value):
    hidden = jax.numpy.arange(7.0)[None, :, None]
    inside = jax.numpy.array([[False, False, True, True, True, False, False]])
    assert features.pool(hidden, inside, pooling).tolist() == [[value]]


def test_places_are_no_tokens_that_a_text_has():
    tokens = jax.numpy.array([[-1, -2, 5, 0]])
    seen = sampling.seen_tokens(tokens, jax.numpy.array([2]), 8)
    assert np.flatnonzero(seen[0]).tolist() == [5]


@pytest.mark.parametrize(
    ("path", "step", "message"),
    [(5, None, "path must be"), (None, None, "path must be"), ("lora", "1", "step must be"),
     ("lora", True, "step must be"), ("lora", 1.5, "step must be")],
)  # fmt: skip
def test_wrong_arguments_are_refused(folder, path, step, message):
    model = pretrain_jax.load(folder / "base")
    for use in (model.with_adapter, pretrain_jax.load):
        with pytest.raises(ConfigError, match=message):
            use(folder / path if path == "lora" else path, step)


def test_a_finished_run_learns_the_new_place_of_its_base(folder):
    shutil.copytree(folder / "lora", folder / "finished")
    shutil.copytree(folder / "base", folder / "elsewhere")
    moved = [f"--config.init_from={folder}/elsewhere", *LORA, *SHORT]
    assert run(folder, "finished", *moved) == 0
    assert restore.load_design(folder / "finished").spec.init_from == f"{folder}/elsewhere"
    shutil.rmtree(folder / "elsewhere")
    with pytest.raises(InputMissing, match=r"there is no .*elsewhere\. If it has moved"):
        pretrain_jax.load(folder / "finished")


def test_a_damaged_config_is_refused(folder):
    shutil.copytree(folder / "lora", folder / "wrong")
    text = (folder / "wrong/config.json").read_text()
    (folder / "wrong/config.json").write_text(text.replace('"rank": 2', '"rank": "x"'))
    with pytest.raises(ConfigError, match=r"adapter\.rank"):
        pretrain_jax.load(folder / "wrong")


def adapted_design(folder, *overrides, count=1):
    pairs = [("init_from", f"{folder}/base"), ("adapter.name", "lora"), *overrides]
    settings = config.read(f"{folder}/tiny.py", pairs)
    fixed, _ = resume.config_to_resume(settings, epath.Path(folder) / "nowhere")
    return build_design(fixed, tuple(jax.devices()[:count]))


def train(design, steps=3):
    """(losses, digests of the frozen parameters before and after, the state)."""
    _, frozen = design.model.split(design.update.init_params())
    state = design.update.init_state()
    before, phase = digest_arrays(frozen), design.spec.phases[0]
    step = design.update.step.trace(*design.update.abstract_arguments(phase)).lower().compile()
    losses = []
    for number in range(steps):
        draw = np.random.default_rng(number).integers(0, 255, (8, 17)).astype(np.int32)
        ones = np.ones((8, 16), np.int32)
        rows = {
            "tokens": draw[:, :-1],
            "targets": draw[:, 1:],
            "weights": ones.astype(np.float32),
            "segments": ones,
            "positions": ones * np.arange(16, dtype=np.int32),
        }
        batch = design.placement.rows.to_global(rows, 8)
        state, metrics = step(state, batch, frozen)
        losses.append(float(metrics["loss"]))
    return losses, (before, digest_arrays(frozen)), state


@pytest.mark.parametrize("optimizer", optimizers.OPTIMIZERS)
def test_every_optimizer_trains_the_adapter_alone(folder, optimizer):
    design = adapted_design(folder, ("optimizer.name", optimizer), ("optimizer.warmup_steps", "0"))
    losses, (before, after), state = train(design)
    assert before == after and np.isfinite(losses).all()
    names = [name for name, _ in named_leaves(state.params)]
    assert names and all("lora_" in name for name in names)
    assert any(np.asarray(leaf).any() for name, leaf in named_leaves(state.params) if "out" in name)
    sizes = {leaf.size for _, leaf in named_leaves(state.opt_state)}
    assert max(sizes) <= max(leaf.size for _, leaf in named_leaves(state.params))


@functools.cache
def losses_alone(folder):
    return train(adapted_design(folder))[0]


@pytest.mark.usefixtures("all_devices")
@pytest.mark.parametrize("how", ["mesh", "remat", "unroll", "accumulate"])
def test_losses_do_not_depend_on_how_the_model_runs(folder, how):
    changes = {
        "mesh": [("mesh.data", "2"), ("mesh.fsdp", "2"), ("mesh.tensor", "2")],
        "remat": [("model.remat", "full")],
        "unroll": [("model.unroll", "2")],
        "accumulate": [("train.accumulate", "2"), ("model.dropout", "0.0")],
    }[how]
    plain = losses_alone(folder)
    if how == "accumulate":
        plain = train(adapted_design(folder, ("model.dropout", "0.0")))[0]
    losses, (before, after), _ = train(
        adapted_design(folder, *changes, count=8 if how == "mesh" else 1)
    )
    assert before == after
    np.testing.assert_allclose(losses, plain, rtol=1e-5)


@pytest.mark.usefixtures("all_devices")
def test_a_digest_depends_on_every_bit_and_on_no_mesh():
    devices = np.array(jax.devices()).reshape(2, 4)
    mesh = jax.sharding.Mesh(devices, ("a", "b"))
    x = np.random.default_rng(0).normal(size=(8, 12)).astype(np.float32)
    wanted = digest_arrays({"x": x})
    for spec in (("a",), (None, "b"), ("a", "b"), (("a", "b"),)):
        sharding = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(*spec))
        assert digest_arrays({"x": jax.device_put(x, sharding)}) == wanted
    assert digest_arrays({"y": x}) != wanted
    assert digest_arrays({"x": x.reshape(12, 8)}) != wanted
    swapped = x.copy()
    swapped[[0, 1]] = swapped[[1, 0]]
    assert digest_arrays({"x": swapped}) != wanted
    bits = x.copy().view(np.uint32).ravel()
    draw = np.random.default_rng(1)
    for _ in range(50):
        flipped = bits.copy()
        flipped[draw.integers(len(bits))] ^= np.uint32(1 << draw.integers(32))
        assert digest_arrays({"x": flipped.view(np.float32).reshape(x.shape)}) != wanted
    low = {"x": jax.numpy.asarray(x, jax.numpy.bfloat16), "n": np.int32(3)}
    assert digest_arrays(low) == digest_arrays(jax.tree.map(np.asarray, low))
    assert join_trees({"a": {"x": 1}}, {}) == {"a": {"x": 1}}
