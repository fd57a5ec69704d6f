"""The end of a run: whether it is finished, and what the user can do next."""

import logging
import math
import shlex

from etils import epath

from pretrain_jax.cluster.hosts import Hosts
from pretrain_jax.composition.build import Design
from pretrain_jax.errors import ConfigError
from pretrain_jax.training import schedule_preview
from pretrain_jax.training.best import Best
from pretrain_jax.workdir import history

log = logging.getLogger(__name__)


def report_if_finished(design: Design, path: epath.Path, step: int | None, hosts: Hosts) -> bool:
    """Whether the checkpoint of `step` is the last one and evaluated; if so, logs the next steps.

    The last one is that of `train.steps`, or that at which the run stopped early (eval.patience).
    Raises ConfigError if `step` is greater than `train.steps`.
    """
    if step is None:
        return False
    steps, lines = design.spec.train.steps, history.read_metrics(path)
    best = Best.of(design, [line for line in lines if line["step"] <= step])
    early = hosts.broadcast(
        "the best evaluation", best is not None and best.is_exhausted(design.spec.eval.patience)
    )
    if step < steps and not early:
        return False
    check_steps(path, step, steps)
    key = "valid/loss" if best is None else best.key
    value = hosts.broadcast("the last evaluation", last_value(lines, step, key))
    if value is None:
        return False
    why = f"all {steps} updates of train.steps are done"
    if step < steps:
        why = f"stopped at step {step}, eval.patience={design.spec.eval.patience}"
    done = f"finished: {why}, {key} {value}, checkpoint {path}/checkpoints/{step}. Next steps:"
    log.info("\n".join([done, *next_steps(design, path, best)]))
    return True


def check_steps(path: epath.Path, step: int, steps: int) -> None:
    """Raises ConfigError if a checkpoint has more updates than `train.steps`."""
    if step > steps:
        raise ConfigError(
            f"train.steps must be at least the {step} updates that the run in {path} has done; "
            f"received train.steps={steps}. Set --config.train.steps={step} or more, or start in "
            "another --workdir. Nothing was changed"
        )


def last_value(lines: list[history.Line], step: int, key: str) -> str | None:
    """The value of a metric at a step, as text; None if the step is not evaluated."""
    for values in reversed(lines):
        if values["step"] == step and key in values:
            value = values[key]
            return (
                f"{value:.4f}" if isinstance(value, float) and math.isfinite(value) else str(value)
            )
    return None


def next_steps(design: Design, path: epath.Path, best: Best | None = None) -> list[str]:
    """Lines: where the results are, the best checkpoint of an objective with labels, how to use the
    model, train longer, or start from it."""
    spec, objective, folder = design.spec, design.task.objective, shlex.quote(str(path))
    has_samples = bool(spec.eval.sample_tokens and objective.prompt)
    files = f"{folder}/loss.png" + (f" and {folder}/samples.txt" if has_samples else "")
    use = "evaluate:      the same command with --mode=eval --config.data.source=text:OTHER_FILE"
    model, kept = folder, []
    if best is not None and best.step is not None:
        files = f"{folder}/predictions.jsonl, of the last evaluation"
        model = f"{folder}/checkpoints/{best.step}"
        kept = [f"  best:          {best.key} {best.value:.4f}: {model}"]
        use = (
            f"predict:       python -m pretrain_jax.predict --workdir={folder} --step={best.step} "
            "--source=text:FILE --out=FILE"
        )
    command = f"python -m pretrain_jax.generate --workdir={model}"
    chat = " --chat" if objective.template else ""
    if objective.generates:
        use = f'generate:      {command}{chat} --prompt="..."'
    elif objective.prompt:
        use = f'fill masks:    {command} --prompt="a <mask>"'
    more = f"the same command with --config.train.steps={2 * spec.train.steps or 1000}"
    if best is not None and best.is_exhausted(spec.eval.patience):
        more += " --config.eval.patience=0"
    new = f"new run:       --config.init_from={folder} and another --workdir: these parameters, "
    new += "this tokenizer and a new schedule"
    adapter = design.model.adapter
    if not adapter.trains_all:
        convert = f"python -m pretrain_jax.convert --workdir={folder}"
        new = f"for peft:      {convert} --to_peft=FOLDER"
        if adapter.can_merge:
            new = f"merge:         {convert} --to_hf=FOLDER"
    return [
        f"  results:       {files}",
        *kept,
        f"  {use}",
        f"  train longer:  {more}; {schedule_preview.describe_longer(spec)}",
        f"  {new}",
    ]
