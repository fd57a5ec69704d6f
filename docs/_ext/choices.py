"""Tables of what a config can name, as Markdown: configs, objectives, models and more."""

import ast
import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import jax
from config_keys import escaped

from pretrain_jax import __main__, registry
from pretrain_jax.composition import build, compatibility, config
from pretrain_jax.errors import ConfigError
from pretrain_jax.estimates import sizes
from pretrain_jax.models import _base
from pretrain_jax.optim import optimizers, schedules

ROOT = Path(__file__).parents[2]
SOURCE = re.compile(r"\(([^()]*(?:\([^()]*\)[^()]*)*)\)")


def configs() -> str:
    """The table of configs: name, parameters counted from shapes, paper from the docstring."""
    sized = [(family(path), parameters(path), path) for path in (ROOT / "configs").glob("*.py")]
    lines = ["| config | parameters | model | source |", "| --- | ---: | --- | --- |"]
    for _, size, path in sorted(sized):
        model, source = map(escaped, headline(path))
        lines.append(f"| `{path.stem}` | {size:,} | {model} | {source} |")
    return "\n".join(lines)


def family(path: Path) -> str:
    """The first word of a config's name: "gpt2" of gpt2_xl.py."""
    return path.stem.partition("_")[0]


def parameters(path: Path) -> int:
    """Trained parameters of a config, from shapes: nothing is allocated."""
    settings = build.fix_schedule(config.read(str(path)))
    design = build.build_design(settings, jax.devices()[:1])
    return sizes.total_parameters(design)


def headline(path: Path) -> tuple[str, str]:
    """(model, source) from the first line of a config's docstring.

    "GPT-2 XL, 1,557,611,200 parameters (Radford et al. 2019, section 2.3)." is
    ("GPT-2 XL", "Radford et al. 2019, section 2.3").
    """
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    first = docstring.partition("\n\n")[0].replace("\n", " ")
    source = "; ".join(SOURCE.findall(first))
    plain = re.sub(r",? (with )?[\d,]+ parameters", "", SOURCE.sub("", first))
    return " ".join(plain.split()).rstrip(" ."), source


def objectives() -> str:
    """The table of objectives: what each predicts, and the models that it fits."""
    lines = ["| `objective.name` | in one sentence | fits `model.name` |", "| --- | --- | --- |"]
    for name in registry.names("objectives"):
        module = registry.load("objectives", name, "objective.name")
        lines.append(f"| `{name}` | {summary(module)} | {'<br>'.join(fits(name, module))} |")
    return "\n".join(lines)


def fits(name: str, module: ModuleType) -> Iterator[str]:
    """The models of an objective, for each value of `objective.inputs` where it has that key."""
    forms = ("memory", "prefix", "stream") if "inputs" in registry.options(module.build) else ("",)
    for form in forms:
        options = {"inputs": form} if form else {}
        names = registry.names("models")
        models = [f"`{model}`" for model in names if fit(name, module, options, model)]
        yield f"{form}: {', '.join(models)}" if form else ", ".join(models)


def fit(name: str, module: ModuleType, options: dict[str, Any], model: str) -> bool:
    """Whether the check at start-up accepts this objective and this model."""
    architecture = _base.load(model)
    defaults = {key: option.default for key, option in registry.options(architecture.build).items()}
    section = Section(defaults | {"name": model})
    settings = SimpleNamespace(objective=SimpleNamespace(name=name), model=section)
    try:
        objective = compatibility.call_build(module.build, options, architecture)
        compatibility.check_match(settings, objective, architecture)
    except ConfigError:
        return False
    return True


class Section(dict):
    """A section of a config: its keys are attributes too."""

    __getattr__ = dict.__getitem__


def models() -> str:
    """The table of architectures."""
    return choices("models", "`model.name`")


def tokenizers() -> str:
    """The table of tokenizers."""
    return choices("tokenizers", "`tokenizer.name`")


def sources() -> str:
    """The table of sources of text."""
    return choices("data.sources", "`data.source`")


def tasks() -> str:
    """The table of tasks: what each is, how items are asked, and the metrics."""
    lines = ["| `--tasks` | in one sentence | how items are asked | metrics |", "| --- " * 4 + "|"]
    for name in registry.names("tasks"):
        module = registry.load("tasks", name, "--tasks")
        metrics = ", ".join(f"`{metric}`" for metric in module.TASK.metrics)
        protocol = module.TASK.protocol
        lines.append(f"| `{name}` | {summary(module)} | {protocol} | {metrics} |")
    return "\n".join(lines)


def choices(folder: str, head: str) -> str:
    """The modules of a registry folder, each with the first sentence of its docstring."""
    lines = [f"| {head} | in one sentence |", "| --- | --- |"]
    for name in registry.names(folder):
        lines.append(f"| `{name}` | {summary(registry.load(folder, name, head))} |")
    return "\n".join(lines)


def optimizer_names() -> str:
    """The tables of optimizers and of schedules."""
    lines = []
    for key, known in (("name", optimizers.OPTIMIZERS), ("schedule", schedules.SCHEDULES)):
        lines += [f"| `optimizer.{key}` | in one sentence |", "| --- | --- |"]
        lines += [f"| `{name}` | {summary(function)} |" for name, function in known.items()] + [""]
    return "\n".join(lines)


def commands() -> str:
    """The usage of each command: the docstring of its module."""
    lines = []
    for name in __main__.commands():
        module = importlib.import_module(f"pretrain_jax.{name}")
        lines += [f"## {name}", "", "```text", inspect.getdoc(module) or "", "```", ""]
    return "\n".join(lines)


def summary(documented: Any) -> str:
    """The first sentence of a docstring, for a cell of a table."""
    text = (inspect.getdoc(documented) or "").partition("\n\n")[0]
    return escaped(" ".join(text.split())).replace("``", "`")
