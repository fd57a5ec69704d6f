"""The files that `text:GLOB` names.

`*`, `?`, `[ab]` and `**` (any number of folders) are wildcards, `{a,b}` and `a,b` alternatives.
What exists by a name as it is written is taken by that name, whatever characters are in it.
"""

import difflib
import glob
import logging
import os
import re

from pretrain_jax.errors import ConfigError, InputMissing
from pretrain_jax.files import paths

KNOWN = (".txt", ".md", ".jsonl")
"""Endings that a wildcard without an ending of its own takes, each also as .gz."""
BARE = re.compile(r"[*?.]*")
MOST_BRACES = 8
log = logging.getLogger(__name__)


def files(name: str) -> list[str]:
    """The paths that a glob matches, sorted. Raises InputMissing where nothing matches."""
    pattern = paths.expanded(name, "data.source")
    if "\0" in pattern:
        raise ConfigError(f"data.source must be a path; received {name!r}")
    found = matches(pattern)
    options = [pattern] if found else alternatives(pattern)
    for option in options if options != [pattern] else []:
        more = matches(paths.expanded(option, "data.source"))
        found += more or nothing(option)
    return sorted(set(found or nothing(pattern)))


def alternatives(pattern: str) -> list[str]:
    """The patterns that one with `{a,b}` or commas stands for.

    >>> alternatives("books/{a,b}*.txt,more.txt")
    ['books/a*.txt', 'more.txt', 'books/b*.txt', 'more.txt']
    """
    if pattern.count("{") > MOST_BRACES:
        raise ConfigError(
            f"data.source may have at most {MOST_BRACES} pairs of {{ }}; received {pattern!r}"
        )
    braces = re.search(r"\{([^{}]*)\}", pattern)
    if braces:
        before, behind = pattern[: braces.start()], pattern[braces.end() :]
        options = braces.group(1).split(",")
        return [each for o in options for each in alternatives(f"{before}{o}{behind}")]
    return [each.strip() for each in pattern.split(",") if each.strip()]


def matches(pattern: str) -> list[str]:
    """The files that one pattern matches, or those below the folder that it names.

    A wildcard alone takes files with a known ending, and the log says what it left out.
    """
    start, rest = existing_start(pattern)
    if not rest and os.path.isdir(start):
        rest = "**"
    elif not rest:
        return [start] if start else []
    whole = os.path.join(glob.escape(start), rest)
    found = [path for path in glob.glob(whole, recursive=True) if not os.path.isdir(path)]
    if "**" in rest:  # links between folders may lead to a file by many ways
        found = list(
            {os.path.realpath(path): path for path in sorted(found, reverse=True)}.values()
        )
    if not BARE.fullmatch(rest.rpartition("/")[2]):
        return found
    taken = [path for path in found if path.lower().removesuffix(".gz").endswith(KNOWN)]
    if len(taken) < len(found):
        others = sorted(
            {os.path.splitext(path)[1] or "no ending" for path in found if path not in taken}
        )
        log.warning(
            "text:%s takes files that end in %s; %d others are left out (%s). To read them, name "
            "their ending, as in text:%s",
            pattern,
            ", ".join(KNOWN),
            len(found) - len(taken),
            ", ".join(others[:8]),
            os.path.join(start, "*.xml"),
        )
    return taken


def existing_start(pattern: str) -> tuple[str, str]:
    """The longest beginning of the pattern that exists as it is written, and what follows."""
    parts = pattern.split("/")
    for number in range(len(parts), 0, -1):
        start = "/".join(parts[:number]) or "/"
        if os.path.lexists(start):
            return start, "/".join(part for part in parts[number:] if part)
    return "", pattern


def nothing(pattern: str) -> list[str]:
    """Raises InputMissing: what was looked for, and what lies there."""
    hint = ""
    if "[" in pattern:
        hint = " [ ] match one of the characters inside; to match [ itself, write [[]."
    raise InputMissing(
        f"data.source 'text:{pattern}' must match at least one file; nothing matches.{hint} "
        + neighbours(pattern)
    )


def neighbours(pattern: str) -> str:
    """What lies where the glob looked: its nearest folder that exists, and the likeliest names."""
    start, rest = existing_start(pattern)
    folder = start if os.path.isdir(start) else os.path.dirname(start) or "."
    missed = rest.partition("/")[0]
    try:
        names = sorted(e.name + "/" * e.is_dir() for e in os.scandir(folder) if e.name[0] != ".")
    except OSError as error:
        return f"The folder {os.path.abspath(folder)} cannot be read: {error.strerror}"
    near = difflib.get_close_matches(missed, names, n=8, cutoff=0.3)
    listed = (near + [n for n in names if n not in near])[:8]
    more = ", ..." if len(names) > 8 else ""
    return f"The folder {os.path.abspath(folder)} holds {', '.join(listed) or 'nothing'}{more}"
