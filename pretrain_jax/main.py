"""Train, evaluate what was trained, look at what would be trained on, or compile for a pod.

    python -m pretrain_jax.main --config=configs/gpt2_nano.py [--workdir=DIR]
                                [--mode=train|eval|preflight] [--config.SECTION.KEY=VALUE ...]
    python -m pretrain_jax.main --config=configs/gpt2_xl.py --mode=compile
                                [--topology=v5e:4x4 [--slices=1] [--search]] [--json]

The same command goes on from the last checkpoint after any stop. The workdir is runs/<name of the
config> unless it is given. Exit codes: 0 done, 64 bad configuration or usage, 65 bad data,
66 input missing, 74 unwritable workdir, 75 stopped by a signal and saved (start again to go on),
78 the workdir belongs to another configuration, 81 non-finite numbers, 82 workdir in use.
"""

import sys

from pretrain_jax import command
from pretrain_jax.errors import ConfigError
from pretrain_jax.parallel import topology

MODES = ("train", "eval", "preflight", "compile")
FLAGS = {"workdir": "", "mode": "train", "topology": "", "slices": "1"}


def main(argv: list[str]) -> int:
    """Runs one command line; returns the exit code. Kept short: the rest is importable."""
    line = command.parse(argv, FLAGS, choices={"mode": MODES}, switches=("json", "search"))
    mode = line.flags["mode"]
    if mode == "compile":
        return compile_ahead(line)
    check_compiles(line)
    from pretrain_jax import config  # imports jax: only after host_memory.keep
    from pretrain_jax.train import loop, preflight

    settings = config.read(line.config, line.overrides)
    workdir = line.flags["workdir"] or command.default_workdir(line)
    modes = {"train": loop.train, "eval": loop.evaluate, "preflight": preflight.preflight}
    modes[mode](settings, workdir)
    return 0


def compile_ahead(line: command.Line) -> int:
    """--mode=compile."""
    where, slices = line.flags["topology"], command.number(line, "slices", int)
    if where:
        topology.set_up()  # before jax is imported
    from pretrain_jax import config
    from pretrain_jax.train import ahead, compose, search

    settings = config.read(line.config, line.overrides)
    devices = ahead.devices(where, slices)
    find = search.search if line.flags["search"] else ahead.report_of
    ahead.show(find(compose.fix_schedule(settings), devices), where, bool(line.flags["json"]))
    return 0


def check_compiles(line: command.Line) -> None:
    """Raises ConfigError for options of --mode=compile in another mode."""
    for name in ("topology", "slices", "search", "json"):
        if line.flags[name] != FLAGS.get(name, ""):
            raise ConfigError(
                f"--{name} belongs to --mode=compile; received --mode={line.flags['mode']}"
            )


if __name__ == "__main__":
    sys.exit(command.run(main, __doc__))
