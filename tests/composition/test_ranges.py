"""Every number of a config has a range, and what lies outside of it is refused by its key."""

import math
from collections.abc import Iterator
from typing import Annotated

import pytest

from pretrain_jax import registry
from pretrain_jax.composition import config, sections
from pretrain_jax.composition.ranges import RANGES, Range, check
from pretrain_jax.errors import ConfigError


def every_option() -> Iterator[tuple[str, registry.Option]]:
    """Each key of each section with every choice of names, and its option."""
    for section in config.SECTIONS:
        for chosen in sections.choices(section):
            for name, option in config.section_options(section, chosen).items():
                yield f"{section}.{name}", option
    yield from config.TOP.items()


NUMBERS = {(key, option) for key, option in every_option() if option.type in (int, float)}


def test_every_number_of_every_builder_has_a_range_and_every_range_a_number():
    assert {key for key, option in NUMBERS if option.range is None} == RANGES.keys()


def test_defaults_lie_in_their_ranges():
    for key, option in NUMBERS:
        if option.default is not registry.REQUIRED:
            assert check(key, option.default, allowed=option.range) == option.default


def test_a_signature_can_give_the_range():
    def build(*, share: Annotated[float, Range(0, 1)] = 0.5):
        return share

    option = registry.options(build)["share"]
    assert (option.type, option.default, option.range) == (float, 0.5, Range(0, 1))
    assert config.parse_override("objective.share", "0.25", option) == 0.25
    for give in (config.parse_override, config.fill_option):
        value = "1.5" if give is config.parse_override else 1.5
        with pytest.raises(ConfigError, match=r"objective\.share must be 0 or more and at most 1"):
            give("objective.share", value, option)  # type: ignore[arg-type]


@pytest.mark.parametrize("key", RANGES)
def test_what_lies_outside_is_refused_by_name(key):
    wild = [math.nan, math.inf, -math.inf, -(2**63) + 1, -2, 2**64 if key == "seed" else 10**400]
    for value in wild:
        with pytest.raises(ConfigError, match=rf"^{key} must be"):
            check(key, value)


@pytest.mark.parametrize(
    ("range", "inside", "outside"),
    [
        (Range(0, 1), [0, 0.5, 1], [-0.1, 1.1]),
        (Range(0, 1, open="both"), [0.5], [0, 1]),
        (Range(0, 1, open="most"), [0, 0.5], [1]),
        (Range(0, open="least"), [1e-300, 1e300], [0, math.inf]),
        (Range(1, 4, special=-1), [-1, 1, 4], [0, -2, 5]),
    ],
)
def test_bounds(range, inside, outside):
    assert all(range.contains(value) for value in inside)
    assert not any(range.contains(value) for value in [*outside, math.nan])


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("model.vocab_size", "2147483648"),
        ("optimizer.warmup_steps", "9223372036854775808"),
        ("optimizer.eps", "1e400"),
        ("optimizer.b1", "1.0"),
        ("train.z_loss", "1e999"),
        ("seed", "18446744073709551616"),
        ("seed", "-1"),
        ("data.workers", "100000"),
        ("mesh.data", "0"),
        ("objective.rate", "1e-400"),
    ],
)
def test_a_config_is_read_with_numbers_in_range_alone(key, text):
    with pytest.raises(ConfigError, match=rf"^{key} must be"):
        config.read("configs/t5_nano.py", [(key, text)])


def test_the_options_of_a_member_have_the_same_ranges():
    from pretrain_jax.composition import compatibility

    with pytest.raises(ConfigError, match=r"mean_span in data\.mixture must be"):
        entry = ("stdlib", {"name": "span_corruption", "mean_span": math.inf}, 1.0)
        compatibility.build_member(entry, "causal_lm", None, None)  # type: ignore[arg-type]
