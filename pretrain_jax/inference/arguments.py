"""Checks of the texts and numbers that a user passes to a trained model."""

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any

import numpy as np

from pretrain_jax.chat_template import ROLES
from pretrain_jax.composition.ranges import COUNT, FROM_0, RANGES
from pretrain_jax.errors import ConfigError, short_repr
from pretrain_jax.registry import Range

COUNTS = {
    "tokens": Range(1, 2**20),
    "seed": RANGES["seed"],
    "batch_size": COUNT,
    "top": COUNT,
    "sample": Range(0, 2**31 - 1),
    "step": FROM_0,
}
"""The numbers that are allowed; the cache of a million tokens is larger than any model's."""


def check_texts(texts: Sequence[Any], name: str) -> None:
    """Raises ConfigError unless `texts` are strings in a list, of valid Unicode."""
    received = type(texts).__name__
    if not isinstance(texts, str):
        others = sorted({type(text).__name__ for text in texts if not isinstance(text, str)})
        received = f"{received} of {', '.join(others)}" if others else ""
    if received:
        raise ConfigError(f'{name} must be str in a list, such as ["a text"]; received {received}')
    for text in texts:
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise ConfigError(
                f"{name} must be valid Unicode; character {error.start} of {text[:40]!r} is half "
                "of a surrogate pair. Write the character itself"
            ) from None


def check_prompts(prompts: Sequence[Any], name: str) -> None:
    """Raises ConfigError unless `prompts` are texts or conversations (lists of messages)."""
    if isinstance(prompts, str):
        check_texts(prompts, name)
    chats = [prompt for prompt in prompts if isinstance(prompt, list | tuple)]
    check_texts([prompt for prompt in prompts if not isinstance(prompt, list | tuple)], name)
    for message in (message for chat in chats for message in chat):
        role = message.get("role") if isinstance(message, Mapping) else None
        if role not in ROLES:
            raise ConfigError(
                f'{name} may have lists of messages {{"role": ..., "content": ...}} with a role of '
                f"{', '.join(ROLES)}; received {short_repr(message)}"
            )
        check_texts([message.get("content")], "the content of a message")


def check_stops(stop: Sequence[Any]) -> None:
    """Raises ConfigError unless `stop` are texts in a list, none of them empty."""
    check_texts(stop, "stop")
    if "" in stop:
        raise ConfigError('stop must have texts; received "", which every text has')


def check_counts(**counts: Any) -> None:
    """Raises ConfigError for a number that is not in its range."""
    for name, value in counts.items():
        allowed = COUNTS[name]
        whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
        if not whole or not allowed.contains(int(value)):
            raise ConfigError(f"{name} must be an integer {allowed}; received {value!r}")


def check_checkpoint(path: Any, step: Any) -> None:
    """Raises ConfigError unless a path is a text or a path, and a step a number from 0 or None."""
    if not isinstance(path, str | PathLike):
        raise ConfigError(f"path must be a text or a path; received {short_repr(path)}")
    if step is not None:
        check_counts(step=step)
