"""What an override says to nobody: keys of a config that nothing in one run reads.

The keys of a section are the options of its builders, so a builder reads every key that it takes.
Some keys belong to a builder that this run does not call, or are passed over by what another key
chose: `data.source` beside a mixture, `optimizer.decay_steps` with a constant rate. Such a key does
nothing, and on the command line, where someone wrote it for this run, it is refused.

In a file it may stand: a file serves many runs. A key counts as read where only the device decides
(`train.deterministic`), or the mode of the command; and so does one that asks for nothing where
there is nothing (`eval.sample_tokens=0`).
"""

from collections.abc import Callable, Sequence
from typing import Any

from pretrain_jax import registry
from pretrain_jax.composition import compatibility
from pretrain_jax.composition.spec import spec_of
from pretrain_jax.composition.task import Task
from pretrain_jax.data import sources
from pretrain_jax.errors import ConfigError, UserError
from pretrain_jax.objectives import Objective
from pretrain_jax.optim import schedules


def check(config: Any, keys: Sequence[str]) -> None:
    """Raises ConfigError where nothing in a run of this resolved config reads one of these keys.

    It names each of them, with why and with what to write instead.
    """
    found = {key: why for key in dict.fromkeys(keys) if (why := unread(config, key))}
    if found:
        listed = "".join(f"\n  config.{key}: {why}" for key, why in found.items())
        raise ConfigError(
            f"every override must do something, but nothing in this run reads{listed}"
        )


def unread(config: Any, key: str) -> str:
    """Why nothing reads a dotted key, and what to write instead; empty where something reads it."""
    section, _, name = key.partition(".")
    for rule in (RULES.get(key), SECTIONS.get(section)):
        why = rule(config, name) if rule else ""
        if why:
            return why
    return ""


# --- rules: each returns why its key is not read, or nothing -------------------------------------


def source(config: Any, name: str) -> str:
    if not config.data.mixture:
        return ""
    return (
        "data.mixture names its own sources. Write them there, or give the source to the config "
        "file where it takes one: --config=FILE.py:text:PATH"
    )


def mixing(config: Any, name: str) -> str:
    if not config.data.mixture:
        return "there is no mixture. Write data.mixture=((SOURCE, OBJECTIVE, RATE), ...) too"
    if name != "mixing" and config.data.mixing != "proportional":
        return "data.mixing=given takes rates as they are. Write data.mixing=proportional too"
    return ""


def text_key(config: Any, name: str) -> str:
    """Where no file has records; it is read where nobody can say, as files are on another host."""
    members = config.data.mixture or ((config.data.source,),)
    try:
        if any(has_records(str(member[0])) for member in members):
            return ""
    except UserError:  # told where the data is opened
        return ""
    return "no file of data.source has records. It is for .jsonl files and tfds; leave it out"


def has_records(name: str) -> bool:
    if name.partition(":")[0] not in ("stdlib", "text"):
        return True
    return any(hasattr(shard, "keys") for shard in sources.open_source(name).shards)


def first_phase(config: Any, name: str) -> str:
    """`train.phases` sets it from step 0 on."""
    phases = spec_of(config).phases  # malformed ones are refused
    first = config.train.phases[:1]
    if not first or phases[0].first != first[0][0] or name not in dict(first[0][1]):
        return ""
    return f"train.phases sets {name} from step 0 on. Write it there, or write train.phases=() too"


def sample_tokens(config: Any, name: str) -> str:
    if not config.eval.sample_tokens or Task(spec_of(config)).objective.covers_text:
        return ""
    return f"objective.name={config.objective.name} writes no samples. Leave it out"


def no_decay(config: Any, name: str) -> str:
    if config.optimizer.weight_decay or config.optimizer.name == "lamb":
        return ""
    return "optimizer.weight_decay is 0. Write optimizer.weight_decay too"


def of_all(config: Any, name: str) -> str:
    """Shares that i.i.d. denoising has where its targets are the text with nothing left out."""
    section = config.objective
    if section.name != "iid_denoising" or section.targets == "all":
        return ""
    return f"objective.targets={section.targets} has no such share. Write objective.targets=all too"


def objective(config: Any, name: str) -> str:
    """Where every member of a mixture has options of its own, the section says what they share."""
    if not config.data.mixture or name == "name":
        return ""
    here = Task(spec_of(config))
    if any(member.objective is here.objective for member in here.members):
        return ""
    if shared(another(config.objective, name)) != shared(here.objective):
        return ""
    return (
        "each member of data.mixture has an objective with options of its own. Write it there: "
        f"(SOURCE, {{'name': ..., '{name}': {config.objective[name]!r}}}, RATE)"
    )


def another(section: Any, name: str) -> Objective | None:
    """The objective of a section with another value of one option; None where none is known."""
    build = registry.load("objectives", section.name, "objective.name").build
    options = registry.options(build)
    given = {key: section[key] for key in options}
    now, other = given[name], options[name].default
    if now == other:
        if isinstance(now, str):
            return None
        other = not now if isinstance(now, bool) else now + 1 if isinstance(now, int) else now / 2
    try:
        return build(**{**given, name: other})
    except ConfigError:
        return None


def shared(of: Objective | None) -> dict[str, Any] | None:
    """What a mixture reads of the objective that the section names."""
    return of and {
        **compatibility.device_half(of),
        "metrics": of.metrics,
        "pll_examples": of.pll_examples,
        "baselines": of.baselines,
        "covers_text": of.covers_text,
    }


def tokenizer(config: Any, name: str) -> str:
    """Options of training, where the vocabulary is there already."""
    section = config.tokenizer
    read = {"name", "path"} | registry.options(
        registry.load("tokenizers", section.name, "").load
    ).keys()
    if not section.path or name in read:
        return ""
    return "it is for training, and tokenizer.path names a vocabulary. Leave one of them out"


def schedule(config: Any, name: str) -> str:
    """Numbers that all schedules are given, and this one does not take."""
    section = config.optimizer
    read = registry.options(schedules.SCHEDULES[section.schedule])
    if name in read or name not in registry.options(schedules.build_schedule):
        return ""
    near = " or ".join(n for n, by in schedules.SCHEDULES.items() if name in registry.options(by))
    return f"optimizer.schedule={section.schedule} has none. Write optimizer.schedule={near} too"


Rule = Callable[[Any, str], str]
RULES: dict[str, Rule] = {
    "data.source": source,
    "data.mixing": mixing,
    "data.mixing_cap": mixing,
    "data.mixing_temperature": mixing,
    "data.text_key": text_key,
    "train.batch_size": first_phase,
    "train.accumulate": first_phase,
    "eval.sample_tokens": sample_tokens,
    "optimizer.no_decay": no_decay,
    "objective.replaced": of_all,
    "objective.random": of_all,
}
SECTIONS: dict[str, Rule] = {
    "objective": objective,
    "tokenizer": tokenizer,
    "optimizer": schedule,
}
