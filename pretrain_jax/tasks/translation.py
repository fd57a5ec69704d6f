"""Translation by generation: BLEU and chrF (sacrebleu). The prompt is that of Radford et al. 2019,
"english sentence = french sentence", which needs shots; a T5 that was trained with a prefix has it
in "source"."""

from pretrain_jax.tasks._answer import Question, answer_task
from pretrain_jax.tasks._records import Record
from pretrain_jax.tasks._translation import METRICS, score_texts


def parse(record: Record) -> Question:
    """{"source": ..., "target": ...}."""
    values = record.take({"source": str, "target": str})
    return Question(f"{values['source']} =", (values["target"],))


TASK = answer_task(
    parse,
    'The source and " ="; the translation is the line that greedy decoding makes.',
    tokens=128,
    metrics=METRICS,
    score=score_texts,
    takes_reasons=False,
)
