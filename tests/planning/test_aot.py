"""The training step compiled ahead: what it says of memory, network and time."""

import importlib.util
import itertools
import json
import subprocess
import sys

import jax
import pytest
import tiny_job

from pretrain_jax import main
from pretrain_jax.composition import build, config
from pretrain_jax.devices import chips, gpus
from pretrain_jax.errors import ConfigError
from pretrain_jax.estimates import flops, sizes
from pretrain_jax.planning import aot, search

needs_libtpu = pytest.mark.skipif(
    importlib.util.find_spec("libtpu") is None, reason="libtpu is not installed: the extra tpu"
)


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    return tiny_job.write(tmp_path_factory.mktemp("ahead"))


def design(job, **changes):
    overrides = [(key, str(value)) for key, value in changes.items()]
    return build.build_design(
        build.fix_schedule(config.read(str(job), overrides)), tuple(jax.devices())
    )


def test_a_report_on_the_devices_that_are_here(job):
    """Eight devices split the batch: each sends 2 x 7/8 of the gradients, and those of the tied
    embedding's two uses apart."""
    of = design(job)
    found = aot.report_design(of)
    assert found["devices"] == 8 and found["mesh"]["data"] == 8
    assert found["parameters"] == sum(sizes.count_parameters(of).values())
    assert found["tokens_per_step"] == 8 * 16
    state = found["parameter_bytes_per_device"] + found["optimizer_bytes_per_device"]
    assert found["peak_bytes_per_device"] > state
    gradients = 2 * 7 / 8 * found["parameter_bytes_per_device"]
    assert gradients * 0.99 < found["collective_bytes_per_device"] < gradients * 2
    assert found["fits"] is None and found["estimated_mfu"] is None  # nobody knows a CPU's
    assert found["uncounted_loops"] == []


def test_flops_count_recomputation(job):
    plain, again = (
        aot.report_design(design(job, **{"model.remat": remat}))["flops_per_device"]
        for remat in ("none", "full")
    )
    # Of 8 products' worth (2 forward, 4 backward, for layers and read-out) the layers' 2 again.
    assert 1.1 < again / plain < 4 / 3


def test_flops_are_those_of_the_batch_however_many_microbatches_it_has(job):
    """The pass that sums the weights of all microbatches multiplies nothing that is kept."""
    batch = {"train.batch_size": 32}
    one, four = (
        flops.count_executed(found.update.trace(found.task.largest_phase))
        for found in (design(job, **batch, **{"train.accumulate": count}) for count in (1, 4))
    )
    assert one == pytest.approx(four, rel=0.01)


def test_split_parameters_take_less_memory_and_more_network(job):
    whole, split = (
        aot.report_design(design(job, **{"mesh.data": 8 // ways, "mesh.fsdp": ways}))
        for ways in (1, 8)
    )
    assert split["parameter_bytes_per_device"] < whole["parameter_bytes_per_device"] / 4
    assert split["collective_bytes_per_device"] > whole["collective_bytes_per_device"]


def test_a_mesh_that_does_not_fit_is_refused_before_compiling(job):
    with pytest.raises(ConfigError, match=r"mesh\.fsdp"):
        aot.report_design(design(job, **{"mesh.data": 1, "mesh.fsdp": 3}))


def test_the_roofline_is_the_slowest_of_three():
    chip = chips.Chip(flops=100.0, memory=1, memory_rate=10.0, link_rate=1.0)
    names = ("flops_per_device", "memory_bytes_per_device", "collective_bytes_per_device")
    found = aot.roofline(chip, dict(zip(names, (200.0, 50.0, 4.0), strict=True)), model_flops=150.0)
    assert found["seconds"] == {"products": 2.0, "memory": 5.0, "network": 2.0}
    assert found["estimated_mfu"] == pytest.approx(150 / 100 / 5)


def test_json_is_all_of_standard_output(job, capsys):
    assert main.main([f"--config={job}", "--mode=compile", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["devices"] == 8


def test_the_table_says_what_the_json_says(job, capsys):
    assert main.main([f"--config={job}", "--mode=compile"]) == 0
    told = capsys.readouterr().out
    assert "bytes sent" in told and "(mesh data 8)" in told


@pytest.mark.parametrize(
    "option", ["--topology=v5e:2x2", "--slices=2", "--json", "--search", "--full"]
)
def test_options_of_this_mode_are_refused_in_others(job, option):
    with pytest.raises(ConfigError, match=r"belongs to .*--mode=compile; received --mode=train"):
        main.main([f"--config={job}", option])


def told_of(job, *options):
    command = [sys.executable, "-m", "pretrain_jax.main", f"--config={job}", "--mode=compile"]
    return subprocess.run([*command, "--json", *options], capture_output=True, text=True)


def test_gpus_that_are_not_here(job):
    done = told_of(
        job, "--topology=h100:2x8", "--config.mesh.fsdp=8", "--config.train.batch_size=16"
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["devices"] == 16 and found["device_kind"] == "NVIDIA H100"
    assert found["mesh"]["data"] == 2 and found["mesh"]["fsdp"] == 8
    assert found["hbm_bytes_per_device"] == 80 * 10**9 and found["fits"] is True
    assert (found["estimated_mfu"] is None) == (not gpus.installed_plugin()) and found[
        "collectives"
    ]


@needs_libtpu
def test_a_pod_that_is_not_here(job):
    done = told_of(job, "--topology=v5e:2x2", "--config.mesh.fsdp=4")
    ours = "attention uses the plain backend, not the TPU one: probabilities are dropped\n"
    assert done.returncode == 0, done.stderr
    assert done.stderr == "tiny: compiling for v5e:2x2\n" + ours  # nothing of libtpu's own
    found = json.loads(done.stdout)
    assert found["devices"] == 4 and found["fits"] is True
    assert found["hbm_bytes_per_device"] == 16 * 2**30
    assert 0 < found["estimated_mfu"] < 1


@needs_libtpu
def test_a_program_that_libtpu_dies_of_without_our_options():
    """What was seen to crash: dropout, recomputation, a bias, and parameters that are gathered."""
    sizes = ("layers=2", "heads=8", "feed_forward=4096", "remat=full", "dropout=0.1")
    changes = [f"--config.model.{size}" for size in sizes]
    changes += ["--config.train.batch_size=16", "--config.train.accumulate=1"]
    done = told_of("configs/t5_3b.py", "--topology=v5e:2x2", *changes)
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout)["fits"] is True


@needs_libtpu
def test_less_effort_says_about_the_same(job):
    quick, full = (
        json.loads(told_of(job, "--topology=v5e:2x2", "--config.mesh.fsdp=4", *words).stdout)
        for words in ([], ["--full"])
    )
    assert quick["flops_per_device"] == full["flops_per_device"]
    apart = quick["peak_bytes_per_device"] - full["peak_bytes_per_device"]
    assert abs(apart) < 2**24  # of a model that has next to nothing


@needs_libtpu
def test_what_does_not_fit_is_said_in_the_same_words(job):
    done = told_of(job, "--topology=v5e:2x2", "--config.train.batch_size=4194304")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["fits"] is False
    assert found["peak_bytes_per_device"] > found["hbm_bytes_per_device"]


@pytest.mark.parametrize(
    "changes, expected",
    [
        ({}, [{}, {"model.remat": "dots"}, {"model.remat": "full"}]),
        ({"model.remat": "full"}, [{}, {"mesh.data": 1, "mesh.fsdp": -1}]),
    ],
)
def test_the_search_begins_with_what_costs_least(job, changes, expected):
    overrides = [(key, str(value)) for key, value in changes.items()]
    found = list(itertools.islice(search.candidate_changes(config.read(str(job), overrides)), 3))
    assert found[: len(expected)] == expected


def test_the_search_tries_until_it_fits(job, monkeypatch):
    """A device with room for less than the config as it is takes."""
    settings = build.fix_schedule(config.read(str(job)))
    takes = aot.report_config(settings, jax.devices())["peak_bytes_per_device"]
    small = chips.Chip(1e12, int(takes * 0.9), 1e12, 1e12)
    monkeypatch.setattr(chips, "lookup", lambda kind: small)
    found = search.find_fit(settings, jax.devices())
    assert found["fits"] is True and found["peak_bytes_per_device"] <= small.memory
    assert found["tried"][0]["changes"] == {} and found["changes"] == found["tried"][-1]["changes"]
    assert all(one["peak_bytes"] > small.memory for one in found["tried"][:-1])
    told = "\n".join(aot.format_report(found, ""))
    assert "tried the unchanged config" in told and "fits" in told


def test_the_search_needs_a_known_memory(job):
    with pytest.raises(ConfigError, match="memory is known"):
        search.find_fit(build.fix_schedule(config.read(str(job))), jax.devices())


def test_the_search_gives_more_microbatches_to_phases_too(job):
    phases = '((0, {"batch_size": 8}), (9, {"batch_size": 16, "accumulate": 2}))'
    settings = config.read(str(job), [("train.phases", phases)])
    found = search.accumulate_changes(settings, 4)
    assert found["train.accumulate"] == 4
    assert found["train.phases"] == (
        (0, {"batch_size": 8}),
        (9, {"batch_size": 16, "accumulate": 8}),
    )
    assert search.accumulate_changes(config.read(str(job)), 4) == {"train.accumulate": 4}
