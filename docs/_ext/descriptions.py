"""Descriptions of config keys, read from the docstrings of the functions that take them.

A key is described in one line that begins with its name and a colon. Longer descriptions continue
on lines that are indented further:

    rate: share of the text that is noise
    mean_span: mean length of a span, in tokens; the lengths of a text
        add up to its noise

The fields of a dataclass are described by the string after each field. Keys that mean the same in
many builders are described once, in the docstring of their module or of its package.
"""

import ast
import inspect
import re
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from pretrain_jax.registry import Option, options

UNINDENTED = re.compile(r" *(?!\w+(?::|  )).*")
"""A line that does not begin a description."""


def describe(key: str, option: Option, fallback: str = "") -> str:
    """The description of a key on one line; "" if the docstring does not describe it.

    key: without its section ("rate"). fallback: a docstring to look into last.
    """
    docstrings = [*docstrings_of(option.builder)] if option.builder else []
    keys = options(option.builder) if option.builder else ()
    found = (entry(key, docstring, keys) for docstring in [*docstrings, fallback])
    return next((text for text in found if text), "")


def docstrings_of(builder: Callable[..., Any]) -> Iterator[str]:
    """The docstrings that may describe the keys of a builder, the most specific first."""
    if inspect.isclass(builder):
        yield "\n".join(f"{name}: {text}" for name, text in attributes(builder).items())
    yield inspect.getdoc(builder) or ""
    module = sys.modules[builder.__module__]
    yield module.__doc__ or ""
    if module.__package__:
        yield sys.modules[module.__package__].__doc__ or ""


def attributes(kind: type) -> dict[str, str]:
    """The string after each field of a class, on one line."""
    body = ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0]
    assert isinstance(body, ast.ClassDef)
    found = {}
    for field, after in zip(body.body, body.body[1:], strict=False):
        if (
            isinstance(field, ast.AnnAssign)
            and isinstance(field.target, ast.Name)
            and isinstance(after, ast.Expr)
            and isinstance(after.value, ast.Constant)
        ):
            found[field.target.id] = " ".join(str(after.value.value).split())
    return found


def entry(key: str, docstring: str, keys: Iterable[str] = ()) -> str:
    """The description of a key in a docstring, on one line.

    keys: names that begin another description, also within a line.

    >>> entry("rate", "Noise.\\n\\nrate: share of the text\\n    that is noise\\nmode: a number")
    'share of the text that is noise'
    >>> entry("mode", "rate: a share. mode: a number\\nof a token.", ["rate", "mode"])
    'a number of a token.'
    """
    lines = inspect.cleandoc(docstring).splitlines()
    inline = re.compile(rf"(?<=[.;]) (?=(?:{'|'.join(map(re.escape, keys))}): )")
    if keys:
        lines = [part for line in lines for part in split_inline(line, inline)]
    begins = re.compile(rf"( *){re.escape(key)}(?::|  )\s*(\S.*)")
    for number, line in enumerate(lines):
        if match := begins.fullmatch(line):
            text = [match[2], *continuation(lines[number + 1 :], len(match[1]))]
            return " ".join(text)
    return ""


def split_inline(line: str, inline: re.Pattern[str]) -> list[str]:
    """A line cut before each description within it; the parts keep the margin of the line."""
    margin = line[: len(line) - len(line.lstrip())]
    first, *others = inline.split(line)
    return [first, *(margin + part for part in others)]


def continuation(lines: list[str], margin: int) -> Iterator[str]:
    """The lines of a description after its first: up to a blank line, a smaller margin or the
    next description."""
    for line in lines:
        indented = len(line) - len(line.lstrip()) > margin
        if not line.strip() or not (indented or UNINDENTED.fullmatch(line)):
            return
        yield line.strip()
