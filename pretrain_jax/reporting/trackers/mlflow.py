"""MLflow. MLFLOW_TRACKING_URI names the server. Without it, runs are in WORKDIR/mlflow, or with a
remote workdir where MLflow puts them."""

import os
import time
from collections.abc import Callable, Mapping
from typing import Any

from pretrain_jax.files.paths import is_remote
from pretrain_jax.nested_diff import flatten
from pretrain_jax.reporting.tracking import PROJECT, identity

TAG = "pretrain_jax.workdir"
LONGEST = 500
"""Characters of a parameter that MLflow keeps."""


def open_run(
    workdir: str, name: str, config: Mapping[str, Any]
) -> tuple[Callable[[int, Mapping[str, float]], None], Callable[[], None]]:
    """See reporting/trackers/__init__.py."""
    os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # a folder, without a database
    import mlflow
    from mlflow.entities import Metric

    if not os.environ.get("MLFLOW_TRACKING_URI") and not is_remote(workdir):
        mlflow.set_tracking_uri(f"file:{workdir}/mlflow")
    client = mlflow.MlflowClient()
    found = client.get_experiment_by_name(PROJECT)
    experiment = found.experiment_id if found else client.create_experiment(PROJECT)
    same = client.search_runs([experiment], f"tags.`{TAG}` = '{identity(workdir)}'")
    if same:
        run = same[0].info.run_id
        client.update_run(run, "RUNNING")
    else:
        tags = {TAG: identity(workdir)}
        run = client.create_run(experiment, tags=tags, run_name=name).info.run_id
        for key, value in flatten(config).items():
            client.log_param(run, key, str(value)[:LONGEST])

    def log(step: int, values: Mapping[str, float]) -> None:
        now = int(1000 * time.time())
        metrics = [Metric(key, value, now, step) for key, value in values.items()]
        client.log_batch(run, metrics)

    return log, lambda: client.set_terminated(run)
