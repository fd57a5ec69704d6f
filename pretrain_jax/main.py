"""Train, evaluate what was trained, look at what would be trained on, or compile for a pod.

    python -m pretrain_jax.main --config=configs/gpt2_nano.py [--workdir=DIR]
                                [--mode=train|eval] [--config.SECTION.KEY=VALUE ...]
                                [--coordinator=HOST:PORT --processes=4 --process=0] [--wait=300]
                                [--accept_changes] [--go_back]
    python -m pretrain_jax.main --mode=eval --workdir=DIR [--config.SECTION.KEY=VALUE ...]
    ... --mode=preflight [--topology=v5e:4x4 [--slices=1]]
    ... --mode=compile   [--topology=v5e:4x4 [--slices=1] [--search] [--full]] [--json]

Many hosts run the same command. Cloud TPU VMs, GKE's TPU pods and SLURM tell them of each other in
the environment; elsewhere every process is given the address of process 0, how many there are, and
its own number. --wait: seconds until those that are missing are named. --topology: devices that
need not be here. --accept_changes: go on although newer code changed what the run computes.
--go_back: go on although later checkpoints are gone; what was written of them is kept beside.
--search: what would make it fit. --full: as much effort in compiling as a run's.

The same command goes on from the last checkpoint after any stop. The workdir is runs/<name of the
config> unless it is given. Exit codes: 0 done, 64 bad configuration or usage, 65 bad data,
66 input missing, 69 another process of the run is missing, 71 out of memory, 74 unwritable workdir,
75 stopped by a signal, nothing lost (start again to go on), 78 the workdir belongs to another
configuration or its checkpoints are gone, 81 non-finite numbers, 82 workdir in use.
"""

import sys
from collections.abc import Sequence
from typing import Any

from pretrain_jax import command
from pretrain_jax.composition.ranges import COUNT, FROM_0, NOT_NEGATIVE
from pretrain_jax.devices import topology
from pretrain_jax.errors import ConfigError

HOSTS = {"coordinator": "", "processes": "1", "process": "0", "wait": "300"}
WHERE = {"topology": "", "slices": "1"}
COMPILE = {**WHERE, "search": "", "full": "", "json": ""}
TRAIN = {**HOSTS, "accept_changes": "", "go_back": ""}
MODES = {"train": TRAIN, "eval": HOSTS, "preflight": WHERE, "compile": COMPILE}
"""Each mode's own options."""
SWITCHES = ("search", "full", "json", "accept_changes", "go_back")


def main(argv: list[str]) -> int:
    """Runs one command line; returns the exit code. Kept short: the rest is importable."""
    flags = {"workdir": "", "mode": "train", **TRAIN, **COMPILE}
    choices = {"mode": tuple(MODES)}
    line = command.parse(argv, flags, choices, SWITCHES, keys=every_key, needs_config=False)
    mode = line.flags["mode"]
    check_options(line, mode)
    if line.flags["topology"]:
        topology.configure_environment(line.flags["topology"])  # before jax is imported
    settings = settings_of(line)
    workdir = line.flags["workdir"] or command.default_workdir(line)
    return (planned if mode in ("preflight", "compile") else run)(line, settings, workdir)


def settings_of(line: command.Line) -> Any:
    """The resolved config: of the file, or, to evaluate a workdir, what a run left there."""
    from pretrain_jax.composition import config

    if line.config:
        return config.read(line.config, line.overrides)
    if line.flags["mode"] == "eval" and line.flags["workdir"]:
        return config.of_workdir(line.flags["workdir"], line.overrides)
    raise command.NO_CONFIG


def every_key() -> list[str]:
    """Every key that a config may have: for the message about an unknown option."""
    from pretrain_jax.composition import sections

    return sections.every_key()


def run(line: command.Line, settings: Any, workdir: str) -> int:
    """--mode=train and --mode=eval."""
    import jax

    from pretrain_jax.cluster import hosts
    from pretrain_jax.training import eval_mode, loop

    count = command.number(line, "processes", int, COUNT)
    own = command.number(line, "process", int, FROM_0)
    wait = command.number(line, "wait", float, NOT_NEGATIVE)
    group = hosts.join(line.flags["coordinator"], count, own, wait)
    with group.all_or_none("the options for these devices"):
        settings = fitted(line, settings, workdir, jax.devices())
    if line.flags["mode"] == "eval":
        eval_mode.evaluate(settings, workdir, group)
    else:
        accepted = (bool(line.flags[name]) for name in ("accept_changes", "go_back"))
        loop.train(settings, workdir, group, *accepted)
    return 0


def planned(line: command.Line, settings: Any, workdir: str) -> int:
    """--mode=preflight and --mode=compile, for devices that need not be here."""
    from pretrain_jax.composition import build
    from pretrain_jax.planning import aot, preflight, search

    where = line.flags["topology"]
    devices, simulated = aot.devices(where, command.number(line, "slices", int, COUNT))
    settings = fitted(line, settings, workdir, devices, simulated)
    if line.flags["mode"] == "preflight":
        return preflight.preflight(settings, workdir, devices, simulated)
    find = search.search if line.flags["search"] else aot.report_of
    full = bool(line.flags["full"])
    found = find(build.fix_schedule(settings), devices, simulated, full)
    aot.show(found, where, bool(line.flags["json"]))
    return 0


def fitted(
    line: command.Line, settings: Any, workdir: str, devices: Sequence[Any], simulated: str = ""
) -> Any:
    """The config, with the options that its file has for these devices where it has some."""
    from pretrain_jax.composition import config
    from pretrain_jax.workdir import run_config

    if not line.config:  # the workdir's own
        return settings

    stored = run_config.read_config(workdir) if line.flags["mode"] != "compile" else None
    preset = config.preset(line.config, line.overrides, devices, simulated, stored)
    return config.read(line.config, line.overrides, preset) if preset else settings


def check_options(line: command.Line, mode: str) -> None:
    """Raises ConfigError for an option of other modes."""
    for name, default in {**TRAIN, **COMPILE}.items():
        if name not in MODES[mode] and line.flags[name] != default:
            owners = " and ".join(f"--mode={m}" for m, own in MODES.items() if name in own)
            raise ConfigError(f"--{name} belongs to {owners}; received --mode={mode}")


if __name__ == "__main__":
    sys.exit(command.run(main, __doc__))
