"""Which examples share a row: planned once, from lengths alone, before rows are shuffled.

Best-fit-decreasing bin packing in windows of 256 examples, for all budgets at once. An example that
fills a row alone gets its own row first. A row holds examples that are close to each other in the
corpus; each epoch shuffles the rows.
"""

import hashlib
from functools import partial
from pathlib import Path

import numpy as np

from pretrain_jax.files import parsing, sealed_folder
from pretrain_jax.files.sealed_folder import REBUILD
from pretrain_jax.ragged import Ragged, gather_slices
from pretrain_jax.rounding import ceil_div

CODE_VERSION = 1
FILES = ("row_offsets", "order")
WINDOW = 256
SCALE = 1 << 20  # room is compared in integer units of 1 / SCALE of a row


class RowPlan:
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
        """The examples of these rows, as rows of a ragged array."""
        sizes = self.row_offsets[rows + 1] - self.row_offsets[rows]
        return gather_slices(self.order, self.row_offsets[rows], sizes, np.int64)

    def __reduce__(self):
        """Pickles the folder, if there is one; a worker process opens the files again."""
        if self.folder:
            return load_plan, (self.folder,)
        return RowPlan, (self.row_offsets, self.order)


def plan_rows(lengths: np.ndarray, budgets: np.ndarray, window: int = WINDOW) -> RowPlan:
    """Plans rows for N examples with A lengths each, so that no row exceeds a budget.

    lengths   int [N, A]
    budgets   int [A], positive

    Raises ValueError for an example that exceeds a budget.

    With budgets [8], the lengths 8, 5, 4, 3, 4 become the rows (8), (5, 3), (4, 4):

    >>> rows = plan_rows(np.array([[8], [5], [4], [3], [4]]), np.array([8]))
    >>> [rows[r].tolist() for r in range(len(rows))]
    [[0], [1, 3], [2, 4]]
    """
    lengths, budgets = np.asarray(lengths, np.int64), np.asarray(budgets, np.int64)
    if (lengths > budgets).any():
        raise ValueError(
            f"an example must fit into a row of {budgets}; received lengths of up to "
            f"{lengths.max(0)}"
        )
    row_of = np.empty(len(lengths), np.int64)
    alone = (lengths == budgets).any(1)
    rows = np.count_nonzero(alone)
    row_of[alone] = np.arange(rows)
    shared = np.flatnonzero(~alone)
    for at in range(0, len(shared), 1024 * window):
        taken = shared[at : at + 1024 * window]
        placed, used = best_fit(lengths[taken], budgets, window)
        row_of[taken] = rows + placed
        rows += used
    first = np.full(rows, len(lengths))
    np.minimum.at(first, row_of, np.arange(len(lengths)))
    rank = np.empty(rows, np.int64)
    rank[np.argsort(first)] = np.arange(rows)
    row_of = rank[row_of]
    counts = np.bincount(row_of, minlength=rows)
    return RowPlan(np.concatenate([[0], np.cumsum(counts)]), np.argsort(row_of, kind="stable"))


def best_fit(lengths: np.ndarray, budgets: np.ndarray, window: int) -> tuple[np.ndarray, int]:
    """(the row of each example, the number of rows); all windows are filled in parallel.

    Each step puts the next largest example of every window into the row of its window with the
    least remaining room, or into a new row.
    """
    count, axes = lengths.shape
    windows = ceil_div(count, window)
    weight = SCALE // budgets
    padded = np.zeros((windows * window, axes), np.int64)
    padded[:count] = lengths
    padded = padded.reshape(windows, window, axes)
    largest_first = np.argsort(-(padded @ weight), axis=1, kind="stable")
    room = np.broadcast_to(budgets, (windows, window, axes)).copy()
    score = room @ weight
    row_of = np.empty((windows, window), np.int64)
    opened = np.zeros(windows, np.int64)
    window_ids = np.arange(windows)
    for step in range(window):
        example = largest_first[:, step]
        need = padded[window_ids, example]
        limit = int(opened.max()) + 1  # includes an empty row of every window
        fits = (room[:, :limit] >= need[:, None]).all(-1)
        row = np.where(fits, score[:, :limit], np.iinfo(np.int64).max).argmin(1)
        row_of[window_ids, example] = row
        room[window_ids, row] -= need
        score[window_ids, row] -= need @ weight
        opened = np.maximum(opened, row + 1)
    flat = (row_of + window_ids[:, None] * window).ravel()[:count]
    used, dense = np.unique(flat, return_inverse=True)
    return dense, len(used)


def cached_plan(
    parent: Path, lengths: np.ndarray, budgets: np.ndarray, window: int = WINDOW
) -> RowPlan:
    """`plan_rows`, cached in a folder of `parent` whose name is a hash of all inputs."""
    lengths, budgets = np.asarray(lengths, np.int64), np.asarray(budgets, np.int64)
    key = hashlib.sha256(f"{CODE_VERSION} {window} {budgets.tolist()} {lengths.shape}".encode())
    key.update(np.ascontiguousarray(lengths).data)
    folder = parent / f"rows-{key.hexdigest()[:32]}"
    sealed_folder.ensure(
        folder,
        partial(is_complete, examples=len(lengths)),
        lambda building: save_plan(building, plan_rows(lengths, budgets, window)),
    )
    return load_plan(folder)


def save_plan(folder: Path, rows: RowPlan) -> None:
    for name, array in zip(FILES, (rows.row_offsets, rows.order), strict=True):
        np.save(folder / f"{name}.npy", array)


def load_plan(folder: Path) -> RowPlan:
    """The memory-mapped plan in `folder`."""
    row_offsets, order = (parsing.read_array(folder / f"{n}.npy", np.int64, REBUILD) for n in FILES)
    return RowPlan(row_offsets, order, folder)


def is_complete(folder: Path, examples: int) -> bool:
    """Whether the folder holds a plan in which each of `examples` examples occurs once.

    Raises DataError if a file has another content.
    """
    rows = load_plan(folder)
    edges, order = rows.row_offsets, rows.order
    if len(order) != examples or not len(edges) or (edges[0], edges[-1]) != (0, examples):
        return False
    inside = not examples or (order.min() >= 0 and order.max() < examples)
    return bool((edges[1:] >= edges[:-1]).all() and inside and np.bincount(order).all())
