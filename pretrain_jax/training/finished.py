"""The end of a run: whether it is finished, and what the user can do next."""

import logging
import math
import shlex

from etils import epath

from pretrain_jax.cluster.hosts import Hosts
from pretrain_jax.composition.build import Design
from pretrain_jax.errors import ConfigError
from pretrain_jax.training import schedule_preview
from pretrain_jax.workdir import history

log = logging.getLogger(__name__)


def report_if_finished(design: Design, path: epath.Path, step: int | None, hosts: Hosts) -> bool:
    """Whether the checkpoint of `step` is the last one and evaluated; if so, logs the next steps.

    Raises ConfigError if `step` is greater than `train.steps`.
    """
    steps = design.spec.train.steps
    if step is None or step < steps:
        return False
    check_steps(path, step, steps)
    loss = hosts.broadcast("the last evaluation", valid_loss(path, step))
    if loss is None:
        return False
    done = (
        f"finished: all {steps} updates of train.steps are done, valid/loss {loss}, checkpoint "
        f"{path}/checkpoints/{steps}. Next steps:"
    )
    log.info("\n".join([done, *next_steps(design, path)]))
    return True


def check_steps(path: epath.Path, step: int, steps: int) -> None:
    """Raises ConfigError if a checkpoint has more updates than `train.steps`."""
    if step > steps:
        raise ConfigError(
            f"train.steps must be at least the {step} updates that the run in {path} has done; "
            f"received train.steps={steps}. Set --config.train.steps={step} or more, or start in "
            "another --workdir. Nothing was changed"
        )


def valid_loss(path: epath.Path, step: int) -> str | None:
    """The valid/loss of a step in metrics.jsonl, as text; None if it is not there."""
    for values in reversed(history.read_metrics(path)):
        if values["step"] == step and "valid/loss" in values:
            loss = values["valid/loss"]
            return f"{loss:.4f}" if isinstance(loss, float) and math.isfinite(loss) else str(loss)
    return None


def next_steps(design: Design, path: epath.Path) -> list[str]:
    """Four lines: where the results are, how to use the model, train longer, or start from it."""
    spec, objective, folder = design.spec, design.task.objective, shlex.quote(str(path))
    has_samples = bool(spec.eval.sample_tokens and objective.prompt)
    files = f"{folder}/loss.png" + (f" and {folder}/samples.txt" if has_samples else "")
    use = "evaluate:      the same command with --mode=eval --config.data.source=text:OTHER_FILE"
    command = f"python -m pretrain_jax.generate --workdir={folder}"
    if objective.generates:
        use = f'generate:      {command} --prompt="..."'
    elif objective.prompt:
        use = f'fill masks:    {command} --prompt="a <mask>"'
    more = f"the same command with --config.train.steps={2 * spec.train.steps or 1000}"
    new = f"--config.init_from={folder} and another --workdir"
    return [
        f"  results:       {files}",
        f"  {use}",
        f"  train longer:  {more}; {schedule_preview.describe_longer(spec)}",
        f"  new run:       {new}: these parameters, this tokenizer and a new schedule",
    ]
