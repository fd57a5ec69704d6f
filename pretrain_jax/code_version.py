"""Changes of this code that change the bits of a training run.

Every checkpoint records the `VERSION` of the code that wrote it. A run that resumes with newer code
would mix two recipes, so it is refused unless `--accept_changes` is given. Evaluation, generation
and `init_from` only log the changes. Each row of `CHANGES` has a predicate on the resolved config
that tells which runs the change affects.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

VERSION = 3
"""Versions 1 and 2 covered the code that makes rows; since 3 the version covers all code."""


@dataclass(frozen=True)
class Change:
    """One change: the first version with it, a description, and the runs that it affects."""

    version: int
    description: str
    """A clause that can follow "since then": "muon updates the other parameters with AdamW"."""
    affects: Callable[[Mapping[str, Any]], bool]
    """affects(resolved config as nested dicts)."""


def _objectives(config: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The options, including the name, of every objective of a run."""
    main = config.get("objective", {})
    mixture = config.get("data", {}).get("mixture") or ((None, main.get("name"), 1.0),)
    named = ({"name": o} if isinstance(o, str) else o or {} for _, o, _ in mixture)
    return [main if one == {"name": main.get("name")} else one for one in named]


def _has_noise_by_words(config: Mapping[str, Any]) -> bool:
    """Whether noise is drawn by words."""
    return any(
        o.get("name") == "span_boundary" or o.get("noise") in ("words", "spans")
        for o in _objectives(config)
    )


def _splits_marked_text(config: Mapping[str, Any]) -> bool:
    """Whether marks or targets influenced which texts are held out."""
    data = config.get("data", {})
    return bool(data.get("target_key") or (data.get("spans_key") and data["split"] != "hash"))


def _has_iid_denoising(config: Mapping[str, Any]) -> bool:
    """Whether an objective corrupts single tokens."""
    return any(o.get("name") == "iid_denoising" for o in _objectives(config))


def _crosses_documents(config: Mapping[str, Any]) -> bool:
    """Whether rows cross documents."""
    cross_documents = config.get("data", {}).get("cross_documents", False)
    return cross_documents and any(o.get("name") == "causal_lm" for o in _objectives(config))


def _reads_stdlib(config: Mapping[str, Any]) -> bool:
    """Whether a source is the standard library."""
    data = config.get("data", {})
    mixture = data.get("mixture") or [(data.get("source"),)]
    return any(member[0] == "stdlib" for member in mixture)


CHANGES: tuple[Change, ...] = (
    Change(2, "rows hold other examples", lambda config: True),
    Change(3, "all 64 bits of a seed are used", lambda config: config.get("seed", 0) >= 2**32),
    Change(3, "noise by words takes stretches in text without spaces", _has_noise_by_words),
    Change(
        3,
        "the text of a record, not its target or spans, decides whether it is held out",
        _splits_marked_text,
    ),
    Change(
        3,
        "muon updates the other parameters with AdamW and without bias correction inside Nesterov",
        lambda config: config.get("optimizer", {}).get("name") == "muon",
    ),
    Change(
        3,
        "sentencepiece adds no space where it encodes a long document in parts",
        lambda config: config.get("tokenizer", {}).get("name") == "sentencepiece",
    ),
    Change(
        3,
        "rows that cross documents keep their order, with an end token between them",
        _crosses_documents,
    ),
    Change(
        3,
        "iid_denoising corrupts each token independently, not a fixed number of tokens",
        _has_iid_denoising,
    ),
    Change(3, "the source stdlib leaves out generated tables", _reads_stdlib),
)


def changes_since(version: int, config: Mapping[str, Any]) -> list[str]:
    """The changes after `version` that affect a run of this config, oldest first.

    >>> changes_since(2, {"optimizer": {"name": "muon"}})
    ['muon updates the other parameters with AdamW and without bias correction inside Nesterov']
    >>> changes_since(VERSION, {})
    []
    """
    newer = sorted((c for c in CHANGES if c.version > version), key=lambda c: c.version)
    return [change.description for change in newer if change.affects(config)]
