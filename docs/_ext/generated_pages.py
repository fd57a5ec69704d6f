"""The Sphinx extension of this site.

A line with `@@NAME@@` in a page is replaced by the Markdown that the function NAME below returns:
tables are made when the site is built and never committed. Docstrings are converted for autodoc
(docstrings.py).
"""

import re
from typing import Any

import choices
import config_keys
import docstrings
import flax.linen as nn

GENERATED = {
    "commands": choices.commands,
    "config_keys": config_keys.reference,
    "configs": choices.configs,
    "objectives": choices.objectives,
    "models": choices.models,
    "tokenizers": choices.tokenizers,
    "sources": choices.sources,
    "optimizers": choices.optimizer_names,
    "tasks": choices.tasks,
}
MARKED = re.compile(r"^.*@@(\w+)@@.*$", re.MULTILINE)


def setup(app: Any) -> dict[str, bool]:
    """Registers both with Sphinx."""
    app.connect("source-read", fill)
    app.connect("autodoc-process-docstring", rewrite)
    app.connect("autodoc-process-signature", shorten)
    app.connect("autodoc-skip-member", skip)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def fill(app: Any, page: str, source: list[str]) -> None:
    """Replaces the marked lines of a page."""
    source[0] = MARKED.sub(lambda match: GENERATED[match[1]](), source[0])


def shorten(
    app: Any,
    what: str,
    name: str,
    obj: Any,
    options: Any,
    signature: str | None,
    result: str | None,
) -> tuple[str | None, str | None]:
    """Leaves out the arguments that every flax module has."""
    if signature and is_module(obj):
        signature = re.sub(r", parent: .*", ")", signature)
    return signature, result


def skip(app: Any, what: str, name: str, obj: Any, skipped: bool, options: Any) -> bool | None:
    """Leaves out the fields that every flax module has."""
    return True if name in ("parent", "scope") else None


def is_module(obj: Any) -> bool:
    """Whether an object is a class of flax modules."""
    return isinstance(obj, type) and issubclass(obj, nn.Module)


def rewrite(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Converts one docstring."""
    lines[:] = docstrings.convert(lines)
