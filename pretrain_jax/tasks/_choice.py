"""Multiple choice: the likeliest of several texts is the answer."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pretrain_jax.errors import DataError
from pretrain_jax.tasks._base import Likelihood, Model, Prompting, Report, Task, share
from pretrain_jax.tasks._records import FIX, Record, check_index, read_records
from pretrain_jax.tasks._shots import add_shots


@dataclass(frozen=True)
class Choice:
    """An item: texts of which one is right."""

    context: str
    """What stands before each choice."""
    choices: tuple[str, ...]
    """With the space before them, if there is one."""
    gold: int
    group: str = ""

    @property
    def solved(self) -> str:
        return self.context + self.choices[self.gold]


TIE = 1e-9
"""Likelihoods that differ by less, relatively, are equal: sums in another order differ by 1e-13."""
METRICS = {
    "accuracy": share("accuracy"),
    "accuracy_by_tokens": share("accuracy_by_tokens"),
    "accuracy_by_bytes": share("accuracy_by_bytes"),
}
UNCONDITIONAL = {"accuracy_unconditional": share("accuracy_unconditional")}


def choice_task(
    parse: Callable[[Record], Choice], protocol: str, *, neutral: str | None = None, **more: Any
) -> Task:
    """A task of multiple choice. A choice is right by one of these measures of its likelihood:

        accuracy                 log p of the choice after the context
        accuracy_by_tokens       the same, divided by its tokens
        accuracy_by_bytes        the same, divided by its UTF-8 bytes without outer spaces, which
                                 lm-evaluation-harness calls acc_bytes (acc_norm: characters)
        accuracy_unconditional   log p after the context less log p after `neutral` (Brown et al.
                                 2020, section 2.4): how much likelier the context makes it

    If the right choice is one of k that are equally likely, and likelier than the others, the item
    counts 1/k: what drawing one of them would give. parse(record) -> its item; it raises DataError.
    neutral: a context without content, such as "Answer:"; None leaves that measure out.
    """

    def ask(
        model: Model, items: Sequence[Choice], pool: Sequence[Choice], prompting: Prompting
    ) -> list[Report]:
        contexts = add_shots(items, pool, prompting)
        pairs = [(c, x) for c, item in zip(contexts, items, strict=True) for x in item.choices]
        likelihoods = model.likelihoods(pairs)
        plain = [None] * len(pairs)
        if neutral is not None:
            plain = model.likelihoods([(neutral, text) for _, text in pairs])
        reports, first = [], 0
        for item in items:
            part = slice(first, first := first + len(item.choices))
            reports.append(report(item, likelihoods[part], plain[part]))
        return reports

    return Task(
        read=lambda path: read_choices(path, parse),
        ask=ask,
        metrics={**METRICS, **({} if neutral is None else UNCONDITIONAL)},
        chance=dict.fromkeys(METRICS | UNCONDITIONAL, guess),
        protocol=protocol,
        **more,
    )


def read_choices(path: Path, parse: Callable[[Record], Choice]) -> list[Choice]:
    """The items of a file or folder. Raises DataError for one without two choices."""
    items = []
    for record in read_records(path):
        item = parse(record)
        if len(item.choices) < 2 or not all(map(str.strip, item.choices)):
            raise DataError(
                f"an item needs two choices or more, none of them empty; {record.place} has "
                f"{list(item.choices)!r}; {FIX}"
            )
        items.append(item)
    return items


def report(
    item: Choice, likelihoods: Sequence[Likelihood], plain: Sequence[Likelihood | None]
) -> Report:
    """What the likelihoods of the choices say of an item."""
    nats = np.array([x.nats for x in likelihoods])
    sizes = np.array([len(text.strip().encode()) for text in item.choices])
    tokens = np.array([max(x.tokens, 1) for x in likelihoods])
    scores = {"accuracy": -nats, "accuracy_by_tokens": -nats / tokens}
    scores["accuracy_by_bytes"] = -nats / sizes
    if plain[0] is not None:
        scores["accuracy_unconditional"] = np.array([x.nats for x in plain if x]) - nats
    right = {name: credit(values, item.gold) for name, values in scores.items()}
    return {
        "group": item.group,
        "gold": item.gold,
        "prediction": int(nats.argmin()),
        "choices": len(item.choices),
        "nats": nats.tolist(),
        **right,
    }


def credit(scores: np.ndarray, gold: int) -> float:
    """1 if the right choice has the highest score alone; 1/k if it shares it with k - 1 others.

    >>> credit(np.array([-2.0, -2.0, -3.0]), 1)
    0.5
    """
    best = np.isclose(scores, scores.max(), rtol=TIE, atol=TIE)
    return float(best[gold] / best.sum())


def guess(reports: Sequence[Report]) -> float:
    """The accuracy of guessing."""
    return float(np.mean([1 / report["choices"] for report in reports]))


def strings(values: Iterable[Any], what: str, place: str) -> tuple[str, ...]:
    """A list of texts. Raises DataError."""
    found = tuple(values)
    if not all(isinstance(value, str) for value in found):
        raise DataError(f'"{what}" in {place} must be a list of texts; received {found!r}; {FIX}')
    return found


def parse_choices(record: Record, suffix: str = "", lead: str = " ") -> Choice:
    """{"query": ..., "choices": [...], "gold": 0}: the query and `suffix`, then `lead` and a
    choice."""
    values = record.take({"query": str, "choices": list})
    choices = strings(values["choices"], "choices", record.place)
    gold = check_index(values.get("gold"), len(choices), "gold", record.place)
    texts = tuple(lead + text for text in choices)
    group = values.get("category", "")
    if not isinstance(group, str):
        raise DataError(f'"category" in {record.place} must be a text; received {group!r}; {FIX}')
    return Choice(values["query"] + suffix, texts, gold, group)
