"""Train, evaluate what was trained, or look at what would be trained on.

    python -m pretrain_jax.main --config=configs/gpt2_nano.py [--workdir=DIR]
                                [--mode=train|eval|preflight] [--config.SECTION.KEY=VALUE ...]

The same command goes on from the last checkpoint after any stop. The workdir is runs/<name of the
config> unless it is given. Exit codes: 0 done, 64 bad configuration or usage, 65 bad data,
66 input missing, 74 unwritable workdir, 75 stopped by a signal and saved (start again to go on),
78 the workdir belongs to another configuration, 81 non-finite numbers, 82 workdir in use.
"""

import sys

from pretrain_jax import command

MODES = ("train", "eval", "preflight")


def main(argv: list[str]) -> int:
    """Runs one command line; returns the exit code. Kept short: the rest is importable."""
    line = command.parse(argv, {"workdir": "", "mode": "train"}, choices={"mode": MODES})
    from pretrain_jax import config  # imports jax: only after host_memory.keep
    from pretrain_jax.train import loop, preflight

    settings = config.read(line.config, line.overrides)
    workdir = line.flags["workdir"] or command.default_workdir(line)
    modes = {"train": loop.train, "eval": loop.evaluate, "preflight": preflight.preflight}
    modes[line.flags["mode"]](settings, workdir)
    return 0


if __name__ == "__main__":
    sys.exit(command.run(main, __doc__))
