"""The ranges of all numbers in a config, by key, for all builders.

A builder's signature has the type of an option and its default; this table has the range, by key. A
new builder can put a range into its signature instead: `share: Annotated[float, Range(0, 1)] = 0.5`
(registry.py), so that it needs no entry here. `check` sees every number of a config, so none is NaN
or infinite, and no builder checks a single number again.
"""

import sys
from typing import Any

from pretrain_jax.errors import ConfigError, short_repr
from pretrain_jax.registry import Range

MOST = 2**31 - 1
"""Counts and sizes fit 31 bits: they become int32 on a device."""
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
    "objective.texts": Range(0, 2),
    "objective.per_row": FROM_0,
    "objective.dropout": DECAY,
    "objective.smoothing": DECAY,
    "objective.lm_weight": NOT_NEGATIVE,
    "objective.choices": Range(0, 64),
    "objective.mode": Range(0, 16),
    "objective.spans": COUNT,
    "objective.longest": COUNT,
    "objective.question_length": COUNT,
    "objective.stride": COUNT,
    "objective.boundary_positions": COUNT,
    "objective.inputs_length": FROM_0,
    "objective.targets_length": Range(2, MOST),
    "model.vocab_size": Range(1, 2**30),  # padded to a multiple that fits 31 bits
    "model.layers": COUNT,
    "model.width": COUNT,
    "model.heads": COUNT,
    "model.kv_heads": FROM_0,
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
    "model.rope_base": Range(1, open="least"),
    "model.rope_factor": Range(1),
    "model.rope_low_freq_factor": POSITIVE,
    "model.rope_high_freq_factor": POSITIVE,
    "model.rope_original_length": COUNT,
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
    "optimizer.layer_decay": Range(0, 1, open="least"),
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
    "eval.tasks_seconds": POSITIVE,
    "eval.patience": FROM_0,
}
"""By key. The range of a key is the same for all builders."""
FINITE = Range(-sys.float_info.max, sys.float_info.max)


def check(key: str, value: Any, named: str = "", allowed: Range | None = None) -> Any:
    """The value of a config key; raises ConfigError where it is a number out of its range.

    named: the name in the message, if it is not the key. allowed: the range that the builder's
    signature gives (registry.Option), if any.

    >>> check("optimizer.eps", 1e-8)
    1e-08
    >>> check("optimizer.eps", float("inf"))
    Traceback (most recent call last):
    pretrain_jax.errors.ConfigError: optimizer.eps must be 0 or more, and finite; received inf
    """
    if not isinstance(value, int | float) or isinstance(value, bool):
        return value
    allowed = allowed or RANGES.get(key, FINITE)
    if not allowed.contains(value):
        raise ConfigError(f"{named or key} must be {allowed}; received {short_repr(value)}")
    return value
