"""The ranges of all numbers in a config, by key, for all builders.

A builder defines the type and default of an option; this table defines its range. `check` sees
every number of a config, so none is NaN or infinite, and builders do not check the range of a
single number again.
"""

import math
import sys
from dataclasses import dataclass
from typing import Any

from pretrain_jax.errors import ConfigError, short_repr

MOST = 2**31 - 1
"""Counts and sizes must fit 31 bits: they become int32 on a device."""


@dataclass(frozen=True)
class Range:
    """Numbers from `least` to `most`; an `open` bound is excluded."""

    least: float
    most: float = math.inf
    open: str = ""
    """"least", "most" or "both"."""
    special: int | None = None
    """A number outside the range with a special meaning, which is also allowed."""

    def contains(self, value: float) -> bool:
        """Whether a number is in the range; NaN and infinity never are.

        >>> Range(0, 1, open="most").contains(1.0)
        False
        """
        if value == self.special:
            return True
        above = value > self.least if self.open in ("least", "both") else value >= self.least
        below = value < self.most if self.open in ("most", "both") else value <= self.most
        return above and below and abs(value) <= sys.float_info.max

    def __str__(self) -> str:
        """The range in words, for a message.

        >>> print(Range(0, 1, open="most"), Range(0), AXIS, sep="; ")
        0 or more and below 1; 0 or more, and finite; 1 or more and at most 2^31 - 1, or -1
        """
        least, most = _format_bound(self.least), _format_bound(self.most)
        text = f"above {least}" if self.open in ("least", "both") else f"{least} or more"
        if self.most == math.inf:
            text += ", and finite"
        else:
            text += f" and {'below' if self.open in ('most', 'both') else 'at most'} {most}"
        return text if self.special is None else f"{text}, or {self.special}"


COUNT = Range(1, MOST)
FROM_0 = Range(0, MOST)
SHARE = Range(0, 1)
BETWEEN = Range(0, 1, open="both")
DECAY = Range(0, 1, open="most")
POSITIVE = Range(0, open="least")
NOT_NEGATIVE = Range(0)
AXIS = Range(1, MOST, special=-1)

RANGES = {
    "seed": Range(0, 2**64 - 1),
    "data.seq_len": COUNT,
    "data.mixing_cap": FROM_0,
    "data.mixing_temperature": POSITIVE,
    "data.workers": Range(0, 1024),
    "tokenizer.sentinels": FROM_0,
    "tokenizer.character_coverage": Range(0.98, 1),  # the range of the library
    "objective.rate": BETWEEN,
    "objective.replaced": SHARE,
    "objective.random": SHARE,
    "objective.short": SHARE,
    "objective.p": BETWEEN,
    "objective.mean_span": Range(1),
    "objective.weight": POSITIVE,
    "objective.copies": FROM_0,
    "objective.mode": Range(0, 16),
    "objective.spans": COUNT,
    "objective.longest": COUNT,
    "objective.boundary_positions": COUNT,
    "objective.inputs_length": FROM_0,
    "objective.targets_length": Range(2, MOST),
    "model.vocab_size": Range(1, 2**30),  # padded to a multiple that fits 31 bits
    "model.layers": COUNT,
    "model.width": COUNT,
    "model.heads": COUNT,
    "model.head_width": COUNT,
    "model.feed_forward": COUNT,
    "model.max_length": COUNT,
    "model.types": FROM_0,
    "model.embedding_width": FROM_0,
    "model.generator_fraction": Range(0, 1, open="least"),
    "model.dropout": DECAY,
    "model.init_std": NOT_NEGATIVE,
    "model.position_std": NOT_NEGATIVE,
    "model.norm_epsilon": NOT_NEGATIVE,
    "model.rope_base": POSITIVE,
    "model.unroll": FROM_0,
    "optimizer.learning_rate": NOT_NEGATIVE,
    "optimizer.warmup_steps": FROM_0,
    "optimizer.decay_steps": FROM_0,
    "optimizer.decay_fraction": SHARE,
    "optimizer.final": SHARE,
    "optimizer.clip_norm": NOT_NEGATIVE,
    "optimizer.b1": DECAY,
    "optimizer.b2": DECAY,
    "optimizer.momentum": DECAY,
    "optimizer.eps": NOT_NEGATIVE,
    "optimizer.weight_decay": NOT_NEGATIVE,
    "optimizer.decay_rate": Range(0, 1, open="least"),
    "optimizer.clip_threshold": POSITIVE,
    "optimizer.rms": POSITIVE,
    "optimizer.adam_rate": NOT_NEGATIVE,
    "mesh.dcn": AXIS,
    "mesh.data": AXIS,
    "mesh.fsdp": AXIS,
    "mesh.sequence": AXIS,
    "mesh.tensor": AXIS,
    "train.steps": FROM_0,
    "train.batch_size": COUNT,
    "train.accumulate": COUNT,
    "train.log_every": COUNT,
    "train.z_loss": NOT_NEGATIVE,
    "checkpoint.every": COUNT,
    "checkpoint.keep": COUNT,
    "checkpoint.keep_every": FROM_0,
    "eval.every": FROM_0,
    "eval.tokens": COUNT,
    "eval.sample_tokens": FROM_0,
    "eval.pseudo_tokens": FROM_0,
}
"""By key. The range of a key is the same for all builders."""
FINITE = Range(-sys.float_info.max, sys.float_info.max)


def check(key: str, value: Any, named: str = "") -> Any:
    """Returns the value of a config key; raises ConfigError for a number outside its range.

    named: a name for the message, if it differs from the key.

    >>> check("optimizer.eps", 1e-8)
    1e-08
    >>> check("optimizer.eps", float("inf"))
    Traceback (most recent call last):
    pretrain_jax.errors.ConfigError: optimizer.eps must be 0 or more, and finite; received inf
    """
    if not isinstance(value, int | float) or isinstance(value, bool):
        return value
    allowed = RANGES.get(key, FINITE)
    if not allowed.contains(value):
        raise ConfigError(f"{named or key} must be {allowed}; received {short_repr(value)}")
    return value


def _format_bound(bound: float) -> str:
    """A bound in words, for a message.

    >>> _format_bound(2**31 - 1), _format_bound(0.98)
    ('2^31 - 1', '0.98')
    """
    powers: dict[float, str] = {2**30: "2^30", **{2**n - 1: f"2^{n} - 1" for n in (31, 64)}}
    return powers.get(bound, f"{bound:g}")
