"""The files that `text:GLOB` matches.

`*`, `?`, `[ab]` and `**` (any number of folders) are wildcards; `{a,b}` and `a,b` are alternatives.
A path that exists literally is used as it is, even if it contains such characters.
"""

import difflib
import glob
import logging
import os
import re

from pretrain_jax.errors import ConfigError, InputMissing
from pretrain_jax.files import paths

KNOWN = (".txt", ".md", ".jsonl")
"""Extensions that a wildcard without an extension matches, also with .gz."""
BARE = re.compile(r"[*?.]*")
MOST_BRACES = 8
log = logging.getLogger(__name__)


def expand_glob(name: str) -> list[str]:
    """The sorted paths that a glob matches. Raises InputMissing if there are none."""
    pattern = paths.expand_user(name, "data.source")
    if "\0" in pattern:
        raise ConfigError(f"data.source must be a path; received {name!r}")
    found = matches(pattern)
    options = [pattern] if found else alternatives(pattern)
    for option in options if options != [pattern] else []:
        more = matches(paths.expand_user(option, "data.source"))
        found += more or raise_no_match(option)
    return sorted(set(found or raise_no_match(pattern)))


def alternatives(pattern: str) -> list[str]:
    """Expands `{a,b}` and commas in a pattern into a list of patterns.

    >>> alternatives("books/{a,b}*.txt,more.txt")
    ['books/a*.txt', 'more.txt', 'books/b*.txt', 'more.txt']
    """
    if pattern.count("{") > MOST_BRACES:
        raise ConfigError(
            f"data.source may have at most {MOST_BRACES} pairs of {{ }}; received {pattern!r}"
        )
    braces = re.search(r"\{([^{}]*)\}", pattern)
    if braces:
        before, after = pattern[: braces.start()], pattern[braces.end() :]
        options = braces.group(1).split(",")
        return [each for o in options for each in alternatives(f"{before}{o}{after}")]
    return [each.strip() for each in pattern.split(",") if each.strip()]


def matches(pattern: str) -> list[str]:
    """The files that a pattern matches; for a folder, all files below it.

    A wildcard without an extension matches files with the extensions KNOWN. Other files are left
    out with a warning.
    """
    start, rest = existing_start(pattern)
    if not rest and os.path.isdir(start):
        rest = "**"
    elif not rest:
        return [start] if start else []
    full = os.path.join(glob.escape(start), rest)
    found = [path for path in glob.glob(full, recursive=True) if not os.path.isdir(path)]
    if "**" in rest:  # symbolic links may lead to the same file on several paths
        by_real_path = {os.path.realpath(path): path for path in sorted(found, reverse=True)}
        found = list(by_real_path.values())
    if not BARE.fullmatch(rest.rpartition("/")[2]):
        return found
    taken = [path for path in found if path.lower().removesuffix(".gz").endswith(KNOWN)]
    if len(taken) < len(found):
        others = sorted(
            {os.path.splitext(path)[1] or "no extension" for path in found if path not in taken}
        )
        log.warning(
            "text:%s matches files that end in %s; %d other files are left out (%s). To read them, "
            "name their extension, as in text:%s",
            pattern,
            ", ".join(KNOWN),
            len(found) - len(taken),
            ", ".join(others[:8]),
            os.path.join(start, "*.xml"),
        )
    return taken


def existing_start(pattern: str) -> tuple[str, str]:
    """(the longest prefix of the pattern that exists literally, the rest)."""
    parts = pattern.split("/")
    for number in range(len(parts), 0, -1):
        start = "/".join(parts[:number]) or "/"
        if os.path.lexists(start):
            return start, "/".join(part for part in parts[number:] if part)
    return "", pattern


def raise_no_match(pattern: str) -> list[str]:
    """Raises InputMissing with the pattern and the content of the folder."""
    hint = ""
    if "[" in pattern:
        hint = " [ ] match one of the enclosed characters; to match [ itself, write [[]."
    raise InputMissing(
        f"data.source 'text:{pattern}' must match at least one file; it matches none.{hint} "
        + describe_folder(pattern)
    )


def describe_folder(pattern: str) -> str:
    """The content of the deepest existing folder of a glob, similar names first."""
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
