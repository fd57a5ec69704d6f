"""Which columns of a table are read: by the header, by their places, or by their number."""

from collections.abc import Sequence
from typing import Any

from pretrain_jax.data.sources._base import Columns
from pretrain_jax.errors import DataError, short_repr

HEADERS = {
    *("text", "sentence", "sentence1", "sentence2", "premise", "hypothesis", "question", "context"),
    *("tokens", "review", "answer", "question1", "question2", "text1", "text2", "text_a", "text_b"),
    *("label", "labels", "gold_label", "tags", "answers", "sentiment", "class", "category"),
}
"""Names that only a header has: a first row with one of them is not read as a record, and
with two of them where columns are named by their places."""


def find_columns(
    first: Sequence[str], columns: Columns, path: str
) -> tuple[tuple[list[int], int | None], bool]:
    """((places of the text columns, place of the label or None), whether the row is a header), from
    the first row of a table. Raises DataError.

    >>> find_columns(["id", "text", "label"], Columns(), "a.tsv")
    (([1], 2), True)
    >>> find_columns(["gj04", "1", "", "They drank."], Columns(("3",), "1"), "cola.tsv")
    (([3], 1), False)
    >>> find_columns(["good", "fun", "1"], Columns(), "pairs.tsv")
    (([0, 1], 2), False)
    """
    texts, label = columns.wanted
    cells = [cell.strip() for cell in first]
    place = {name: at for at, name in reversed(list(enumerate(cells)))}
    if all(name in place for name in texts) and (label in place or not columns.required):
        if twice := [name for name in (*texts, label) if cells.count(name) > 1]:
            raise DataError(
                f"the columns that are read must have different names; the first row of {path} "
                f"has {cells.count(twice[0])} of the name {twice[0]!r}. Rename them"
            )
        return ([place[name] for name in texts], place.get(label)), True
    by_place = all(name.isdecimal() for name in (*texts, columns.label) if name)
    known = HEADERS & {cell.lower() for cell in cells}
    if columns.named and by_place and len(known) < 2:  # one may be a label of that name
        return places_by_number(columns, len(cells), path), False
    if columns.named and not by_place:
        wanted = (*texts, label) if columns.required else texts
        missing = [name for name in wanted if name not in place]
        raise lacks_columns(f"the first row of {path}", missing, cells, columns)
    if known:
        raise DataError(
            f"the first row of {path} is a header ({short_repr(sorted(known)[0])} names a column), "
            f"and its columns are {', '.join(map(repr, cells))}. Name those that are read: "
            "data.fields=('TEXT',) or ('FIRST', 'SECOND'), and data.label_key=LABEL"
        )
    unlabelled = not columns.required and len(cells) == (columns.count or 1)
    if not unlabelled and len(cells) not in (2, 3):
        raise DataError(
            f"a table without column names has the columns text, label or text, text, label; "
            f"{path} has {len(cells)}: {short_repr(cells)}. If its first row is a header, name "
            "columns of it: data.fields=('TEXT',) data.label_key=LABEL; otherwise name them by "
            "their places, from 0: data.fields=('3',) data.label_key=1"
        )
    last = len(cells) - (not unlabelled)
    return (list(range(last)), None if unlabelled else last), False


def places_by_number(columns: Columns, width: int, path: str) -> tuple[list[int], int | None]:
    """The places of columns that are named by digits. Raises DataError for one that is missing."""
    names, label = columns.wanted[0], columns.label
    if not all(name.isdecimal() for name in names) or (columns.required and not label):
        raise DataError(
            f"{path} has no header with {names} and {label or columns.default_label!r}; by place, "
            f"all must be numbers from 0. Name {columns.options}"
        )
    places = [int(name) for name in names]
    at = int(label) if label and (columns.required or int(label) < width) else None
    if most := [place for place in (*places, at) if place is not None and place >= width]:
        there = map(str, range(width))
        raise lacks_columns(f"the first row of {path}", map(str, most), there, columns)
    return places, at


def lacks_columns(where: str, missing: Any, present: Any, columns: Columns) -> DataError:
    """The error for columns that a record or a header lacks."""
    return DataError(
        f"{where} must have the columns {', '.join(map(repr, missing))}; it has "
        f"{', '.join(map(repr, present)) or 'none'}. Name {columns.options}"
    )
