"""HellaSwag (Zellers et al. 2019): which of four texts goes on from a description?"""

import re

from pretrain_jax.tasks._choice import Choice, choice_task, parse_choices, strings
from pretrain_jax.tasks._records import Record, check_index

MARKS = re.compile(r"\[.*?\]")
"""WikiHow's marks, such as [step]; "[title]" divides sentences. lm-evaluation-harness drops them
too."""


def parse(record: Record) -> Choice:
    """{"query": ..., "choices": [...], "gold": 0}, or a line of the authors' files: activity_label,
    ctx, endings, label."""
    if "endings" not in record.values:
        return parse_choices(record)
    values = record.take({"ctx": str, "endings": list, "activity_label": str})
    endings = strings(values["endings"], "endings", record.place)
    gold = check_index(values.get("label"), len(endings), "label", record.place)
    context = clean(f"{values['activity_label']}: {values['ctx']}")
    return Choice(context, tuple(f" {clean(text)}" for text in endings), gold)


def clean(text: str) -> str:
    """
    >>> clean("Mow. [title] Begin [step] now.")
    'Mow. Begin now.'
    """
    text = text.replace(" [title]", ". ")
    return re.sub(r" +", " ", MARKS.sub("", text)).replace("..", ".").strip()


TASK = choice_task(parse, "The activity and the description, and each ending after a space.")
