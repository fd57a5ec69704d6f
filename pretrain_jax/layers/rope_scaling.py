"""Rotary positions for rows that are longer than those of pretraining: slower rotations.

A scaling divides the frequencies of some pairs by `factor` and keeps those of others. For base
10,000 and heads of 8, the four frequencies 1, 0.1, 0.01 and 0.001 become, with factor 8,

    linear                      0.125   0.0125   0.00125   0.000125
    llama3, length 1,024        1       0.1      0.00309   0.000125

since pair 2 turns 1.6 times within 1,024 positions, between the bounds 1 and 4. Names and numbers
are those of `rope_scaling` in Hugging Face's configs (transformers, modeling_rope_utils.py). Its
"dynamic" is missing: there, the rotation of a token depends on the length of the row.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from pretrain_jax import registry
from pretrain_jax.errors import ConfigError


@dataclass(frozen=True)
class Unscaled:
    """The frequencies of pretraining."""

    @property
    def magnitude(self) -> float:
        """Multiplies the rotated queries and keys."""
        return 1.0

    def rescale(self, frequencies: np.ndarray, base: float) -> np.ndarray:
        """Radians per position of each pair, float64 [K / 2], from those without scaling."""
        return frequencies


@dataclass(frozen=True, kw_only=True)
class Linear(Unscaled):
    """Divides all frequencies by `factor` (Chen et al. 2023)."""

    factor: float

    def rescale(self, frequencies: np.ndarray, base: float) -> np.ndarray:
        return slow_down(frequencies, np.zeros_like(frequencies), self.factor)


@dataclass(frozen=True, kw_only=True)
class Llama3(Unscaled):
    """LLaMA 3.1: keeps pairs that turn at least `high_freq_factor` times within `original_length`
    positions, divides those that turn at most `low_freq_factor` times, and blends between."""

    factor: float
    low_freq_factor: float
    high_freq_factor: float
    original_length: int

    def __post_init__(self) -> None:
        if self.low_freq_factor >= self.high_freq_factor:
            raise ConfigError(
                "model.rope_low_freq_factor must be below model.rope_high_freq_factor; received "
                f"{self.low_freq_factor:g} and {self.high_freq_factor:g}. LLaMA 3.1 has 1 and 4"
            )

    def rescale(self, frequencies: np.ndarray, base: float) -> np.ndarray:
        turns = self.original_length * frequencies / (2 * math.pi)
        kept = (turns - self.low_freq_factor) / (self.high_freq_factor - self.low_freq_factor)
        return slow_down(frequencies, kept, self.factor)


@dataclass(frozen=True, kw_only=True)
class Yarn(Unscaled):
    """YaRN (Peng et al. 2023, section 3): keeps pairs that turn at least 32 times within
    `original_length` positions, divides those that turn at most once, and blends between."""

    factor: float
    original_length: int

    @property
    def magnitude(self) -> float:
        return 0.1 * math.log(self.factor) + 1

    def rescale(self, frequencies: np.ndarray, base: float) -> np.ndarray:
        pairs = len(frequencies)
        fast, slow = (self._pair_with(turns, pairs, base) for turns in (32, 1))
        first, last = max(math.floor(fast), 0), min(math.ceil(slow), 2 * pairs - 1)
        width = last - first or 0.001  # transformers' guard against a division by zero
        return slow_down(frequencies, 1 - (np.arange(pairs) - first) / width, self.factor)

    def _pair_with(self, turns: float, pairs: int, base: float) -> float:
        """The index, with a fraction, of the pair that turns so often in the original length."""
        return pairs * math.log(self.original_length / (2 * math.pi * turns)) / math.log(base)


SCALINGS = {"none": Unscaled, "linear": Linear, "llama3": Llama3, "yarn": Yarn}


def build(name: str, **options: Any) -> Unscaled:
    """The scaling `name` with those of the options that it takes; ConfigError if they contradict.

    >>> build("linear", factor=4.0, original_length=8192)
    Linear(factor=4.0)
    """
    scaling = registry.pick(SCALINGS, name, "model.rope_scaling")
    return scaling(**registry.accepted_kwargs(scaling, options))


def slow_down(frequencies: np.ndarray, kept: np.ndarray, factor: float) -> np.ndarray:
    """Blends between frequencies (where `kept` is 1 or more) and frequencies / factor (0 or less).

    >>> slow_down(np.array([1.0, 0.5, 0.25]), np.array([2.0, 0.5, -1.0]), 4.0).tolist()
    [1.0, 0.3125, 0.0625]
    """
    kept = np.clip(kept, 0, 1)
    return frequencies * (kept + (1 - kept) / factor)
