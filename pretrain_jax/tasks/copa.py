"""COPA (Roemmele et al. 2011): which of two sentences is the cause, or the effect, of another?"""

from pretrain_jax.tasks._choice import Choice, choice_task, parse_choices
from pretrain_jax.tasks._records import Record, check_index

CONNECTIVES = {"cause": " because", "effect": " therefore"}


def parse(record: Record) -> Choice:
    """{"query": "The man turned on the faucet, therefore", "choices": [...], "gold": 1}, or a line
    of SuperGLUE: premise, choice1, choice2, question ("cause" or "effect"), label."""
    if "premise" not in record.values:
        return parse_choices(record)
    values = record.take({"premise": str, "choice1": str, "choice2": str, "question": str})
    word = CONNECTIVES.get(values["question"], f" {values['question']}")
    texts = tuple(f" {lower_first(values[name])}" for name in ("choice1", "choice2"))
    gold = check_index(values.get("label"), 2, "label", record.place)
    return Choice(values["premise"].rstrip(". ") + word, texts, gold, values["question"])


def lower_first(text: str) -> str:
    """The text as the second half of a sentence.

    >>> lower_first("The toilet filled.")
    'the toilet filled.'
    """
    return text[:1].lower() + text[1:]


TASK = choice_task(
    parse, "The premise with its connective, and each sentence after a space.", neutral="therefore"
)
