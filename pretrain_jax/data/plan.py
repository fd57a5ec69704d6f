"""Which examples share a row: decided once, from lengths alone, before anything is shuffled.

Best-fit-decreasing inside windows of 256 examples, on all budgets at once. Examples that fill a
row are set apart first. Rows hold neighbours of the corpus; each epoch shuffles the rows.
"""

import hashlib
from functools import partial
from pathlib import Path

import numpy as np

from pretrain_jax.files import atomic, parsing
from pretrain_jax.ragged import Ragged, stretches

CODE_VERSION = 1
ANEW = "delete the folder: the next run makes it anew"
FILES = ("row_offsets", "order")
WINDOW = 256
SCALE = 1 << 20  # budgets are compared in integers: 1 / SCALE of a row


class Rows:
    """The plan: row r holds the examples order[row_offsets[r] : row_offsets[r + 1]].

    row_offsets   int64 [R+1]
    order         int64 [N], each example once; ascending inside a row
    """

    def __init__(self, row_offsets: np.ndarray, order: np.ndarray, folder: Path | None = None):
        self.row_offsets = row_offsets
        self.order = order
        self.folder = folder

    def __len__(self) -> int:
        return len(self.row_offsets) - 1

    def __getitem__(self, row: int) -> np.ndarray:
        return self.order[self.row_offsets[row] : self.row_offsets[row + 1]]

    def take(self, rows: np.ndarray) -> Ragged:
        """The examples of these rows, one row behind the other."""
        sizes = self.row_offsets[rows + 1] - self.row_offsets[rows]
        return stretches(self.order, self.row_offsets[rows], sizes, np.int64)

    def __reduce__(self):
        """A worker process opens the files itself."""
        if self.folder:
            return load_rows, (self.folder,)
        return Rows, (self.row_offsets, self.order)


def plan_rows(lengths: np.ndarray, budgets: np.ndarray, window: int = WINDOW) -> Rows:
    """Rows for N examples with A kinds of length each, such that every row keeps every budget.

    lengths   int [N, A]
    budgets   int [A], positive

    With budgets [8] the lengths 8, 5, 4, 3, 4 become the rows (8), (5, 3), (4, 4):

    >>> rows = plan_rows(np.array([[8], [5], [4], [3], [4]]), np.array([8]))
    >>> [rows[r].tolist() for r in range(len(rows))]
    [[0], [1, 3], [2, 4]]
    """
    lengths, budgets = np.asarray(lengths, np.int64), np.asarray(budgets, np.int64)
    if (lengths > budgets).any():
        raise ValueError(f"an example needs {lengths.max(0)} where a row has {budgets}")
    row_of = np.empty(len(lengths), np.int64)
    alone = (lengths == budgets).any(1)
    rows = np.count_nonzero(alone)
    row_of[alone] = np.arange(rows)
    shared = np.flatnonzero(~alone)
    for at in range(0, len(shared), 1024 * window):
        taken = shared[at : at + 1024 * window]
        placed, used = fill(lengths[taken], budgets, window)
        row_of[taken] = rows + placed
        rows += used
    first = np.full(rows, len(lengths))
    np.minimum.at(first, row_of, np.arange(len(lengths)))
    rank = np.empty(rows, np.int64)
    rank[np.argsort(first)] = np.arange(rows)
    row_of = rank[row_of]
    counts = np.bincount(row_of, minlength=rows)
    return Rows(np.concatenate([[0], np.cumsum(counts)]), np.argsort(row_of, kind="stable"))


def fill(lengths: np.ndarray, budgets: np.ndarray, window: int) -> tuple[np.ndarray, int]:
    """The row of each example, and how many rows that makes; all windows are filled in step.

    Each step places the next largest example of every window W into the row of its window that
    it leaves least room in, or into a new one.
    """
    count, axes = lengths.shape
    windows = -(-count // window)
    weight = SCALE // budgets
    padded = np.zeros((windows * window, axes), np.int64)
    padded[:count] = lengths
    padded = padded.reshape(windows, window, axes)
    largest_first = np.argsort(-(padded @ weight), axis=1, kind="stable")
    room = np.broadcast_to(budgets, (windows, window, axes)).copy()
    score = room @ weight
    row_of = np.empty((windows, window), np.int64)
    opened = np.zeros(windows, np.int64)
    each = np.arange(windows)
    for step in range(window):
        example = largest_first[:, step]
        need = padded[each, example]
        limit = int(opened.max()) + 1  # every window has an empty row among these
        fits = (room[:, :limit] >= need[:, None]).all(-1)
        row = np.where(fits, score[:, :limit], np.iinfo(np.int64).max).argmin(1)
        row_of[each, example] = row
        room[each, row] -= need
        score[each, row] -= need @ weight
        opened = np.maximum(opened, row + 1)
    flat = (row_of + each[:, None] * window).ravel()[:count]
    used, dense = np.unique(flat, return_inverse=True)
    return dense, len(used)


def planned_rows(
    parent: Path, lengths: np.ndarray, budgets: np.ndarray, window: int = WINDOW
) -> Rows:
    """`plan_rows`, kept in a folder of `parent` that is named by all it depends on."""
    lengths, budgets = np.asarray(lengths, np.int64), np.asarray(budgets, np.int64)
    key = hashlib.sha256(f"{CODE_VERSION} {window} {budgets.tolist()} {lengths.shape}".encode())
    key.update(np.ascontiguousarray(lengths).data)
    folder = parent / f"rows-{key.hexdigest()[:32]}"
    atomic.ensure(
        folder,
        partial(whole, examples=len(lengths)),
        lambda building: save(building, plan_rows(lengths, budgets, window)),
    )
    return load_rows(folder)


def save(folder: Path, rows: Rows) -> None:
    for name, array in zip(FILES, (rows.row_offsets, rows.order), strict=True):
        np.save(folder / f"{name}.npy", array)


def load_rows(folder: Path) -> Rows:
    """The plan in `folder`, memory-mapped."""
    row_offsets, order = (parsing.read_array(folder / f"{n}.npy", np.int64, ANEW) for n in FILES)
    return Rows(row_offsets, order, folder)


def whole(folder: Path, examples: int) -> bool:
    """Whether the folder holds a plan for so many examples: each of them once, in rows.

    Raises DataError where a file holds something else.
    """
    rows = load_rows(folder)
    edges, order = rows.row_offsets, rows.order
    if len(order) != examples or not len(edges) or (edges[0], edges[-1]) != (0, examples):
        return False
    inside = not examples or (order.min() >= 0 and order.max() < examples)
    return bool((edges[1:] >= edges[:-1]).all() and inside and np.bincount(order).all())
