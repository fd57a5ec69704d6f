"""Rows hold every example once, keep every budget, and are nearly full."""

import os
import pickle
import time

import numpy as np
import pytest

from pretrain_jax.data.row_plan import cached_plan, plan_rows


def check(rows, lengths, budgets):
    assert sorted(rows.order.tolist()) == list(range(len(lengths)))
    totals = np.add.reduceat(lengths[rows.order], rows.row_offsets[:-1])
    assert (totals <= budgets).all()
    firsts = [rows[r][0] for r in range(len(rows))]
    assert firsts == sorted(firsts)
    assert all((np.diff(rows[r]) > 0).all() for r in range(len(rows)))


@pytest.mark.parametrize("axes", [1, 2, 4])
@pytest.mark.parametrize("count", [1, 2, 255, 256, 257, 3000])
def test_every_example_once_within_every_budget(axes, count):
    draw = np.random.default_rng(count * 10 + axes)
    budgets = np.array([100, 31, 64, 8][:axes])
    lengths = draw.integers(1, budgets + 1, (count, axes))
    check(plan_rows(lengths, budgets), lengths, budgets)


def test_rows_are_nearly_full_where_next_fit_is_not():
    draw = np.random.default_rng(0)
    lengths = np.minimum(draw.lognormal(5.5, 1.0, (20_000, 1)).astype(int) + 2, 1024)
    rows = plan_rows(lengths, np.array([1024]))
    assert lengths.sum() / (len(rows) * 1024) > 0.98


def test_best_fit_leaves_the_larger_gap_alone():
    rows = plan_rows(np.array([[6], [4], [3]]), np.array([10]))
    assert [rows[r].tolist() for r in range(len(rows))] == [[0, 1], [2]]


def test_axes_of_length_nothing_cost_nothing():
    lengths = np.array([[4, 0]] * 6)
    rows = plan_rows(lengths, np.array([8, 3]))
    assert len(rows) == 3


def test_windows_do_not_see_each_other():
    lengths = np.array([[5]] * 7)
    whole = plan_rows(lengths, np.array([10]), window=2)
    assert [whole[r].tolist() for r in range(len(whole))] == [[0, 1], [2, 3], [4, 5], [6]]


def test_an_example_larger_than_a_row_is_an_error():
    with pytest.raises(ValueError, match="an example must fit"):
        plan_rows(np.array([[11]]), np.array([10]))


def test_a_million_examples_take_seconds():
    draw = np.random.default_rng(0)
    lengths = draw.integers(1, 513, (1_000_000, 1))
    start = time.perf_counter()
    rows = plan_rows(lengths, np.array([512]))
    assert time.perf_counter() - start < 60
    assert lengths.sum() / (len(rows) * 512) > 0.96


def test_a_kept_plan_depends_on_lengths_budgets_and_window(tmp_path):
    lengths, budgets = np.full((500, 1), 3), np.array([10])
    first = cached_plan(tmp_path, lengths, budgets)
    assert cached_plan(tmp_path, lengths, budgets).folder == first.folder
    changed = lengths.copy()
    changed[7] = 4
    others = [
        cached_plan(tmp_path, changed, budgets),
        cached_plan(tmp_path, lengths, budgets + 1),
        cached_plan(tmp_path, lengths, budgets, window=100),
    ]
    assert len({rows.folder for rows in [first, *others]}) == 4
    check(others[0], changed, budgets)
    copy = pickle.loads(pickle.dumps(first))
    np.testing.assert_array_equal(copy.order, first.order)


@pytest.mark.parametrize("name", ["order.npy", "row_offsets.npy"])
def test_a_damaged_plan_is_made_anew(tmp_path, name):
    lengths, budgets = np.full((500, 1), 3), np.array([10])
    first = cached_plan(tmp_path, lengths, budgets)
    order, folder = first.order.copy(), first.folder
    del first
    os.truncate(folder / name, 200)
    np.testing.assert_array_equal(cached_plan(tmp_path, lengths, budgets).order, order)
