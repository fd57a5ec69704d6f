"""The startup line has all parts in order, and the total."""

import time

import pretrain_jax
from pretrain_jax.training.startup import Startup


def test_parts_are_in_the_order_in_which_they_ended():
    clock = iter([100.0, 101.0, 105.5, 106.0, 108.0, 110.0])
    startup = Startup(age=2.0, clock=lambda: next(clock))
    with startup.part("data"):
        pass
    with startup.part("compiling"):
        pass
    assert startup.line() == "first step after 12.0 s: imports 2.0, data 4.5, compiling 2.0"


def test_the_startup_counts_from_the_import_of_the_package():
    now = pretrain_jax.BEGAN + 7.0
    assert Startup(clock=lambda: now).line() == "first step after 7.0 s: imports 7.0"
    assert time.monotonic() > pretrain_jax.BEGAN
