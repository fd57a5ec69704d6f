"""Ahead-of-time compilation reports memory, traffic and time."""

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
    """Eight devices share the batch: each sends 2 x 7/8 of the gradients, and those of the two uses
    of the tied embedding separately."""
    built = design(job)
    report = aot.report_design(built)
    assert report["devices"] == 8 and report["mesh"]["data"] == 8
    assert report["parameters"] == sum(sizes.count_parameters(built).values())
    assert report["tokens_per_step"] == 8 * 16
    state = report["parameter_bytes_per_device"] + report["optimizer_bytes_per_device"]
    assert report["peak_bytes_per_device"] > state
    gradients = 2 * 7 / 8 * report["parameter_bytes_per_device"]
    assert gradients * 0.99 < report["collective_bytes_per_device"] < gradients * 2
    assert report["fits"] is None and report["estimated_mfu"] is None  # unknown on a CPU
    assert report["uncounted_loops"] == []


def test_flops_count_recomputation(job):
    plain, again = (
        aot.report_design(design(job, **{"model.remat": remat}))["flops_per_device"]
        for remat in ("none", "full")
    )
    # Layers and output projection: 2 forward and 4 backward products; the layers repeat their 2.
    assert 1.1 < again / plain < 4 / 3


def test_flops_do_not_depend_on_the_number_of_microbatches(job):
    """Dead code removal leaves no products in the pass that sums the weights of microbatches."""
    batch = {"train.batch_size": 32}
    one, four = (
        flops.count_executed(
            built.update.step.trace(*built.update.abstract_arguments(built.task.largest_phase))
        )
        for built in (design(job, **batch, **{"train.accumulate": count}) for count in (1, 4))
    )
    assert one == pytest.approx(four, rel=0.01)


def test_sharded_parameters_need_less_memory_and_more_traffic(job):
    replicated, sharded = (
        aot.report_design(design(job, **{"mesh.data": 8 // ways, "mesh.fsdp": ways}))
        for ways in (1, 8)
    )
    assert sharded["parameter_bytes_per_device"] < replicated["parameter_bytes_per_device"] / 4
    assert sharded["collective_bytes_per_device"] > replicated["collective_bytes_per_device"]


def test_a_mesh_that_does_not_fit_is_refused_before_compiling(job):
    with pytest.raises(ConfigError, match=r"mesh\.fsdp"):
        aot.report_design(design(job, **{"mesh.data": 1, "mesh.fsdp": 3}))


def test_the_roofline_is_the_slowest_of_three():
    chip = chips.Chip(flops=100.0, memory=1, memory_rate=10.0, link_rate=1.0)
    names = ("flops_per_device", "memory_bytes_per_device", "collective_bytes_per_device")
    report = aot.roofline(
        chip, dict(zip(names, (200.0, 50.0, 4.0), strict=True)), model_flops=150.0
    )
    assert report["seconds"] == {"products": 2.0, "memory": 5.0, "network": 2.0}
    assert report["estimated_mfu"] == pytest.approx(150 / 100 / 5)


def test_json_is_all_of_standard_output(job, capsys):
    assert main.main([f"--config={job}", "--mode=compile", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["devices"] == 8


def test_the_table_shows_the_report(job, capsys):
    assert main.main([f"--config={job}", "--mode=compile"]) == 0
    output = capsys.readouterr().out
    assert "bytes sent" in output and "(mesh data 8)" in output


@pytest.mark.parametrize(
    "option", ["--topology=v5e:2x2", "--slices=2", "--json", "--search", "--full"]
)
def test_options_of_this_mode_are_refused_in_others(job, option):
    with pytest.raises(ConfigError, match=r"belongs to .*--mode=compile; received --mode=train"):
        main.main([f"--config={job}", option])


def run_compile(job, *options):
    command = [sys.executable, "-m", "pretrain_jax.main", f"--config={job}", "--mode=compile"]
    return subprocess.run([*command, "--json", *options], capture_output=True, text=True)


def test_simulated_gpus(job):
    done = run_compile(
        job, "--topology=h100:2x8", "--config.mesh.fsdp=8", "--config.train.batch_size=16"
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["devices"] == 16 and report["device_kind"] == "NVIDIA H100"
    assert report["mesh"]["data"] == 2 and report["mesh"]["fsdp"] == 8
    assert report["hbm_bytes_per_device"] == 80 * 10**9 and report["fits"] is True
    assert (report["estimated_mfu"] is None) == (not gpus.installed_plugin()) and report[
        "collectives"
    ]


@needs_libtpu
def test_a_simulated_pod(job):
    done = run_compile(job, "--topology=v5e:2x2", "--config.mesh.fsdp=4")
    expected = "attention uses the plain backend, not the TPU one: probabilities are dropped\n"
    assert done.returncode == 0, done.stderr
    assert done.stderr == "tiny: compiling for v5e:2x2\n" + expected  # no output of libtpu
    report = json.loads(done.stdout)
    assert report["devices"] == 4 and report["fits"] is True
    assert report["hbm_bytes_per_device"] == 16 * 2**30
    assert 0 < report["estimated_mfu"] < 1


@needs_libtpu
def test_a_program_that_crashes_libtpu_without_our_options():
    """The crash needs dropout, recomputation, a bias, and gathered parameters."""
    sizes = ("layers=2", "heads=8", "feed_forward=4096", "remat=full", "dropout=0.1")
    changes = [f"--config.model.{size}" for size in sizes]
    changes += ["--config.train.batch_size=16", "--config.train.accumulate=1"]
    done = run_compile("configs/t5_3b.py", "--topology=v5e:2x2", *changes)
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout)["fits"] is True


@needs_libtpu
def test_quick_compilation_gives_about_the_same_report(job):
    quick, full = (
        json.loads(run_compile(job, "--topology=v5e:2x2", "--config.mesh.fsdp=4", *words).stdout)
        for words in ([], ["--full"])
    )
    assert quick["flops_per_device"] == full["flops_per_device"]
    difference = quick["peak_bytes_per_device"] - full["peak_bytes_per_device"]
    assert abs(difference) < 2**24  # for a tiny model


@needs_libtpu
def test_a_step_that_does_not_fit_has_the_same_report(job):
    done = run_compile(job, "--topology=v5e:2x2", "--config.train.batch_size=4194304")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["fits"] is False
    assert report["peak_bytes_per_device"] > report["hbm_bytes_per_device"]


@pytest.mark.parametrize(
    "changes, expected",
    [
        ({}, [{}, {"model.remat": "dots"}, {"model.remat": "full"}]),
        ({"model.remat": "full"}, [{}, {"mesh.data": 1, "mesh.fsdp": -1}]),
    ],
)
def test_the_search_starts_with_the_cheapest_changes(job, changes, expected):
    overrides = [(key, str(value)) for key, value in changes.items()]
    candidates = list(
        itertools.islice(search.candidate_changes(config.read(str(job), overrides)), 3)
    )
    assert candidates[: len(expected)] == expected


def test_the_search_tries_until_it_fits(job, monkeypatch):
    """A device with less memory than the unchanged config needs."""
    settings = build.fix_schedule(config.read(str(job)))
    needed = aot.report_config(settings, jax.devices())["peak_bytes_per_device"]
    small = chips.Chip(1e12, int(needed * 0.9), 1e12, 1e12)
    monkeypatch.setattr(chips, "lookup", lambda kind: small)
    report = search.find_fit(settings, jax.devices())
    assert report["fits"] is True and report["peak_bytes_per_device"] <= small.memory
    assert (
        report["tried"][0]["changes"] == {} and report["changes"] == report["tried"][-1]["changes"]
    )
    assert all(attempt["peak_bytes"] > small.memory for attempt in report["tried"][:-1])
    output = "\n".join(aot.format_report(report, ""))
    assert "tried the unchanged config" in output and "fits" in output


def test_the_search_needs_a_known_memory(job):
    with pytest.raises(ConfigError, match="memory is known"):
        search.find_fit(build.fix_schedule(config.read(str(job))), jax.devices())


def test_the_search_changes_accumulate_in_phases_too(job):
    phases = '((0, {"batch_size": 8}), (9, {"batch_size": 16, "accumulate": 2}))'
    settings = config.read(str(job), [("train.phases", phases)])
    changes = search.accumulate_changes(settings, 4)
    assert changes["train.accumulate"] == 4
    assert changes["train.phases"] == (
        (0, {"batch_size": 8}),
        (9, {"batch_size": 16, "accumulate": 8}),
    )
    assert search.accumulate_changes(config.read(str(job)), 4) == {"train.accumulate": 4}
