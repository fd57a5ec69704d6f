"""Scores of answers to questions, as in the official scripts of SQuAD 1.1 and 2.0."""

import math
import re
import string
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from pretrain_jax.scores.pairs import check_pairs

ARTICLES = re.compile(r"\b(a|an|the)\b")
NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


def score_answers(answers: Sequence[Sequence[str]], predicted: Sequence[str]) -> dict[str, float]:
    """The scores of SQuAD (Rajpurkar et al. 2016, https://arxiv.org/abs/1606.05250, and 2018).

    answers: the right answers of N questions, at least one each; [""] if there is no answer.
    predicted: N answers; "" means no answer.
    All scores are percentages, 0 to 100, with texts compared after `normalize_answer`:

        exact_match               questions whose prediction equals one of the right answers
        f1                        mean F1 of the words that a prediction shares with a right
                                  answer, the best one of each question
        has_answer_exact_match    exact_match of the questions that have an answer
        has_answer_f1             f1 of the questions that have an answer
        no_answer_accuracy        share of "" among the predictions for the other questions

    The last three are there if some question has no answer; the scores are then those of
    evaluate-v2.0.py, otherwise those of evaluate-v1.1.py. The two scripts differ only in answers
    of which the normalization leaves nothing, such as "The".

    Raises ValueError unless N is the same and not 0, and each question has a list of answers.

    >>> score_answers([["the red fox", "fox"], ["Paris"]], ["A fox!", "in Paris"])
    {'exact_match': 50.0, 'f1': 83.333...}
    """
    exact, f1 = question_scores(answers, predicted)
    scores = {"exact_match": percent(exact), "f1": percent(f1)}
    answerable = np.array([any(right) for right in answers])
    if answerable.all():
        return scores
    if answerable.any():
        scores["has_answer_exact_match"] = percent(exact[answerable])
        scores["has_answer_f1"] = percent(f1[answerable])
    return {**scores, "no_answer_accuracy": percent(exact[~answerable])}


def best_no_answer_threshold(
    answers: Sequence[Sequence[str]], predicted: Sequence[str], no_answer_scores: ArrayLike
) -> tuple[float, float, float]:
    """(threshold, exact_match, f1): the threshold on "no answer" with the best F1, and its scores.

    answers: as in `score_answers`. predicted: the best answer to each question that is not "".
    no_answer_scores: float [N], larger where an answer is less likely to exist: a probability or a
    difference of logits.

    A prediction becomes "" if its score is above the threshold; exact_match and f1 are what
    `score_answers` then returns. The threshold is one of the scores, the smallest that has the best
    F1. If it is best to answer no question, it is 0.0, or 1 below the smallest score if that is not
    positive. All three numbers are NaN if a score is NaN or infinite.

    threshold and f1 are `best_f1_thresh` and `best_f1` of evaluate-v2.0.py, which differs in three
    cases: it may separate equal scores, it returns 0.0 for no answers even if scores are negative,
    and it does not take "The" for "". Its `best_exact` has a threshold of its own.

    Raises ValueError as `score_answers` does.

    >>> answers, predicted = [["Paris"], [""], ["fox"]], ["Paris", "it", "dog"]
    >>> best_no_answer_threshold(answers, predicted, [0.1, 0.7, 0.4])
    (0.1, 66.666..., 66.666...)
    """
    scores = np.asarray(no_answer_scores, np.float64)
    check_pairs(answers, scores)
    given = np.stack(question_scores(answers, predicted))
    withheld = np.stack(question_scores(answers, [""] * len(answers)))
    if not np.isfinite(scores).all():
        return math.nan, math.nan, math.nan
    order = scores.argsort()
    ranked = scores[order]
    last_of_equals = np.append(ranked[1:] > ranked[:-1], True)
    gains = (given - withheld)[:, order].cumsum(axis=1)[:, last_of_equals]
    never = 0.0 if ranked[0] > 0 else ranked[0] - 1
    thresholds = np.append(never, ranked[last_of_equals])
    means = (withheld.sum(axis=1, keepdims=True) + np.pad(gains, ((0, 0), (1, 0)))) / len(scores)
    best = means[1].argmax()
    exact_match, f1 = 100 * means[:, best]
    return float(thresholds[best]), float(exact_match), float(f1)


def question_scores(
    answers: Sequence[Sequence[str]], predicted: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Exact match and F1 of each question, both float [N] from 0 to 1."""
    check_pairs(answers, predicted)
    if not all(answers):
        raise ValueError('each question needs an answer; one without has [""]; received []')
    some_without = not all(any(right) for right in answers)
    exact, f1 = np.zeros((2, len(answers)))
    for i, (right, guess) in enumerate(zip(answers, predicted, strict=True)):
        text, texts = normalize_answer(guess), [normalize_answer(answer) for answer in right]
        if some_without:
            texts = [answer for answer in texts if answer] or [""]
        exact[i] = text in texts
        f1[i] = max(words_f1(answer, text) for answer in texts)
    return exact, np.maximum(exact, f1) if some_without else f1


def normalize_answer(text: str) -> str:
    """The words of an answer: lower case, without ASCII punctuation and English articles.

    As in the official scripts, letters keep their accents, and punctuation leaves no space. Texts
    without spaces, such as Chinese, are one word.

    >>> normalize_answer("The  U.S.-led  élan, a plan")
    'usled élan plan'
    """
    return " ".join(ARTICLES.sub(" ", text.lower().translate(NO_PUNCTUATION)).split())


def words_f1(right: str, text: str) -> float:
    """F1 of the words that two normalized texts share, counting repeated words; 0.0 if none.

    >>> words_f1("red red fox", "red fox cub")
    0.666...
    """
    ours, theirs = Counter(text.split()), Counter(right.split())
    return 2 * (ours & theirs).total() / max((ours + theirs).total(), 1)


def percent(scores: np.ndarray) -> float:
    """The mean of scores from 0 to 1, as a percentage."""
    return 100 * float(scores.mean())
