"""Where a start spends its time: every part is told, in order, and the whole."""

import os
import time

from pretrain_jax.train.startup import Startup, process_age


def test_parts_stand_in_the_order_in_which_they_ended():
    clock = iter([100.0, 101.0, 105.5, 106.0, 108.0, 110.0])
    startup = Startup(age=2.0, clock=lambda: next(clock))
    with startup.part("data"):
        pass
    with startup.part("compiling"):
        pass
    assert startup.line() == "first step after 12.0 s: imports 2.0, data 4.5, compiling 2.0"


def test_the_age_of_this_process_grows():
    age = process_age()
    assert 0 < age < time.clock_gettime(time.CLOCK_BOOTTIME)
    time.sleep(0.05)
    assert 0.03 < process_age() - age < 5


def test_a_process_whose_name_has_blanks_and_brackets(tmp_path):
    ticks = os.sysconf("SC_CLK_TCK")
    begun = int((time.clock_gettime(time.CLOCK_BOOTTIME) - 7) * ticks)
    stat = tmp_path / "stat"
    fields = ["S", *["0"] * 18, str(begun), "0"]
    stat.write_text(f"1 (a name) with) {' '.join(fields)}\n")
    assert 6.5 < process_age(stat) < 8


def test_a_system_that_does_not_tell(tmp_path):
    assert process_age(tmp_path / "none") == 0
