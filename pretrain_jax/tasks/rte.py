"""RTE (Dagan et al. 2006; GLUE, SuperGLUE): does a sentence follow from another?"""

from pretrain_jax.errors import DataError
from pretrain_jax.tasks._choice import Choice, choice_task, parse_choices
from pretrain_jax.tasks._records import FIX, Record

LABELS = {"entailment": 0, "not_entailment": 1, 0: 0, 1: 1}
CHOICES = (" True", " False")


def parse(record: Record) -> Choice:
    """{"query": ..., "choices": [...], "gold": 0}, or premise and hypothesis (SuperGLUE) or
    sentence1 and sentence2 (GLUE), with a label: entailment or 0, not_entailment or 1."""
    if "query" in record.values:
        return parse_choices(record)
    first, second = (
        ("premise", "hypothesis") if "premise" in record.values else ("sentence1", "sentence2")
    )
    values = record.take({first: str, second: str})
    label = values.get("label")
    if not isinstance(label, (str, int)) or label not in LABELS:
        raise DataError(
            f'"label" in {record.place} must be entailment, not_entailment, 0 or 1; received '
            f"{label!r}; {FIX}"
        )
    context = f"{values[first]}\nQuestion: {values[second]} True or False?\nAnswer:"
    return Choice(context, CHOICES, LABELS[label])


TASK = choice_task(
    parse, 'Both sentences, a line "Answer:", and " True" or " False".', neutral="Answer:"
)
