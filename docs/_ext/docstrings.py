"""Docstrings of the package as reStructuredText, for autodoc.

The docstrings are plain text: paragraphs, indented examples, `>>>` sessions, names in single
backticks, and lines "name: description". Sphinx reads reStructuredText, where the same text would
mean something else.
"""

import re

NAMED = re.compile(r"(\w+)(?::|  )\s*(\S.*)")
SPECIAL = re.compile(r"([*|\\]|(?<=\w)_(?=\W|$))")


def convert(lines: list[str]) -> list[str]:
    """The lines of a docstring (without its margin) as reStructuredText."""
    converted: list[str] = []
    for block in blocks(lines):
        converted += [*paragraph(block), ""]
    return converted


def blocks(lines: list[str]) -> list[list[str]]:
    """Paragraphs: groups of lines without blank lines; indented neighbours are one group."""
    groups: list[list[str]] = [[]]
    for line in lines:
        before = groups[-1]
        if not line.strip():
            if before and before[-1].strip():
                groups.append([])
        else:
            before.append(line)
    found: list[list[str]] = []
    for group in (group for group in groups if group):
        if found and indented(group) and indented(found[-1]):
            found[-1] += ["", *group]
        else:
            found.append(group)
    return found


def indented(block: list[str]) -> bool:
    """Whether every line of a block is indented: an example."""
    return all(line.startswith(" ") or not line for line in block)


def paragraph(block: list[str]) -> list[str]:
    """One block as reStructuredText."""
    if block[0].lstrip().startswith(">>>"):
        return block
    if indented(block):
        return ["::", "", *(f"    {line}".rstrip() for line in block)]
    if table(block):
        return ["::", "", *(f"    {line}".rstrip() for line in block)]
    if all(NAMED.match(line) or line.startswith(" ") for line in block) and NAMED.match(block[0]):
        return definitions(block)
    return [escaped(" ".join(line.strip() for line in block))]


def table(block: list[str]) -> bool:
    """Whether a block is a drawing or has columns: a line has a wide gap after its first word."""
    return any("   " in line.strip().partition("  ")[2].strip() for line in block)


def definitions(block: list[str]) -> list[str]:
    """Lines "name: description" as a list."""
    found: list[str] = []
    for line in block:
        if match := NAMED.match(line):
            found.append(f"* ``{match[1]}``: {match[2]}")
        else:
            found[-1] += " " + line.strip()
    return [escaped(line[2:]).join(["* ", ""]) for line in found]


def escaped(text: str) -> str:
    """Text with code in double backticks and without characters that mean something in reST."""
    parts = text.replace("``", "`").split("`")
    if len(parts) % 2 == 0:  # a backtick on its own
        return SPECIAL.sub(r"\\\1", text.replace("`", "'"))
    for index, part in enumerate(parts):
        parts[index] = f"``{part}``" if index % 2 and part.strip() else SPECIAL.sub(r"\\\1", part)
    return "".join(parts)
