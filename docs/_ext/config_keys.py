"""The reference of config keys, as Markdown: generated from the signatures that define them."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from descriptions import describe

from pretrain_jax.composition import ranges, sections
from pretrain_jax.registry import REQUIRED, Option

OBVIOUS = (", and finite", " and at most 2^31 - 1")
"""Bounds that the page states once."""


def reference() -> str:
    """The page: a table of keys for each section."""
    return "\n".join([*top(), *(line for name in sections.SECTIONS for line in section(name))])


def top() -> Iterator[str]:
    """The keys outside sections."""
    yield from ["## Top level", "", *table("", sections.TOP), ""]


def section(name: str) -> Iterator[str]:
    """The keys of one section: those of every choice, then those of each choice alone."""
    yield from [f"## {name}", ""]
    choices = dict(labelled(name))
    common = shared(choices.values())
    yield from [*table(name, common), ""]
    for label, known in choices.items():
        specific = {key: option for key, option in known.items() if key not in common}
        if specific:
            yield from [f"### {name}: {label}", "", *table(name, specific), ""]


def labelled(name: str) -> Iterator[tuple[str, dict[str, Option]]]:
    """(name of a choice, its keys). An optimizer and a schedule are two choices of one section."""
    if name != "optimizer":
        for chosen in sections.choices(name):
            yield chosen.get("name", ""), dict(sections.section_options(name, chosen))
        return
    pairs = [(chosen, sections.section_options(name, chosen)) for chosen in sections.choices(name)]
    for choice in ("name", "schedule"):
        for value in dict.fromkeys(chosen[choice] for chosen, _ in pairs):
            yield value, shared(options for chosen, options in pairs if chosen[choice] == value)


def shared(choices: Iterable[Mapping[str, Option]]) -> dict[str, Option]:
    """The keys that all choices have, with the same default and the same description."""
    first, *others = choices

    def same(key: str, other: Mapping[str, Option]) -> bool:
        return key in other and row("", key, other[key]) == row("", key, first[key])

    return {key: first[key] for key in first if all(same(key, other) for other in others)}


def table(section: str, known: Mapping[str, Option]) -> Iterator[str]:
    """A Markdown table of keys."""
    yield "| key | type | default | meaning |"
    yield "| --- | --- | --- | --- |"
    for key, option in known.items():
        yield row(section, key, option)


def row(section: str, key: str, option: Option) -> str:
    """One key: `train.steps`, its type, its default, its description and its range."""
    name = f"{section}.{key}" if section else key
    kind = getattr(option.type, "__name__", str(option.type))
    default = "required" if option.default is REQUIRED else f"`{shown(option.default)}`"
    meaning = describe(key, option, sections.__doc__ or "")
    meaning = meaning[:1].upper() + meaning[1:].rstrip(".")
    if allowed := option.range or ranges.RANGES.get(name):
        meaning += f". Range: {allowed}"
        for bound in OBVIOUS:
            meaning = meaning.removesuffix(bound)
    return f"| `{name}` | {kind} | {default} | {escaped(meaning)}. |"


def shown(value: Any) -> str:
    """A default as a config file writes it."""
    return f'"{value}"' if isinstance(value, str) else str(value).replace("'", '"')


def escaped(text: str) -> str:
    """Text for a cell of a Markdown table; what is between backticks stays."""
    parts = text.replace("|", "\\|").split("`")
    for index in range(0, len(parts), 2):
        for sign in "*_<[":
            parts[index] = parts[index].replace(sign, f"\\{sign}")
    return "`".join(parts)
