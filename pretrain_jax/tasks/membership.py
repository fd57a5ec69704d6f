"""Membership inference: do likelihoods tell training text from held-out text?

The metrics are areas under the ROC curve: 0.5 tells nothing, 1 everything. Passages of documents
are ranked by

    loss        mean nats of a token (Yeom et al. 2018)
    min_k       the same of the 20 % least likely tokens (Shi et al. 2024, Min-K% Prob)
    compressed  nats, divided by the bytes that zlib makes of the text (Carlini et al. 2021)
    reference   mean nats less those of another model (--reference), which has not seen the text
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pretrain_jax.errors import DataError
from pretrain_jax.tasks._base import Corpus, Likelihood, Metric, Model, Prompting, Report, Task

ITEMS = 500
"""Passages of each side, at most."""
TOKENS = 64
"""Of a passage."""
LEAST = 16
"""Tokens of the shortest passage."""
MIN_K = 0.2


@dataclass(frozen=True)
class Passage:
    """The beginning of a document."""

    text: str
    is_member: bool

    @property
    def group(self) -> str:
        """--limit counts the passages of each side."""
        return "training text" if self.is_member else "held-out text"


def read_corpus(corpus: Corpus) -> list[Passage]:
    """As many passages of the training text as of the held-out text, always the same."""
    rng = np.random.default_rng(0)
    sides = []
    for texts in (corpus.train, corpus.valid):
        long = [text for text in texts if len(text) >= LEAST]
        chosen = rng.permutation(len(long))[:ITEMS]
        sides.append([corpus.decode(long[i][:TOKENS]) for i in chosen])
    count = min(map(len, sides))
    if not count:
        raise DataError(
            f"membership needs documents of {LEAST} tokens or more on both sides; there are "
            f"{len(sides[0])} in the training text and {len(sides[1])} in the held-out text"
        )
    return [
        Passage(text, member)
        for texts, member in zip(sides, (True, False), strict=True)
        for text in texts[:count]
    ]


def ask(
    model: Model, items: Sequence[Passage], pool: Sequence[Passage], prompting: Prompting
) -> list[Report]:
    del pool
    pairs = [("", item.text) for item in items]
    likelihoods = model.likelihoods(pairs)
    other = prompting.reference
    reference = [mean(x) for x in other.likelihoods(pairs)] if other else [np.nan] * len(items)
    return [
        {
            "text": item.text,
            "member": float(item.is_member),
            "loss": mean(x),
            "min_k": min_k(x),
            "compressed": x.nats / len(zlib.compress(item.text.encode("utf-8", "replace"))),
            "reference": mean(x) - expected,
        }
        for item, x, expected in zip(items, likelihoods, reference, strict=True)
    ]


def mean(likelihood: Likelihood) -> float:
    """Nats of a token."""
    return likelihood.nats / max(likelihood.tokens, 1)


def min_k(likelihood: Likelihood) -> float:
    """Mean nats of the least likely tokens."""
    nats = np.sort(-likelihood.log_probabilities[~np.isnan(likelihood.log_probabilities)])
    return float(nats[-max(round(MIN_K * len(nats)), 1) :].mean()) if len(nats) else 0.0


def auc(member: np.ndarray, nats: np.ndarray) -> float:
    """The chance that a passage of the training text has fewer nats than one that is not."""
    from sklearn.metrics import roc_auc_score

    if np.isnan(nats).any() or member.min() == member.max():
        return float("nan")
    return float(roc_auc_score(member, -nats))


TASK = Task(
    read_corpus=read_corpus,
    ask=ask,
    metrics={
        f"auc_{name}": Metric(("member", name), auc)
        for name in ("loss", "min_k", "compressed", "reference")
    },
    chance={
        f"auc_{name}": lambda reports: 0.5 for name in ("loss", "min_k", "compressed", "reference")
    },
    takes_shots=False,
    takes_reference=True,
    protocol=f"The first {TOKENS} tokens of documents, of the training and the held-out text.",
)
