"""Changes of this code that change the bits of a training run.

Every checkpoint records the `VERSION` that wrote it. A run that goes on with newer code would mix
two recipes, so it is refused unless `--accept_changes` is given; evaluating, generating and
`init_from` only log what changed. A change concerns some runs and not others: each row of `CHANGES`
says which, from the resolved config.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

VERSION = 3
"""1 and 2 numbered the code that makes rows; 3 began to number all of it."""


@dataclass(frozen=True)
class Change:
    """One change: the first version that has it, what it is, and the runs that it concerns."""

    version: int
    what: str
    """A clause that fits behind "since then": "muon updates the other parameters with AdamW"."""
    concerns: Callable[[Mapping[str, Any]], bool]
    """concerns(resolved config as nested dicts)."""


def _objectives(config: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The options of every objective of a run, with its name."""
    main = config.get("objective", {})
    mixture = config.get("data", {}).get("mixture") or ((None, main.get("name"), 1.0),)
    named = ({"name": o} if isinstance(o, str) else o or {} for _, o, _ in mixture)
    return [main if each == {"name": main.get("name")} else each for each in named]


def _by_words(config: Mapping[str, Any]) -> bool:
    """Whether noise is drawn by words."""
    return any(
        o.get("name") == "span_boundary" or o.get("noise") in ("words", "spans")
        for o in _objectives(config)
    )


def _marked_apart(config: Mapping[str, Any]) -> bool:
    """Whether marks or answers had a part in which texts are held out."""
    data = config.get("data", {})
    return bool(data.get("target_key") or (data.get("spans_key") and data["split"] != "hash"))


def _iid(config: Mapping[str, Any]) -> bool:
    """Whether single tokens are corrupted, T5's first objectives."""
    return any(o.get("name") == "iid_denoising" for o in _objectives(config))


def _joined(config: Mapping[str, Any]) -> bool:
    """Whether rows run from one document into the next."""
    crosses = config.get("data", {}).get("cross_documents", False)
    return crosses and any(o.get("name") == "causal_lm" for o in _objectives(config))


def _on_stdlib(config: Mapping[str, Any]) -> bool:
    """Whether a source is the standard library."""
    data = config.get("data", {})
    mixture = data.get("mixture") or [(data.get("source"),)]
    return any(member[0] == "stdlib" for member in mixture)


CHANGES: tuple[Change, ...] = (
    Change(2, "rows hold other examples", lambda config: True),
    Change(3, "all 64 bits of a seed count", lambda config: config.get("seed", 0) >= 2**32),
    Change(3, "noise by words takes stretches of text that has no spaces", _by_words),
    Change(
        3, "what is held out follows from a record's text, not its answer or spans", _marked_apart
    ),
    Change(
        3,
        "muon updates the other parameters with AdamW and corrects no bias inside Nesterov",
        lambda config: config.get("optimizer", {}).get("name") == "muon",
    ),
    Change(
        3,
        "sentencepiece puts no space where a long document is read in parts",
        lambda config: config.get("tokenizer", {}).get("name") == "sentencepiece",
    ),
    Change(
        3, "documents that a row crosses follow one another, with an end token between", _joined
    ),
    Change(3, "iid_denoising corrupts each token for itself, not a fixed number of them", _iid),
    Change(3, "the source stdlib is without generated tables", _on_stdlib),
)


def since(version: int, config: Mapping[str, Any]) -> list[str]:
    """What changed after `version` for a run of this config, oldest first.

    >>> since(2, {"optimizer": {"name": "muon"}})
    ['muon updates the other parameters with AdamW and corrects no bias inside Nesterov']
    >>> since(VERSION, {})
    []
    """
    newer = sorted((c for c in CHANGES if c.version > version), key=lambda c: c.version)
    return [change.what for change in newer if change.concerns(config)]
