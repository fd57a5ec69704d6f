"""PIQA (Bisk et al. 2020): which of two ways reaches a goal?"""

from pretrain_jax.tasks._choice import Choice, choice_task, parse_choices
from pretrain_jax.tasks._records import Record, check_index


def parse(record: Record) -> Choice:
    """{"query": ..., "choices": [...], "gold": 0}, or goal, sol1, sol2, label."""
    if "goal" not in record.values:
        return parse_choices(record)
    values = record.take({"goal": str, "sol1": str, "sol2": str})
    gold = check_index(values.get("label"), 2, "label", record.place)
    texts = (f" {values['sol1']}", f" {values['sol2']}")
    return Choice(f"Question: {values['goal']}\nAnswer:", texts, gold)


TASK = choice_task(
    parse,
    'The goal as a question, a line "Answer:", and each way after a space.',
    neutral="Answer:",
)
