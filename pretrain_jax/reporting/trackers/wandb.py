"""Weights & Biases. WANDB_PROJECT names the project, and WANDB_MODE=offline needs no network. Its
files are in WORKDIR/wandb, or with a remote workdir in ./wandb."""

import os
from collections.abc import Callable, Mapping
from typing import Any

from pretrain_jax.files.paths import is_remote
from pretrain_jax.reporting.tracking import PROJECT, identity


def open_run(
    workdir: str, name: str, config: Mapping[str, Any]
) -> tuple[Callable[[int, Mapping[str, float]], None], Callable[[], None]]:
    """See reporting/trackers/__init__.py."""
    import wandb

    run = wandb.init(
        project=os.environ.get("WANDB_PROJECT", PROJECT),
        name=name,
        id=identity(workdir),
        resume="allow",
        dir=None if is_remote(workdir) else workdir,
        config=dict(config),
    )
    return lambda step, values: run.log(dict(values), step=step), run.finish
