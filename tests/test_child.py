"""What another process computes comes back, and so does what goes wrong in it."""

import os
import statistics
import subprocess

import pytest

from pretrain_jax import child


def test_values_come_back():
    assert child.call(statistics.mean, data=[1, 2, 6]) == 3
    assert child.call(os.getpid) != os.getpid()


def test_its_errors_come_back_with_their_words():
    with pytest.raises(RuntimeError, match="at least one data point"):
        child.call(statistics.mean, data=[])


def test_a_process_that_ends_early_is_no_result():
    with pytest.raises(subprocess.CalledProcessError):
        child.call(os._exit, status=3)
