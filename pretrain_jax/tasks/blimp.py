"""BLiMP (Warstadt et al. 2020) and other minimal pairs: is the acceptable sentence the likelier?"""

from pretrain_jax.tasks._choice import Choice, choice_task
from pretrain_jax.tasks._records import Record


def parse(record: Record) -> Choice:
    """{"sentence_good": ..., "sentence_bad": ..., "UID": "passive_1"}; without a UID, the group is
    the name of the file."""
    values = record.take({"sentence_good": str, "sentence_bad": str})
    pair = (values["sentence_good"], values["sentence_bad"])
    return Choice("", pair, 0, str(values.get("UID", record.file)))


TASK = choice_task(
    parse, "Both sentences are scored alone, each as the beginning of a text.", takes_shots=False
)
