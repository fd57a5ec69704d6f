"""ARC (Clark et al. 2018): questions of science exams with three to five choices."""

from pretrain_jax.errors import DataError
from pretrain_jax.tasks._base import Task
from pretrain_jax.tasks._choice import Choice, choice_task, parse_choices
from pretrain_jax.tasks._records import FIX, Record

ANSWER = "\nAnswer:"


def parse(record: Record) -> Choice:
    """{"query": "Question: ...", "choices": [...], "gold": 0}, or a line of AI2's own files:
    {"question": {"stem": ..., "choices": [{"text": ..., "label": "A"}]}, "answerKey": "A"}."""
    if "question" not in record.values:
        return parse_choices(record, ANSWER)
    values = record.take({"question": dict, "answerKey": str})
    try:
        options = values["question"]["choices"]
        labels = [option["label"] for option in options]
        texts = tuple(f" {option['text']}" for option in options)
        gold = labels.index(values["answerKey"])
        stem = values["question"]["stem"]
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{record.place} must be a question of ARC, with the label of a choice as its "
            f"answerKey; {type(error).__name__}: {error}; {FIX}"
        ) from error
    return Choice(f"Question: {stem}{ANSWER}", texts, gold)


def arc() -> Task:
    protocol = 'The question, a line "Answer:", and each choice after a space.'
    return choice_task(parse, protocol, neutral="Answer:")
