"""Rates of a mixture, as in section 3.5.2 of the T5 paper."""

import doctest

import pytest

from pretrain_jax.data import mixing
from pretrain_jax.data.mixing import rates
from pretrain_jax.errors import ConfigError

SIZES = (1 << 30, 393_000, 2_500)  # an unlabelled corpus, MNLI, RTE
EQUAL = (1.0, 1.0, 1.0)


def test_the_examples_of_the_docstring():
    assert doctest.testmod(mixing).attempted == 4


def test_a_cap_is_an_artificial_size():
    found = rates("proportional", EQUAL, SIZES, cap=1 << 19)
    assert sum(found) == pytest.approx(1)
    assert found[0] / found[1] == pytest.approx((1 << 19) / 393_000)
    assert found[1] / found[2] == pytest.approx(393_000 / 2_500)
    assert rates("proportional", EQUAL, SIZES, cap=1) == pytest.approx((1 / 3,) * 3)


def test_temperature_goes_from_proportional_to_equal():
    ratios = []
    for temperature in (1, 2, 8, 1e9):
        found = rates("proportional", EQUAL, SIZES, cap=1 << 21, temperature=temperature)
        ratios.append(found[0] / found[2])
    assert ratios == sorted(ratios, reverse=True)
    assert ratios[0] == pytest.approx((1 << 21) / 2_500) and ratios[-1] == pytest.approx(1)
    assert ratios[1] == pytest.approx(ratios[0] ** 0.5)


def test_given_rates_are_normalised_and_sizes_unused():
    assert rates("given", (2, 6), (1, 1), cap=5, temperature=3.0) == (0.25, 0.75)


def test_given_rates_multiply_proportional_ones():
    assert rates("proportional", (2.0, 1.0), (300, 400)) == (0.6, 0.4)


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (("givn", (1,), (1,)), {}, "did you mean given"),
        (("given", (1, 0), (1, 1)), {}, "must be positive"),
        (("given", (), ()), {}, "must be positive"),
        (("given", (1, float("nan")), (1, 1)), {}, "must be positive"),
        (("given", (1, float("inf")), (1, 1)), {}, "must be positive"),
        (("given", (1, 1, 1e-10), (1, 1, 1)), {}, "member 3 of 3, with rate 1e-10"),
        (("proportional", (1, 1e-9), (8, 1)), {}, "member 2 of 2, with rate 1e-09"),
        (("proportional", (1,), (1,)), {"cap": -1}, "at least 0"),
        (("proportional", (1,), (1,)), {"temperature": 0.0}, "above 0"),
    ],
)
def test_what_is_refused(arguments, options, message):
    with pytest.raises(ConfigError, match=message):
        rates(*arguments, **options)


def test_the_least_share_is_one_that_a_stream_draws():
    found = rates("given", (1.0, 2 * mixing.LEAST), (1, 1))
    assert int(found[1] * 2**32) >= 1
