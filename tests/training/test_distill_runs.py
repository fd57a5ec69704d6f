"""Distillation end to end: the losses of a short independent version, a student of every second
layer, and what a run of it stores."""

import shutil

import jax
import numpy as np
import pytest
import tiny_job
from etils import epath

import pretrain_jax
from pretrain_jax import main
from pretrain_jax.composition import config, resume
from pretrain_jax.composition.build import build_design
from pretrain_jax.errors import ConfigError, InputMissing, WorkdirMismatch
from pretrain_jax.estimates import flops
from pretrain_jax.inference import restore
from pretrain_jax.objectives import distill, masked_lm
from pretrain_jax.optim.trees import named_leaves
from pretrain_jax.workdir.checkpoint import Checkpoints

pytestmark = pytest.mark.usefixtures("one_device")

SHORT = ["--config.train.steps=20", "--config.eval.every=0"]
STUDENT = [
    "--config.objective.name=distill",
    "--config.model.layers=2",
    "--config.model.dropout=0.0",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A teacher of four layers."""
    root = tmp_path_factory.mktemp("distill")
    tiny_job.write(root)
    assert run(root, "teacher", "--config.model.layers=4", "--config.train.steps=60") == 0
    return root


def run(folder, name, *options):
    return main.main([f"--config={folder}/tiny.py", f"--workdir={folder}/{name}", *options])


def student(folder, *options):
    teacher = f"{folder}/teacher"
    return [
        *(f"--config.objective.teacher={teacher}", f"--config.init_from={teacher}"),
        *("--config.init_layers=(1,3)", *STUDENT, *SHORT, *options),
    ]


def test_a_student_starts_from_the_chosen_layers_and_stores_no_teacher(folder):
    assert run(folder, "student", *student(folder)) == 0
    with Checkpoints(epath.Path(folder / "student/checkpoints"), read_only=True) as checkpoints:
        names = set(checkpoints.metadata(20))
    assert not any("teacher" in name for name in names)
    model = pretrain_jax.load(folder / "student")
    assert model.design.spec.model.layers == 2
    assert model.generate(["the cat"], tokens=3)[0].text
    assert run(folder, "halves", *student(folder), "--config.train.steps=10") == 0
    assert run(folder, "halves", *student(folder)) == 0
    assert tiny_job.losses(folder / "halves") == tiny_job.losses(folder / "student")


def test_a_student_keeps_its_teacher(folder):
    options = student(folder, "--config.train.steps=10")
    assert run(folder, "kept", *options) == 0
    shutil.copytree(folder / "teacher", folder / "moved")
    longer = [*options, f"--config.objective.teacher={folder}/moved"]
    assert run(folder, "kept", *longer, "--config.train.steps=12") == 0
    assert run(folder, "moved", "--config.model.layers=4", "--config.train.steps=61") == 0
    with pytest.raises(ConfigError, match="a student keeps its teacher"):
        run(folder, "kept", *longer, "--config.train.steps=14")
    step = f"--config.objective.teacher={folder}/moved/checkpoints/60"
    assert run(folder, "kept", *longer, step, "--config.train.steps=14") == 0


def test_preflight_and_compile_know_the_teacher(folder, capsys):
    for mode in ("preflight", "compile"):
        assert run(folder, "new", *student(folder), f"--mode={mode}") == 0
    assert not (folder / "new").exists()


def test_an_update_costs_three_passes_of_the_student_and_one_of_the_teacher(folder):
    both = design_of(folder)
    plain = [("model.layers", "2"), ("model.dropout", "0.0")]
    settings = config.read(f"{folder}/tiny.py", plain)
    fixed, _ = resume.config_to_resume(settings, epath.Path(folder) / "nowhere")
    alone = build_design(fixed, tuple(jax.devices()[:1]))
    assert both.teacher is not None
    teacher = flops.per_token(both.teacher, 16) / 3
    assert flops.per_token(both, 16) == pytest.approx(flops.per_token(alone, 16) + teacher)


def test_the_layers_are_the_teachers(folder):
    _, taken = first_params(folder)
    teacher = restore.restore_params(restore.load_design(folder / "teacher"), folder / "teacher")
    theirs = dict(named_leaves(teacher.params))
    for name, leaf in named_leaves(taken):
        wanted = theirs[name][np.array([1, 3])] if "/layers/" in name else theirs[name]
        assert np.array_equal(leaf, wanted), name


def first_params(folder):
    from pretrain_jax.cluster.hosts import SINGLE_PROCESS
    from pretrain_jax.composition import init_from, restore_source

    design = design_of(folder)
    tokenizer = init_from.load_source_tokenizer(f"{folder}/teacher")
    return design, restore_source.first_params(design, SINGLE_PROCESS, tokenizer)


def design_of(folder, *changes):
    pairs = [
        ("init_from", f"{folder}/teacher"),
        ("init_layers", "(1,3)"),
        ("objective.name", "distill"),
        ("objective.teacher", f"{folder}/teacher"),
        ("model.layers", "2"),
        ("model.dropout", "0.0"),
        *changes,
    ]
    settings = config.read(f"{folder}/tiny.py", pairs)
    fixed, _ = resume.config_to_resume(settings, epath.Path(folder) / "nowhere")
    return build_design(fixed, tuple(jax.devices()[:1]))


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_the_losses_by_hand(folder, temperature):
    changes = [("objective.temperature", str(temperature)), ("objective.cosine_weight", "1.0")]
    design = design_of(folder, *changes)
    _, params = first_params(folder)
    teacher = restore.restore_params(restore.load_design(folder / "teacher"), folder / "teacher")
    draw = np.random.default_rng(0)
    ids = draw.integers(0, 255, (2, 17)).astype(np.int32)
    ones = np.ones((2, 16), np.int32)
    weights = draw.integers(0, 2, (2, 16)).astype(np.float32)
    batch = {"tokens": ids[:, :-1], "targets": ids[:, 1:], "weights": weights, "segments": ones,
             "positions": ones * np.arange(16, dtype=np.int32)}  # fmt: skip
    sums = design.update.program.loss(
        design.placement.apply, {**params, distill.TEACHER: teacher.params}, batch,
        jax.random.key(0), True,
    )  # fmt: skip

    def logits_and_hidden(design, params):
        output = design.placement.apply(params, batch, jax.random.key(0), False)
        hidden = np.asarray(output.hidden, np.float64)
        table = np.asarray(output.readout.table[: output.readout.vocab_size], np.float64)
        return hidden @ table.T * output.readout.scale, hidden

    def log_softmax(x):
        x = x - x.max(-1, keepdims=True)
        return x - np.log(np.exp(x).sum(-1, keepdims=True))

    ours, h = logits_and_hidden(design, params)
    theirs, g = logits_and_hidden(teacher.design, teacher.params)
    p, q = log_softmax(theirs / temperature), log_softmax(ours / temperature)
    divergence = temperature**2 * (np.exp(p) * (p - q)).sum(-1)
    nll = -np.take_along_axis(log_softmax(ours), batch["targets"][..., None], -1)[..., 0]
    cosine = 1 - (h * g).sum(-1) / np.linalg.norm(h, axis=-1) / np.linalg.norm(g, axis=-1)
    for name, wanted in (("distill", divergence), ("loss", nll), ("cosine", cosine)):
        total, weight = sums[name]
        assert float(total) == pytest.approx((wanted * weights).sum(), rel=1e-5), name
        assert float(weight) == weights.sum()


def test_a_student_comes_nearer_to_its_teacher(folder):
    assert run(folder, "near", *student(folder), "--config.train.steps=40") == 0
    lines = tiny_job.lines(folder / "near")
    terms = [line["train/distill"] for line in lines if "train/distill" in line]
    assert np.mean(terms[-5:]) < 0.7 * np.mean(terms[:5])


def test_options_weigh_the_losses_and_mask_the_text():
    made = distill.build(
        teacher="runs/a", task="masked_lm", rate=0.4, distill_weight=3.0, loss_weight=0.5
    )
    assert made.coefficients == {"distill": 3.0, "loss": 0.5}
    assert made.lengths(100) == masked_lm.build(rate=0.4).lengths(100)
    assert made.teacher_objective == {"name": "masked_lm", "rate": 0.4}


def test_wrong_teachers_are_refused(folder):
    with pytest.raises(ConfigError, match="must be the workdir of a trained model"):
        run(folder, "none", *STUDENT, *SHORT)
    with pytest.raises(InputMissing, match="must be the workdir of a run"):
        run(folder, "none", *STUDENT, *SHORT, f"--config.objective.teacher={folder}/nowhere")
    with pytest.raises(ConfigError, match="must be layers of the run"):
        run(folder, "none", *student(folder), "--config.init_layers=(1,4)")
    with pytest.raises(WorkdirMismatch):
        run(folder, "none", *student(folder), "--config.model.layers=3")
    assert not (folder / "none/config.json").exists()
