"""BLEU and chrF of generated texts, from numbers of each text, so that they have intervals."""

from collections.abc import Sequence

import numpy as np

from pretrain_jax.tasks._answer import Question
from pretrain_jax.tasks._base import Metric

GRAMS = 4
COLUMNS = (
    *(f"bleu_matches_{n}" for n in range(1, GRAMS + 1)),
    *(f"bleu_total_{n}" for n in range(1, GRAMS + 1)),
    *("bleu_length", "bleu_reference_length"),
)


def score_texts(items: Sequence[Question], answers: Sequence[str]) -> list[dict[str, float]]:
    """sacrebleu's counts for BLEU, and chrF2 of each text, 0 to 100."""
    from sacrebleu.metrics.bleu import BLEU
    from sacrebleu.metrics.chrf import CHRF

    bleu, chrf = BLEU(effective_order=True), CHRF()
    numbers = []
    for item, text in zip(items, answers, strict=True):
        found = bleu.sentence_score(text, list(item.answers))
        counts = (*found.counts, *found.totals, found.sys_len, found.ref_len)
        one = dict(zip(COLUMNS, map(float, counts), strict=True))
        numbers.append({**one, "chrf": float(chrf.sentence_score(text, list(item.answers)).score)})
    return numbers


def corpus_bleu(*columns: np.ndarray) -> float:
    """BLEU, 0 to 100, of all texts together, from the columns of COLUMNS."""
    from sacrebleu.metrics.bleu import BLEU

    sums = [int(column.sum()) for column in columns]
    matches, totals, (length, reference) = sums[:GRAMS], sums[GRAMS : 2 * GRAMS], sums[-2:]
    return float(BLEU.compute_bleu(matches, totals, length, reference, "exp").score)


METRICS = {"bleu": Metric(COLUMNS, corpus_bleu), "chrf": Metric(("chrf",))}
"""BLEU of all texts, and the mean of the chrF of each."""
