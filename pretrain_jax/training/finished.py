"""A run that has nothing left to do, and what can be done next."""

import json
import logging
import math

from etils import epath

from pretrain_jax.cluster.hosts import Hosts
from pretrain_jax.composition.build import Design
from pretrain_jax.errors import ConfigError
from pretrain_jax.training import schedule_preview
from pretrain_jax.workdir import history

log = logging.getLogger(__name__)


def finished(design: Design, path: epath.Path, step: int | None, hosts: Hosts) -> bool:
    """Whether the checkpoint of `step` is that of `train.steps` and evaluated: says what is next.

    Raises ConfigError where it is beyond `train.steps`.
    """
    steps = design.spec.train.steps
    if step is None or step < steps:
        return False
    check(path, step, steps)
    loss = json.loads(hosts.broadcast("the last evaluation", json.dumps(evaluated(path, step))))
    if loss is None:
        return False
    log.info(said(design, path, loss))
    return True


def check(path: epath.Path, step: int, steps: int) -> None:
    """Raises ConfigError where a checkpoint has more updates than a run is to have."""
    if step > steps:
        raise ConfigError(
            f"a run goes on from its last checkpoint and takes no update back; {path} has done "
            f"{step}, received train.steps={steps}. Write --config.train.steps={step} or more, or "
            "begin in another --workdir. Nothing was changed"
        )


def evaluated(path: epath.Path, step: int) -> str | None:
    """The valid/loss of a step in metrics.jsonl, as it is shown; None where it is not there."""
    for values in reversed(history.lines(path)):
        if values["step"] == step and "valid/loss" in values:
            loss = values["valid/loss"]
            return f"{loss:.4f}" if isinstance(loss, float) and math.isfinite(loss) else str(loss)
    return None


def said(design: Design, path: epath.Path, loss: str) -> str:
    """What was reached, where it lies, and three things to do."""
    steps, objective = design.spec.train.steps, design.task.objective
    continues = objective.attention != "full" and "memory_tokens" not in objective.fields
    use = (
        f'python -m pretrain_jax.generate --workdir={path} --prompt="..."'
        if continues
        else "the same command with --mode=eval --config.data.source=text:OTHER_FILE scores a text"
    )
    return (
        f"finished: all {steps} updates of train.steps are done, valid/loss {loss}, checkpoint "
        f"{path}/checkpoints/{steps}. Next:\n"
        f"  use it      {use}\n"
        f"  train on    the same command with --config.train.steps={2 * steps or 1000}; "
        f"{schedule_preview.longer(design.spec)}\n"
        f"  start anew  --config.init_from={path} with a new --workdir: these parameters and this "
        "tokenizer, a schedule from its beginning, other text if you like"
    )
