"""BoolQ (Clark et al. 2019): is the answer to a question about a passage yes or no?"""

from pretrain_jax.errors import DataError
from pretrain_jax.tasks._choice import Choice, choice_task, parse_choices
from pretrain_jax.tasks._records import FIX, Record

CHOICES = (" no", " yes")


def parse(record: Record) -> Choice:
    """{"query": ..., "choices": [...], "gold": 0}, or passage, question, and answer or label (a
    truth value, or 0 and 1)."""
    if "passage" not in record.values:
        return parse_choices(record)
    values = record.take({"passage": str, "question": str})
    answer = values.get("answer", values.get("label"))
    if answer not in (0, 1):  # also False and True
        raise DataError(f'"answer" in {record.place} must be true or false; got {answer!r}; {FIX}')
    question = values["question"].rstrip("?")
    return Choice(f"{values['passage']}\nQuestion: {question}?\nAnswer:", CHOICES, int(answer))


TASK = choice_task(
    parse, 'The passage, the question, a line "Answer:", and " no" or " yes".', neutral="Answer:"
)
