"""The interface of every task, and of the models that tasks ask."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

Report = dict[str, Any]
"""What is known of one item after a model was asked: its numbers by name, and its texts."""


class Likelihood(NamedTuple):
    """How likely a model finds a text after a context."""

    nats: float
    """-log p of the text."""
    tokens: int
    """Tokens of the text."""
    is_likeliest: bool | None
    """Whether every token is the likeliest at its place; None = not known."""
    log_probabilities: np.ndarray = np.zeros(0)
    """float [n]: of each token; NaN where it is not scored."""


class Model(Protocol):
    """What tasks ask of a model."""

    def likelihoods(
        self, pairs: Sequence[tuple[str, str]], *, whole_words: bool = False
    ) -> list[Likelihood]:
        """Of the text of each pair (context, text).

        whole_words: an encoder sees no later token of a word whose tokens it predicts, so that
        `is_likeliest` means what it means for a decoder.
        """
        ...

    def text_likelihoods(self, texts: Sequence[str]) -> list[Likelihood]:
        """Of texts of any length, each read in windows."""
        ...

    def answers(self, prompts: Sequence[str], tokens: int, stop: Sequence[str]) -> list[str]:
        """What the model writes after each prompt, by greedy decoding: up to `tokens` tokens, and
        up to the first text of `stop`."""
        ...

    @property
    def positions(self) -> int:
        """The longest text that the model reads, in tokens; 0 = any."""
        ...

    @property
    def layers(self) -> int:
        """Blocks of the stack that reads a text."""
        ...

    def embed(self, texts: Sequence[str], layer: int) -> np.ndarray:
        """float32 [N, D]: the mean of the vectors of each text's tokens, after a block (0, 1, ...)
        or after the final norm (-1)."""
        ...


@dataclass(frozen=True)
class Corpus:
    """The text that a model was trained on."""

    train: Sequence[np.ndarray]
    """int [n]: the tokens of each training document, without special ids."""
    valid: Sequence[np.ndarray]
    """The same of the documents that were held out."""
    decode: Callable[[np.ndarray], str]


@dataclass(frozen=True)
class Prompting:
    """How items become prompts."""

    shots: int = 0
    """Solved examples before each item."""
    seed: int = 0
    """Of the choice of these examples, which depends on the seed and the item alone."""
    reasons: bool = False
    """Whether a model is asked to reason first (chain of thought); its answer is what it says
    last."""
    reference: Model | None = None
    """Another model, which was not trained on the same text, for tasks that compare."""


@dataclass(frozen=True)
class Metric:
    """A number that summarises the reports of all items."""

    columns: tuple[str, ...]
    """The numbers of a report that it reads."""
    compute: Callable[..., Any] | None = None
    """compute(arrays [n], one for each column) -> a number; None for the mean of one column."""
    is_share: bool = False
    """Whether it is a mean of numbers from 0 to 1."""

    def __call__(self, columns: Mapping[str, np.ndarray]) -> float:
        """The value for columns [n]; NaN without items."""
        values = [columns[name] for name in self.columns]
        if not len(values[0]):
            return float("nan")
        return float(values[0].mean() if self.compute is None else self.compute(*values))


def share(column: str) -> Metric:
    """The mean of a column of numbers from 0 to 1."""
    return Metric((column,), is_share=True)


@dataclass(frozen=True, kw_only=True)
class Task:
    """A task: its items, what a model is asked about them, and what is made of its answers."""

    read: Callable[[Path], list[Any]] | None = None
    """read(file or folder) -> items. Raises DataError or InputMissing."""
    read_corpus: Callable[[Corpus], list[Any]] | None = None
    """For a task about the training text: read_corpus(this text) -> items."""
    make: Callable[[], list[Any]] | None = None
    """For a task that makes its items: make() -> items, always the same. Each task has one of these
    three."""
    ask: Callable[[Model, Sequence[Any], Sequence[Any], Prompting], list[Report]]
    """ask(model, items, examples for shots, prompting) -> the report of each item. A report may
    have a "group"; tables then have a row for each group."""
    metrics: Mapping[str, Metric]
    """By name; the first is the one that tables of several tasks show."""
    needs: str = "likelihoods"
    """The method of `Model` that `ask` calls."""
    takes_shots: bool = True
    """Whether `ask` reads `Prompting.shots`."""
    takes_reference: bool = False
    """Whether `ask` reads `Prompting.reference`."""
    takes_reasons: bool = False
    """Whether `ask` reads `Prompting.reasons`."""
    chance: Mapping[str, Callable[[Sequence[Report]], float]] = field(default_factory=dict)
    """By metric: the value that guessing gives."""
    protocol: str = ""
    """One sentence that says how items are asked, for the results."""
