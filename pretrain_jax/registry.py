"""Names in a config are names of modules: objective.name="causal_lm" is objectives/causal_lm.py.

To add a choice, add a file to the folder; no other file changes. A name read from disk can only
select one of these modules. It never imports anything else.
"""

import contextlib
import difflib
import importlib
import inspect
import math
import pkgutil
import sys
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from pretrain_jax.errors import ConfigError, short_repr


def names(folder: str) -> list[str]:
    """The names that a config may use for a folder of the package.

    Modules whose names begin with "_" hold shared code and are not choices.

    >>> "causal_lm" in names("objectives")
    True
    """
    package = importlib.import_module(f"pretrain_jax.{folder}")
    modules = (module.name for module in pkgutil.iter_modules(package.__path__))
    return sorted(name for name in modules if not name.startswith("_"))


DEFINITIONS = {
    "objectives": ("build",),
    "adapters": ("build",),
    "tokenizers": ("load", "train"),
    "data.sources": ("find", "TAKES_NAME"),
    "tasks": ("TASK",),
    "reporting.trackers": ("open_run",),
    "huggingface": ("MODELS", "FOLDERS", "folders", "from_config"),
}
"""What every module of a folder of choices must define; models/_base.py checks models."""


def load(folder: str, name: str, key: str) -> ModuleType:
    """The module `name` of `folder`. Raises ConfigError if it is missing or incomplete.

    `key` is the config key it comes from, for the error message.
    """
    check_name(name, names(folder), key)
    path = folder.replace(".", "/")
    try:
        module = importlib.import_module(f"pretrain_jax.{folder}.{name}")
    except Exception as error:
        raise ConfigError(
            f"{path}/{name}.py must be importable; it ended with {type(error).__name__}: {error}"
        ) from error
    needed = DEFINITIONS.get(folder, ())
    if missing := [definition for definition in needed if not hasattr(module, definition)]:
        raise ConfigError(
            f"{path}/{name}.py must define {' and '.join(needed)}; it lacks "
            f"{' and '.join(missing)}. The docstring of {path}/__init__.py says what they are"
        )
    return module


def pick(choices: Mapping[str, Any], name: str, key: str) -> Any:
    """choices[name]. `key` is the config key it comes from, for the error message."""
    check_name(name, choices, key)
    return choices[name]


def check_name(name: str, known: Iterable[str], key: str) -> None:
    """Raises ConfigError unless `name` is in `known`; the message suggests similar names."""
    known = list(known)
    if name in known:
        return
    raise ConfigError(
        f"{key} must be one of {', '.join(sorted(known))}; "
        f"received {short_repr(name)}{did_you_mean(name, known)}"
    )


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """'; did you mean ...?', or '' when no known name is similar.

    >>> did_you_mean("learning_rat", ["learning_rate", "steps"])
    '; did you mean learning_rate?'
    """
    known = list(known)
    for cutoff in (0.75, 0.5):  # names that are less similar, only if there are no better ones
        if close := difflib.get_close_matches(str(name), known, n=3, cutoff=cutoff):
            break
    return f"; did you mean {' or '.join(close)}?" if close else ""


REQUIRED = inspect.Parameter.empty


@dataclass(frozen=True)
class Range:
    """The numbers from `least` to `most`, without a bound that is `open`."""

    least: float
    most: float = math.inf
    open: str = ""
    """"least", "most" or "both"."""
    special: int | None = None
    """One more number, with a meaning of its own."""

    def contains(self, value: float) -> bool:
        """Whether a number lies in the range; NaN and infinity never do.

        >>> Range(0, 1, open="most").contains(1.0)
        False
        """
        if value == self.special:
            return True
        above = value > self.least if self.open in ("least", "both") else value >= self.least
        below = value < self.most if self.open in ("most", "both") else value <= self.most
        return above and below and abs(value) <= sys.float_info.max

    def __str__(self) -> str:
        """The range as a message states it.

        >>> print(Range(0, 1, open="most"), Range(0), Range(1, 8, special=-1), sep="; ")
        0 or more and below 1; 0 or more, and finite; 1 or more and at most 8, or -1
        """
        least, most = _format_bound(self.least), _format_bound(self.most)
        text = f"above {least}" if self.open in ("least", "both") else f"{least} or more"
        if self.most == math.inf:
            text += ", and finite"
        else:
            text += f" and {'below' if self.open in ('most', 'both') else 'at most'} {most}"
        return text if self.special is None else f"{text}, or {self.special}"


def _format_bound(bound: float) -> str:
    """A bound as a message states it.

    >>> _format_bound(2**31 - 1), _format_bound(0.98)
    ('2^31 - 1', '0.98')
    """
    powers: dict[float, str] = {2**30: "2^30", **{2**n - 1: f"2^{n} - 1" for n in (31, 64)}}
    return powers.get(bound, f"{bound:g}")


@dataclass(frozen=True)
class Option:
    """A keyword-only parameter of a builder: its type, and its default or REQUIRED."""

    type: Any
    default: Any
    range: Range | None = field(default=None, repr=False)
    """The range of a number whose signature gives one: `Annotated[float, Range(0, 1)]`."""
    builder: Callable[..., Any] | None = field(default=None, compare=False, repr=False)
    """The function that takes it: its docstring describes the option."""


def options(*builders: Callable[..., Any]) -> dict[str, Option]:
    """The keyword-only parameters of builders, which are the keys of a config section.

    The signature of a builder is the only place that lists them.

    >>> def build(*, width: int, layers: int = 2): ...
    >>> options(build)["layers"]
    Option(type=<class 'int'>, default=2)
    >>> def build(*, share: typing.Annotated[float, Range(0, 1)] = 0.5): ...
    >>> print(options(build)["share"].range)
    0 or more and at most 1
    """
    result: dict[str, Option] = {}
    for builder in builders:
        for parameter in inspect.signature(builder, eval_str=True).parameters.values():
            if parameter.kind is inspect.Parameter.KEYWORD_ONLY:
                kind, *notes = unannotated(parameter.annotation)
                limits = next((note for note in notes if isinstance(note, Range)), None)
                result[parameter.name] = Option(kind, parameter.default, limits, builder)
    return result


def unannotated(annotation: Any) -> tuple[Any, ...]:
    """(type, *metadata) of an annotation: (float,) for float.

    >>> unannotated(typing.Annotated[float, "a share"])
    (<class 'float'>, 'a share')
    """
    if typing.get_origin(annotation) is typing.Annotated:
        return typing.get_args(annotation)
    return (annotation,)


def accepted_kwargs(builder: Callable[..., Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """The values that a builder accepts as keyword arguments.

    >>> def build(*, width: int = 1): ...
    >>> accepted_kwargs(build, {"width": 2, "layers": 3})
    {'width': 2}
    """
    return {key: values[key] for key in options(builder) if key in values}


def coerce(key: str, value: Any, wanted: Any) -> Any:
    """The value converted to the type `wanted`.

    An int becomes a float and a list a tuple where those are wanted, and 2.0 becomes the int 2.
    Raises ConfigError for any other type.
    """
    origin = typing.get_origin(wanted)
    if origin in (types.UnionType, typing.Union):
        accepted = typing.get_args(wanted)
        if isinstance(value, accepted):
            return value
        wanted = accepted[0]
    kind = origin or wanted
    if kind is tuple and isinstance(value, list | tuple):
        within = typing.get_args(wanted)[:1]
        return tuple(coerce(key, item, *within) if within else item for item in value)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        with contextlib.suppress(OverflowError):
            return float(value)
    if kind is int and isinstance(value, float) and value.is_integer():
        return int(value)
    fits = isinstance(value, kind) and (kind is bool or not isinstance(value, bool))
    if not fits:
        raise ConfigError(
            f"config.{key} must be of type {kind.__name__}; received {short_repr(value)}, "
            f"of type {type(value).__name__}"
        )
    return value
