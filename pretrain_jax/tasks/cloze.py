"""Cloze: which word fills the blank of a text? The format of Winogrande and of the Children's Book
Test, and of blanks made from a user's own text.

Each choice is put in the blank, and the whole text is scored, as it is best for a model that reads
from left to right (Trinh and Le 2018, "full scoring").
"""

from pretrain_jax.errors import DataError
from pretrain_jax.tasks._choice import Choice, choice_task, strings
from pretrain_jax.tasks._records import FIX, Record, check_index

BLANKS = ("XXXXX", "___", "_")
"""Spellings of a blank; the first that a text has counts."""


def parse(record: Record) -> Choice:
    """{"text": "The _ barked.", "choices": ["cat", "dog"], "gold": 1}, or Winogrande's sentence,
    option1, option2, answer (1 or 2)."""
    if "sentence" in record.values:
        values = record.take({"sentence": str, "option1": str, "option2": str})
        text, choices = values["sentence"], (values["option1"], values["option2"])
        answer = values.get("answer")
        first = int(str(answer)) - 1 if str(answer) in ("1", "2") else answer
        gold = check_index(first, 2, "answer", record.place)
    else:
        values = record.take({"text": str, "choices": list})
        text, choices = values["text"], strings(values["choices"], "choices", record.place)
        gold = check_index(values.get("gold"), len(choices), "gold", record.place)
    blank = next((spelling for spelling in BLANKS if spelling in text), None)
    if blank is None:
        raise DataError(f"a text needs a blank, such as ___; {record.place} has none; {FIX}")
    return Choice("", tuple(text.replace(blank, choice, 1) for choice in choices), gold)


TASK = choice_task(
    parse, "The text with each choice in its blank, scored as a whole.", takes_shots=False
)
