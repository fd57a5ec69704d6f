"""Characters in a text that switch between annotations of what follows.

The Unicode noncharacter U+FDD0 + a switches to annotation a, which is 0 (none, also at the start of
a document), 1 or 2. Unicode reserves noncharacters for internal use, so ordinary text has none;
those in the text of a user are removed.
"""

import re
from collections.abc import Iterator

SWITCH = ("\ufdd0", "\ufdd1", "\ufdd2")
SWITCHES = re.compile("[\ufdd0-\ufdd2]")


def strip_switches(text: str) -> str:
    """The text without the switch characters."""
    return SWITCHES.sub("", text)


def split_at_switches(text: str) -> Iterator[tuple[int, str]]:
    """(annotation, text) of the parts between switches, including empty parts.

    >>> list(split_at_switches("an" + SWITCH[1] + " inner" + SWITCH[0]))
    [(0, 'an'), (1, ' inner'), (0, '')]
    """
    mark, at = 0, 0
    for switch in SWITCHES.finditer(text):
        yield mark, text[at : switch.start()]
        mark, at = SWITCH.index(switch.group()), switch.end()
    yield mark, text[at:]


def final_annotation(text: str, mark: int) -> int:
    """The annotation at the end of a text that starts with annotation `mark`."""
    at = max(map(text.rfind, SWITCH))
    return mark if at < 0 else SWITCH.index(text[at])
