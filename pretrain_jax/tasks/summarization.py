"""Summarisation by generation: BLEU and chrF (sacrebleu). The prompt ends with "TL;DR:" (Radford et
al. 2019, section 3.6)."""

from pretrain_jax.tasks._answer import Question, answer_task
from pretrain_jax.tasks._records import Record
from pretrain_jax.tasks._translation import METRICS, score_texts


def parse(record: Record) -> Question:
    """{"document": ..., "summary": ...}."""
    values = record.take({"document": str, "summary": str})
    return Question(f"{values['document']}\nTL;DR:", (values["summary"],))


TASK = answer_task(
    parse,
    'The document and a line "TL;DR:"; the summary is what greedy decoding makes up to an empty '
    "line.",
    tokens=100,
    metrics={"chrf": METRICS["chrf"], "bleu": METRICS["bleu"]},
    score=score_texts,
    stop=("\n\n",),
    takes_reasons=False,
)
