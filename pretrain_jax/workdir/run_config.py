"""config.json: the config of the run in a workdir."""

import fnmatch
import json
from typing import Any

from etils import epath

from pretrain_jax.errors import WorkdirMismatch
from pretrain_jax.files import outputs
from pretrain_jax.nested_diff import diff

FREE = (
    "train.steps",
    "train.profile",
    "optimizer.decay_steps",
    "mesh.*",
    "checkpoint.*",
    "eval.*",
    "reporting.*",
    "data.cache_dir",
    "data.workers",
)
"""Keys that a resumed run may change."""
ADAPTED = ("init_from",)
"""Keys that a resumed run with an adapter may change: a digest identifies its base."""
DISTILLED = ("objective.teacher",)
"""Keys that a resumed student may change: a digest identifies its teacher."""
SPEED = ("model.dropout", "model.unroll", "model.remat", "model.attention_backend")
"""Keys of the section `model` that do not change the function of its parameters."""
SEARCH = ("objective.threshold", "objective.longest")
"""Keys of the search for an answer in the numbers of a model."""
SCORING = (
    *(*FREE, *SPEED, *SEARCH),
    *("data.*", "train.*", "optimizer.*", "seed", "init_from", "init_tokens", "init_layers"),
)
"""Keys that an evaluation may change."""
CONFIG = "config.json"


def compare_configs(
    stored: dict[str, Any], now: dict[str, Any], free: tuple[str, ...] = FREE
) -> None:
    """Raises WorkdirMismatch if a key outside `free` differs; the message has both values of each.

    free: patterns of dotted keys, such as "mesh.*".

    >>> compare_configs({"train": {"steps": 10}, "seed": 0}, {"train": {"steps": 20}, "seed": 1})
    Traceback (most recent call last):
    pretrain_jax.errors.WorkdirMismatch: ...
      seed: stored 0, now 1
    ...
    """
    lines = [
        f"  {key}: stored {before}, now {after}"
        for key, (before, after) in diff(stored, now).items()
        if not any(fnmatch.fnmatchcase(key, pattern) for pattern in free)
    ]
    if lines:
        raise WorkdirMismatch(
            "the config must be that of the workdir, but "
            + ("1 key differs" if len(lines) == 1 else f"{len(lines)} keys differ")
            + ":\n"
            + "\n".join(lines)
            + "\nstart in another --workdir, or undo the change; keys that may change: "
            + ", ".join(free)
        )


def write_config(workdir: epath.PathLike, config: dict[str, Any]) -> None:
    """Writes the resolved config to config.json atomically, with sorted keys."""
    content = json.dumps(config, indent=2, sort_keys=True) + "\n"
    outputs.write_atomic(epath.Path(workdir) / CONFIG, content.encode())


def read_config(workdir: epath.PathLike) -> dict[str, Any] | None:
    """The config that `write_config` wrote; None without a config.json. Raises DataError."""
    path = epath.Path(workdir) / CONFIG
    fix = "restore it from the part `config` of a checkpoint, or start in another --workdir"
    return outputs.read_json(path, fix)
