"""Questions that a model answers in its own words, by greedy decoding."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pretrain_jax.scores.answers import question_scores
from pretrain_jax.tasks._base import Metric, Model, Prompting, Report, Task, share
from pretrain_jax.tasks._records import Record, read_records
from pretrain_jax.tasks._shots import add_shots

THINK = " Let's think step by step."
"""Kojima et al. 2022, https://arxiv.org/abs/2205.11916."""
SO = " So the answer is "
LAST_ANSWER = re.compile(r"answer is:?\s*(.*?)(?:\.(?:\s|$)|\n|$)", re.IGNORECASE)
REASONING_TOKENS = 200
"""Most tokens of an answer with its reasons."""


@dataclass(frozen=True)
class Question:
    """An item: a prompt and the answers that are right."""

    context: str
    answers: tuple[str, ...]
    group: str = ""
    reasons: str = ""
    """Why the first answer is right, for chain-of-thought examples."""

    @property
    def solved(self) -> str:
        return f"{self.context} {self.answers[0]}"

    def with_reasons(self) -> "Question":
        """The item for a chain-of-thought prompt (Wei et al. 2022): its answer begins with the
        reasons and ends with "So the answer is ..."."""
        reasons = f"{self.reasons}{SO}" if self.reasons else SO.strip() + " "
        answers = (f"{reasons}{self.answers[0]}.", *self.answers[1:])
        return Question(self.context + THINK, answers, self.group)


Score = Callable[[Sequence[Question], Sequence[str]], list[dict[str, float]]]


def answer_task(
    parse: Callable[[Record], Question] | None,
    protocol: str,
    *,
    tokens: int,
    metrics: Mapping[str, Metric],
    score: Score,
    stop: Sequence[str] = ("\n",),
    **more: Any,
) -> Task:
    """A task whose answers are texts.

    parse(record) -> its item; None for a task that makes its items. tokens: most of an answer.
    score(items, answers) -> the numbers of each. stop: texts before which an answer ends.
    """

    def read_all(path: Path) -> list[Question]:
        assert parse is not None
        return [parse(record) for record in read_records(path)]

    def ask(
        model: Model, items: Sequence[Question], pool: Sequence[Question], prompting: Prompting
    ) -> list[Report]:
        asked, examples = items, pool
        if prompting.reasons:
            asked = [item.with_reasons() for item in items]
            examples = [item.with_reasons() for item in pool]
        prompts = add_shots(asked, examples, prompting)
        ends = ("\n\n",) if prompting.reasons else stop
        longest = REASONING_TOKENS if prompting.reasons else tokens
        made = [text.strip() for text in model.answers(prompts, longest, ends)]
        found = [extract(text) if prompting.reasons else text for text in made]
        numbers = score(items, found)
        return [
            {"group": item.group, "answers": list(item.answers), "prediction": text, **more_numbers}
            for item, text, more_numbers in zip(items, found, numbers, strict=True)
        ]

    return Task(
        read=None if parse is None else read_all,
        ask=ask,
        metrics=metrics,
        needs="answers",
        protocol=protocol,
        **{"takes_reasons": True, **more},
    )


def extract(text: str) -> str:
    """The answer of a text with reasons: what follows the last "answer is", or its last line.

    >>> extract("6 and 6 is 12. So the answer is 12. Fine.")
    '12'
    """
    found = LAST_ANSWER.findall(text)
    lines = text.strip().splitlines()
    return found[-1].strip() if found else (lines[-1].strip() if lines else "")


def score_by(is_right: Callable[[str, str], bool]) -> Score:
    """A `score` of answer_task: "accuracy" by is_right(answer, the right one)."""
    return lambda items, answers: [
        {"accuracy": float(is_right(text, item.answers[0]))}
        for item, text in zip(items, answers, strict=True)
    ]


QA_METRICS = {"exact_match": share("exact_match"), "f1": share("f1")}


def score_questions(items: Sequence[Question], answers: Sequence[str]) -> list[dict[str, float]]:
    """Exact match and F1 of words, 0 to 1, with texts normalized as for SQuAD."""
    exact, f1 = question_scores([list(item.answers) for item in items], answers)
    return [{"exact_match": float(a), "f1": float(b)} for a, b in zip(exact, f1, strict=True)]
