"""Families other than GPT as full jobs: they learn, resume exactly, and run on any mesh."""

import functools
from pathlib import Path

import numpy as np
import pytest
import tiny_job
from program_cache import fresh_programs

from pretrain_jax.composition import config
from pretrain_jax.training import loop

pytestmark = pytest.mark.usefixtures("one_device")

STEPS = 24
SHARED = {
    "train.steps": STEPS,
    "train.accumulate": 2,
    "train.batch_size": 16,
    "data.seq_len": 32,
    "optimizer.decay_steps": STEPS,
    "eval.every": 0,
    "eval.tokens": 300,
    "checkpoint.every": 1000,
    "model.vocab_size": 264,
}
BERT = {"model.name": "bert", "model.max_length": 32, "eval.pseudo_tokens": 40}
T5 = {"model.name": "t5", "model.head_width": 8, "tokenizer.sentinels": 2, "model.vocab_size": 264}
LLAMA = {"model.name": "llama", "model.heads": 4, "model.kv_heads": 2}
FAMILIES = {
    "llama": {**LLAMA, "objective.name": "causal_lm"},
    "bert": {**BERT, "objective.name": "next_sentence", "objective.copies": 10},
    "spanbert": {**BERT, "objective.name": "span_boundary"},
    "electra": {**BERT, "model.name": "electra", "objective.name": "replaced_token"},
    "t5": {**T5, "objective.name": "span_corruption"},
}
REPORTED = {
    "llama": {"valid/accuracy", "yardstick/bigram"},
    "bert": {"valid/accuracy", "valid/next_sentence", "valid/next_sentence_accuracy"},
    "spanbert": {"valid/accuracy", "valid/span_boundary", "valid/span_boundary_accuracy"},
    "electra": {
        "valid/accuracy",
        "valid/discriminator",
        "valid/discriminator_accuracy",
        "valid/discriminator_recall",
        "yardstick/always_original",
    },
    "t5": {"valid/accuracy", "valid/span_exact_match"},
}
every_family = pytest.mark.parametrize("family", FAMILIES)


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    return tiny_job.write(tmp_path_factory.mktemp("families"))


@pytest.fixture(scope="module")
def train(job, tmp_path_factory):
    """train(family, workdir, **changes) -> the workdir."""

    def run(family: str, workdir: Path, **changes) -> Path:
        changes = {**SHARED, **FAMILIES[family], **changes}
        overrides = [(key, str(value)) for key, value in changes.items()]
        loop.train(config.read(str(job), overrides), str(workdir))
        return workdir

    return run


@pytest.fixture(scope="module")
def straight(train, tmp_path_factory):
    """straight(family) -> the workdir of an uninterrupted run."""
    return functools.cache(
        lambda family: train(family, tmp_path_factory.mktemp(f"straight-{family}") / "run")
    )


@every_family
def test_it_learns_and_reports_its_metrics(straight, family):
    rows = tiny_job.lines(straight(family))
    losses = list(tiny_job.losses(straight(family)).values())
    assert len(losses) == STEPS
    assert np.mean(losses[-4:]) < np.mean(losses[:4])
    last = rows[-1]
    assert last.keys() >= REPORTED[family] | {"valid/loss", "yardstick/unigram"}
    assert ("valid/pseudo_perplexity" in last) == (family not in ("llama", "t5"))
    assert ("yardstick/bigram" in last) == (family == "llama")


@pytest.mark.parametrize("family", ["electra", "t5"])
def test_stopped_and_resumed_gives_the_same_bits(job, train, straight, tmp_path, family):
    train(family, tmp_path / "run", **{"train.steps": 11})
    with fresh_programs():
        train(family, tmp_path / "run")
    assert tiny_job.losses(tmp_path / "run") == tiny_job.losses(straight(family))
    changes = {**SHARED, **FAMILIES[family]}
    settings = config.read(str(job), [(key, str(value)) for key, value in changes.items()])
    assert tiny_job.digest(settings, tmp_path / "run") == tiny_job.digest(
        settings, straight(family)
    )


@pytest.mark.usefixtures("all_devices")
@pytest.mark.parametrize("family", ["bert", "t5", "llama"])
def test_a_mesh_changes_no_loss(train, straight, tmp_path, family):
    """One device, and a 2 x 2 x 2 mesh: noise and dropout are the same."""
    axes = {"mesh.data": 2, "mesh.fsdp": 2, "mesh.tensor": 2}
    found = tiny_job.losses(train(family, tmp_path / "run", **axes))
    expected = tiny_job.losses(straight(family))
    off = [abs(found[step] / expected[step] - 1) for step in range(1, STEPS + 1)]
    assert max(off) < 1e-5, off
