"""Refuses overrides that have no effect: keys that nothing in this run reads.

The keys of a section are the options of its builders, so a builder reads every key that it takes.
But a key may belong to a builder that this run does not call, or another key may disable it:
`data.source` with a mixture, `optimizer.decay_steps` with a constant rate. On the command line such
a key is an error, since someone wrote it for this run.

In a file it is allowed, since a file serves many runs. A key counts as read if its effect depends
on the device (`train.deterministic`) or on the mode of the command, or if it turns off something
that is off anyway (`eval.sample_tokens=0`).
"""

from collections.abc import Callable, Sequence
from typing import Any

from pretrain_jax import registry
from pretrain_jax.composition import compatibility
from pretrain_jax.composition.spec import build_spec
from pretrain_jax.composition.task import Task
from pretrain_jax.data import sources
from pretrain_jax.errors import ConfigError, UserError
from pretrain_jax.layers import rope_scaling
from pretrain_jax.models import _base
from pretrain_jax.models._base import Architecture
from pretrain_jax.objectives import Objective
from pretrain_jax.optim import schedules


def check(config: Any, keys: Sequence[str]) -> None:
    """Raises ConfigError if nothing in a run of this resolved config reads one of these keys.

    The message names all such keys, with the reason and what to write instead.
    """
    reasons = {key: reason for key in dict.fromkeys(keys) if (reason := why_unread(config, key))}
    if reasons:
        listed = "".join(f"\n  config.{key}: {reason}" for key, reason in reasons.items())
        raise ConfigError(
            f"every override must have an effect, but nothing in this run reads{listed}"
        )


def why_unread(config: Any, key: str) -> str:
    """Why nothing reads a dotted key, and what to write instead; "" if something reads it."""
    section, _, name = key.partition(".")
    for rule in (RULES.get(key), SECTION_RULES.get(section)):
        reason = rule(config, name) if rule else ""
        if reason:
            return reason
    return ""


# --- rules: each returns why its key is not read, or "" -------------------------------------------


def source_rule(config: Any, name: str) -> str:
    if not config.data.mixture:
        return ""
    return (
        "data.mixture names its own sources. Change them there, or pass the source to the config "
        "file, if it takes one: --config=FILE.py:text:PATH"
    )


def mixing_rule(config: Any, name: str) -> str:
    if not config.data.mixture:
        return "there is no mixture. Also set data.mixture=((SOURCE, OBJECTIVE, RATE), ...)"
    if name != "mixing" and config.data.mixing != "proportional":
        return "data.mixing=given uses the rates unchanged. Also set data.mixing=proportional"
    return ""


def text_key_rule(config: Any, name: str) -> str:
    """Unread if no file has records. Files that are missing here may be on another host."""
    if config.data.fields:
        return "data.fields names the text columns. Leave one of them out"
    if config.data.target_key:
        return ""
    members = config.data.mixture or ((config.data.source,),)
    try:
        if any(has_records(str(member[0])) for member in members):
            return ""
    except UserError:  # opening the data reports it
        return ""
    return "no file of data.source has records. It is for .jsonl files and tfds; leave it out"


def has_records(name: str) -> bool:
    """Whether a source has records with named fields."""
    if name.partition(":")[0] not in ("stdlib", "text"):
        return True
    return any(hasattr(shard, "keys") for shard in sources.open_source(name).shards)


def first_phase_rule(config: Any, name: str) -> str:
    """Unread if `train.phases` sets it from step 0 on. Raises ConfigError for malformed phases."""
    phases = build_spec(config).phases
    first = config.train.phases[:1]
    if not first or phases[0].first != first[0][0] or name not in dict(first[0][1]):
        return ""
    return f"train.phases sets {name} from step 0 on. Change it there, or also set train.phases=()"


def sample_tokens_rule(config: Any, name: str) -> str:
    if not config.eval.sample_tokens or Task(build_spec(config)).objective.prompt:
        return ""
    return f"objective.name={config.objective.name} writes no samples. Leave it out"


def eval_tokens_rule(config: Any, name: str) -> str:
    if Task(build_spec(config)).objective.example_task is None:
        return ""
    return f"objective.name={config.objective.name} scores every example. Leave it out"


def tasks_rule(config: Any, name: str) -> str:
    return "" if config.eval.tasks else "eval.tasks names no task. Also set eval.tasks"


def split_rule(config: Any, name: str) -> str:
    if not config.data.validation:
        return ""
    return "data.validation names the validation text. Leave one of them out"


def no_decay_rule(config: Any, name: str) -> str:
    if config.optimizer.weight_decay or config.optimizer.name == "lamb":
        return ""
    return "optimizer.weight_decay is 0. Also set optimizer.weight_decay"


def noise_share_rule(config: Any, name: str) -> str:
    """Shares that i.i.d. denoising reads only if its targets are the complete text."""
    section = config.objective
    if section.name != "iid_denoising" or section.targets == "all":
        return ""
    return f"objective.targets={section.targets} has no such share. Also set objective.targets=all"


def threshold_rule(config: Any, name: str) -> str:
    if config.objective.unanswerable:
        return ""
    return "every question has an answer. Also set objective.unanswerable=True"


def objective_rule(config: Any, name: str) -> str:
    """Unread if every member of a mixture has its own options, unless the members share it."""
    if not config.data.mixture or name == "name":
        return ""
    task = Task(build_spec(config))
    if any(member.objective is task.objective for member in task.members):
        return ""
    changed = build_changed(config.objective, name, _base.load(config.model.name))
    if mixture_properties(changed) != mixture_properties(task.objective):
        return ""
    return (
        "each member of data.mixture has its own objective options. Set it there: "
        f"(SOURCE, {{'name': ..., '{name}': {config.objective[name]!r}}}, RATE)"
    )


def build_changed(section: Any, name: str, model: Architecture) -> Objective | None:
    """The objective of a section with another value of one option; None if no value is known."""
    build = registry.load("objectives", section.name, "objective.name").build
    options = registry.options(build)
    given = {key: section[key] for key in options}
    value, other = given[name], options[name].default
    if value == other:
        if isinstance(value, str):
            return None
        is_int = isinstance(value, int)
        other = not value if isinstance(value, bool) else value + 1 if is_int else value / 2
    try:
        return compatibility.call_build(build, {**given, name: other}, model)
    except ConfigError:
        return None


def mixture_properties(objective: Objective | None) -> dict[str, Any] | None:
    """The properties of the objective of the section that a mixture reads."""
    return objective and {
        **compatibility.shared_properties(objective),
        "metrics": objective.metrics,
        "pll_examples": objective.pll_examples,
        "baselines": objective.baselines,
        "covers_text": objective.covers_text,
    }


def tokenizer_rule(config: Any, name: str) -> str:
    """Training options are unread if `tokenizer.path` names a vocabulary."""
    section = config.tokenizer
    load = registry.load("tokenizers", section.name, "").load
    load_options = {"name", "path", *registry.options(load)}
    if not section.path or name in load_options:
        return ""
    return "it is for training, and tokenizer.path names a vocabulary. Leave one of them out"


def schedule_rule(config: Any, name: str) -> str:
    """Options of `build_schedule` that this schedule does not take are unread."""
    section = config.optimizer
    own_options = registry.options(schedules.SCHEDULES[section.schedule])
    if name in own_options or name not in registry.options(schedules.build_schedule):
        return ""
    takers = [n for n, by in schedules.SCHEDULES.items() if name in registry.options(by)]
    return (
        f"optimizer.schedule={section.schedule} does not use it. Also set optimizer.schedule="
        f"{' or '.join(takers)}"
    )


def rope_rule(config: Any, name: str) -> str:
    """Options of rotary positions that their scaling does not take are unread."""
    takers = [
        scaling
        for scaling, by in rope_scaling.SCALINGS.items()
        if name.removeprefix("rope_") in registry.options(by)
    ]
    if config.model.rope_scaling in takers:
        return ""
    return (
        f"model.rope_scaling={config.model.rope_scaling} does not use it. Also set "
        f"model.rope_scaling={' or '.join(takers)}"
    )


Rule = Callable[[Any, str], str]
RULES: dict[str, Rule] = {
    "data.source": source_rule,
    "data.mixing": mixing_rule,
    "data.mixing_cap": mixing_rule,
    "data.mixing_temperature": mixing_rule,
    "data.text_key": text_key_rule,
    "model.rope_factor": rope_rule,
    "model.rope_low_freq_factor": rope_rule,
    "model.rope_high_freq_factor": rope_rule,
    "model.rope_original_length": rope_rule,
    "data.split": split_rule,
    "eval.tokens": eval_tokens_rule,
    "train.batch_size": first_phase_rule,
    "train.accumulate": first_phase_rule,
    "eval.sample_tokens": sample_tokens_rule,
    "eval.tasks_data": tasks_rule,
    "eval.tasks_seconds": tasks_rule,
    "optimizer.no_decay": no_decay_rule,
    "objective.replaced": noise_share_rule,
    "objective.random": noise_share_rule,
    "objective.threshold": threshold_rule,
}
SECTION_RULES: dict[str, Rule] = {
    "objective": objective_rule,
    "tokenizer": tokenizer_rule,
    "optimizer": schedule_rule,
}
