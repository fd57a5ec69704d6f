"""Closed-book question answering, in the formats of NQ-open and TriviaQA.

Exact match and F1 of words, normalized as for SQuAD (Roberts et al. 2020 use the same).
"""

from pretrain_jax.errors import DataError
from pretrain_jax.tasks._answer import QA_METRICS, Question, answer_task, score_questions
from pretrain_jax.tasks._records import FIX, Record

TOKENS = 24


def parse(record: Record) -> Question:
    """{"question": ..., "answer": "x" or ["x", "y"]}, with "aliases": [...] if there are others; or
    the LLM Foundry's context, answer, aliases."""
    name = "question" if "question" in record.values else "context"
    text = record.take({name: str})[name].strip().removeprefix("Question: ")
    answers = []
    for key in ("answer", "answers", "aliases"):
        value = record.values.get(key, [])
        answers += value if isinstance(value, list) else [value]
    if not answers or not all(isinstance(x, str) and x.strip() for x in answers):
        raise DataError(
            f'{record.place} needs an "answer", a text or a list of texts; it has {answers!r}; '
            f"{FIX}"
        )
    question = text.removesuffix("Answer:").strip()
    reasons = record.values.get("reasons", "")
    return Question(f"Q: {question}\nA:", tuple(dict.fromkeys(answers)), reasons=str(reasons))


TASK = answer_task(
    parse,
    '"Q: ", the question and "A:"; the answer is the line that greedy decoding makes.',
    tokens=TOKENS,
    metrics=QA_METRICS,
    score=score_questions,
)
