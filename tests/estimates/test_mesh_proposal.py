"""Proposed meshes are legal, and their options can be pasted."""

import re

import jax
import pytest
import tiny_job

from pretrain_jax.composition import build, config
from pretrain_jax.errors import ConfigError
from pretrain_jax.estimates import mesh_proposal, sizes
from pretrain_jax.planning import aot


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    return tiny_job.write(tmp_path_factory.mktemp("propose"))


def settings(job, *options: str):
    """The config with command line options such as "--config.mesh.data=4"."""
    words = [option.removeprefix("--config.").partition("=") for option in options]
    return build.fix_schedule(config.read(str(job), [(key, value) for key, _, value in words]))


def design(job, *options: str, devices: int = 8) -> build.Design:
    return build.build_design(settings(job, *options), tuple(jax.devices()[:devices]))


ILLEGAL = [
    ["--config.mesh.tensor=3"],
    ["--config.mesh.tensor=8"],  # two heads
    ["--config.mesh.data=5"],
    ["--config.train.batch_size=12"],
    ["--config.train.batch_size=2"],  # fewer rows than devices
    ["--config.train.accumulate=3"],
    ["--config.mesh.sequence=8", "--config.data.seq_len=12"],
    ["--config.model.width=20", "--config.mesh.data=1", "--config.mesh.fsdp=-1"],
    ["--config.train.phases=((0, {'batch_size': 4}), (9, {'batch_size': 8}))"],
]


@pytest.mark.parametrize("options", ILLEGAL)
def test_the_options_in_the_error_are_legal(job, options):
    wrong = design(job, *options)
    with pytest.raises(ConfigError):
        wrong.check()
    with pytest.raises(ConfigError) as raised:
        mesh_proposal.check_design(wrong)
    pasted = re.findall(r"--config\.(?:mesh|train)\.\w+=\d+", str(raised.value))
    assert {word.partition("=")[0] for word in pasted} >= {"--config.mesh.data"}
    design(job, *options, *pasted).check()


@pytest.mark.parametrize(
    ("options", "devices"),
    [
        (["--config.model.heads=3"], 8),  # not the mesh
        ([], 7),  # no size divides by 7
    ],
)
def test_nothing_is_proposed_if_no_mesh_helps(job, options, devices):
    wrong = design(job, *options, devices=devices)
    with pytest.raises(ConfigError) as plain:
        wrong.check()
    with pytest.raises(ConfigError) as raised:
        mesh_proposal.check_design(wrong)
    assert str(raised.value) == str(plain.value)


def test_the_nearest_mesh_keeps_values_that_divide(job):
    first = next(mesh_proposal.legal_changes(design(job, "--config.train.batch_size=12")))
    assert first["mesh.tensor"] == 2 and first["mesh.data"] == 4
    same = next(mesh_proposal.legal_changes(design(job, "--config.mesh.fsdp=4")))
    assert (same["mesh.data"], same["mesh.fsdp"], same["mesh.tensor"]) == (2, 4, 1)
    assert "train.accumulate" not in same


def test_a_proposed_mesh_has_a_lower_estimate(job):
    built = design(job)
    need = sizes.memory_per_device(built)["total"]
    found = mesh_proposal.propose_fit(built, 2.0 * need, 1.2 * need)  # 60 % of its need
    assert found is not None
    assert sizes.memory_per_device(mesh_proposal.apply_changes(built, found))["total"] <= 0.6 * need
    assert mesh_proposal.propose_fit(built, need, need / 1000) is None


def test_a_report_that_does_not_fit_proposes_options(job, monkeypatch):
    report = {"fits": False, "peak_bytes_per_device": 100, "usable_bytes_per_device": 80}
    monkeypatch.setattr(aot, "report_design", lambda design, full: dict(report))
    found = aot.report_config(settings(job), jax.devices())
    assert mesh_proposal.format_options(found["proposed"]).startswith("--config.mesh.data=")
