"""Trackio, whose runs are local: TRACKIO_DIR names the folder, and `trackio show` opens it."""

import os
from collections.abc import Callable, Mapping
from typing import Any

from pretrain_jax.reporting.tracking import PROJECT, identity


def open_run(
    workdir: str, name: str, config: Mapping[str, Any]
) -> tuple[Callable[[int, Mapping[str, float]], None], Callable[[], None]]:
    """See reporting/trackers/__init__.py."""
    import trackio

    run = trackio.init(
        project=os.environ.get("TRACKIO_PROJECT", PROJECT),
        name=f"{name}-{identity(workdir)}",
        resume="allow",
        config=dict(config),
        embed=False,
    )
    return lambda step, values: run.log(dict(values), step=step), run.finish
