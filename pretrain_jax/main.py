"""Train or evaluate a model, preview its data, or compile its step for devices.

    python -m pretrain_jax.main --config=gpt2_nano [--workdir=DIR]
                                [--mode=train|eval] [--config.SECTION.KEY=VALUE ...]
                                [--coordinator=HOST:PORT --processes=4 --process=0] [--wait=300]
                                [--accept_changes] [--go_back]
    python -m pretrain_jax.main --mode=eval --workdir=DIR [--config.SECTION.KEY=VALUE ...]
    ... --mode=preflight [--topology=v5e:4x4 [--slices=1]]
    ... --mode=compile   [--topology=v5e:4x4 [--slices=1] [--search] [--full]] [--json]

--config           A Python file (FILE.py or FILE.py:argument), or the name of a config that comes
                   with the package (gpt2_nano).
--workdir          Folder of the run: checkpoints, metrics, plots. Default: runs/<name of config>.
--mode             train: train, or resume from the last checkpoint.
                   eval: evaluate the last checkpoint; needs only --workdir.
                   preflight: check the job and preview its batches, without training.
                   compile: compile the step; print its memory and its collectives.
--config.KEY       Override a value of the config, such as --config.train.steps=100.
--coordinator      Address of process 0; --processes: number of processes; --process: number of
                   this process. Not needed on Cloud TPU VMs, GKE's TPU pods, SLURM and Open MPI.
--wait             Seconds to wait for missing processes before the error that names them.
--accept_changes   Resume although newer code changed what the run computes.
--go_back          Resume although later checkpoints are gone; metrics and samples are first copied
                   to files named NAME.before_1.
--topology         Devices to plan for; this machine need not have them. --slices: number of TPU
                   slices of this topology.
--search           Search for config changes with which the step fits into memory.
--full             Compile with as much effort as a run does.
--json             Print one JSON object.

On many hosts, run the same command on each. To continue after any stop, run the same command again.

Exit codes: 0 done; 64 bad configuration or usage; 65 bad data; 66 missing input; 69 another process
of the run is missing; 71 out of memory; 74 unwritable workdir; 75 stopped by a signal, nothing
lost (run the same command again); 78 the workdir belongs to another configuration, or its
checkpoints are gone; 81 non-finite numbers; 82 workdir in use.
"""

import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pretrain_jax import command
from pretrain_jax.composition import config_files
from pretrain_jax.composition.ranges import COUNT, FROM_0, NOT_NEGATIVE
from pretrain_jax.devices import topology
from pretrain_jax.errors import ConfigError

log = logging.getLogger("pretrain_jax.main")  # __name__ may be "__main__"
HOSTS = {"coordinator": "", "processes": "1", "process": "0", "wait": "300"}
WHERE = {"topology": "", "slices": "1"}
COMPILE = {**WHERE, "search": "", "full": "", "json": ""}
TRAIN = {**HOSTS, "accept_changes": "", "go_back": ""}
MODES = {"train": TRAIN, "eval": HOSTS, "preflight": WHERE, "compile": COMPILE}
"""The options of each mode."""
SWITCHES = ("search", "full", "json", "accept_changes", "go_back")


def main(argv: list[str]) -> int:
    """Runs one command line; returns the exit code. Kept short: the rest is importable."""
    flags = {"workdir": "", "mode": "train", **TRAIN, **COMPILE}
    choices = {"mode": tuple(MODES)}
    line = command.parse(argv, flags, choices, SWITCHES, keys=every_key, needs_config=False)
    mode = line.flags["mode"]
    check_options(line, mode)
    workdir = line.flags["workdir"] or command.default_workdir(line)
    announce(line, workdir)
    if line.flags["topology"]:
        topology.configure_environment(line.flags["topology"])  # before jax is imported
    settings = read_config(line)
    return (plan if mode in ("preflight", "compile") else run)(line, settings, workdir)


def announce(line: command.CommandLine, workdir: str) -> None:
    """Logs what this command works on, before the imports that take seconds.

    Raises InputMissing for a config file that does not exist.
    """
    message = f"workdir {workdir}"
    if line.flags["mode"] == "compile":
        message = f"compiling for {line.flags['topology'] or 'the devices of this machine'}"
    if line.config:
        file, _ = config_files.locate(line.config)
        message = f"{Path(file).stem}: {message}"
    if line.flags["process"] == "0":
        log.info(message)


def read_config(line: command.CommandLine) -> Any:
    """The resolved config of the file; without a file, the config of the workdir."""
    from pretrain_jax.composition import config

    if line.config:
        return config.read(line.config, line.overrides)
    return config.read_workdir(line.flags["workdir"], line.overrides)


def every_key() -> list[str]:
    """Every key that a config may have: for the message about an unknown option."""
    from pretrain_jax.composition import sections

    return sections.every_key()


def run(line: command.CommandLine, settings: Any, workdir: str) -> int:
    """--mode=train and --mode=eval."""
    import jax

    from pretrain_jax.cluster import hosts
    from pretrain_jax.training import eval_mode, loop

    count = command.parse_number(line, "processes", int, COUNT)
    index = command.parse_number(line, "process", int, FROM_0)
    wait = command.parse_number(line, "wait", float, NOT_NEGATIVE)
    group = hosts.join(line.flags["coordinator"], count, index, wait)
    with group.all_or_none("the options for these devices"):
        settings = apply_device_options(line, settings, workdir, jax.devices())
    if line.flags["mode"] == "eval":
        eval_mode.evaluate(settings, workdir, group)
    else:
        accepted = (bool(line.flags[name]) for name in ("accept_changes", "go_back"))
        loop.train(settings, workdir, group, *accepted)
    return 0


def plan(line: command.CommandLine, settings: Any, workdir: str) -> int:
    """--mode=preflight and --mode=compile, also for devices that this machine lacks."""
    from pretrain_jax.composition import build, fix_labels
    from pretrain_jax.planning import aot, preflight, search

    where = line.flags["topology"]
    devices, simulated = aot.find_devices(where, command.parse_number(line, "slices", int, COUNT))
    settings = apply_device_options(line, settings, workdir, devices, simulated)
    if line.flags["mode"] == "preflight":
        return preflight.preflight(settings, workdir, devices, simulated)
    make_report = search.find_fit if line.flags["search"] else aot.report_config
    full = bool(line.flags["full"])
    fixed = fix_labels.fix_labels(build.fix_schedule(settings))
    report = make_report(fixed, devices, simulated, full)
    aot.print_report(report, where, bool(line.flags["json"]))
    return 0


def apply_device_options(
    line: command.CommandLine,
    settings: Any,
    workdir: str,
    devices: Sequence[Any],
    simulated: str = "",
) -> Any:
    """The config with the options that its file defines for these devices, if it does."""
    from pretrain_jax.composition import config
    from pretrain_jax.workdir import run_config

    if not line.config:  # the config of the workdir
        return settings

    stored = run_config.read_config(workdir) if line.flags["mode"] != "compile" else None
    preset = config.device_options(line.config, line.overrides, devices, simulated, stored)
    return config.read(line.config, line.overrides, preset) if preset else settings


def check_options(line: command.CommandLine, mode: str) -> None:
    """Raises ConfigError for an option of other modes, and for a missing config."""
    for name, default in {**TRAIN, **COMPILE}.items():
        if name not in MODES[mode] and line.flags[name] != default:
            owners = " and ".join(f"--mode={m}" for m, options in MODES.items() if name in options)
            raise ConfigError(f"--{name} belongs to {owners}; received --mode={mode}")
    if not line.config and not (mode == "eval" and line.flags["workdir"]):
        if mode == "eval":
            raise ConfigError("--mode=eval needs the workdir of a run, such as --workdir=runs/mine")
        raise command.NO_CONFIG


if __name__ == "__main__":
    sys.exit(command.run(main, __doc__))
