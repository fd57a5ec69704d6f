"""Scores of answers: the rules of SQuAD's official scripts, and the best threshold."""

import math

import numpy as np
import pytest

from pretrain_jax.scores.answers import (
    best_no_answer_threshold,
    normalize_answer,
    score_answers,
    words_f1,
)

# --- texts ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text, expected",
    [
        ("The Eiffel Tower!", "eiffel tower"),
        ("  a\tred \n fox ", "red fox"),
        ("an apple, the theatre", "apple theatre"),
        ("U.S.A.", "usa"),
        ("well-known", "wellknown"),
        ("an-the", "anthe"),  # punctuation goes first and leaves no space
        ("a.", ""),
        ("The", ""),
        ("", ""),
        ("$1,000.50", "100050"),
        ("Élan À la carte", "élan à la carte"),  # an accent makes another word than "a"
        ("“the” fox", "“ ” fox"),  # only ASCII punctuation is removed
        ("東京、the 大阪", "東京、 大阪"),  # Chinese and Japanese are not split
        ("東京the大阪", "東京the大阪"),
        ("A\u00a0fox", "fox"),
        ("STRASSE ẞ", "strasse ß"),
    ],
)
def test_normalized_answers(text, expected):
    assert normalize_answer(text) == expected


@pytest.mark.parametrize(
    "right, text, expected",
    [
        ("red fox", "red fox", 1),
        ("fox red", "red fox", 1),
        ("red fox", "fox", 2 / 3),
        ("red red fox", "red cub", 2 / 5),
        ("red red fox", "red red red", 4 / 6),
        ("red fox", "red red red", 2 / 5),
        ("red", "fox", 0),
        ("red", "", 0),
        ("", "", 0),
        ("東京都", "東京", 0),
    ],
)
def test_f1_of_words(right, text, expected):
    assert words_f1(right, text) == pytest.approx(expected)
    assert words_f1(text, right) == pytest.approx(expected)


# --- scores of a set ------------------------------------------------------------------------------


def test_the_best_of_the_right_answers_counts():
    answers = [["red fox in snow", "The fox"], ["Paris", "Paris, France"]]
    assert score_answers(answers, ["fox", "in Paris France"]) == {
        "exact_match": 50.0,
        "f1": pytest.approx(100 * (1 + 4 / 5) / 2),
    }


def test_questions_without_answers_add_scores():
    answers = [["fox"], [""], [""], ["red fox"], [""]]
    assert score_answers(answers, ["fox", "", "cub", "fox", "a."]) == {
        "exact_match": pytest.approx(100 * 3 / 5),
        "f1": pytest.approx(100 * (1 + 1 + 0 + 2 / 3 + 1) / 5),
        "has_answer_exact_match": 50.0,
        "has_answer_f1": pytest.approx(100 * (1 + 2 / 3) / 2),
        "no_answer_accuracy": pytest.approx(100 * 2 / 3),
    }


def test_no_question_with_an_answer():
    scores = {"exact_match": 50.0, "f1": 50.0, "no_answer_accuracy": 50.0}
    assert score_answers([[""], [""]], ["", "fox"]) == scores


def test_an_answer_that_normalizes_to_nothing():
    """Version 1.1 finds no common word. 2.0 skips such an answer, or takes it for "" if alone."""
    answers = [["The"], ["a", "fox"]]
    assert score_answers(answers, ["The", ""]) == {"exact_match": 100.0, "f1": 0.0}
    scores = score_answers([*answers, [""]], ["The", "", ""])
    assert scores["has_answer_exact_match"] == scores["has_answer_f1"] == 50.0


@pytest.mark.parametrize(
    "answers, predicted, message",
    [
        ([], [], "0 labels and 0 predictions"),
        ([["fox"]], [], "1 labels and 0 predictions"),
        ([["fox"]], ["fox", "cub"], "1 labels and 2 predictions"),
        ([["fox"], []], ["fox", ""], "each question needs an answer"),
    ],
)
def test_each_question_has_answers_and_a_prediction(answers, predicted, message):
    with pytest.raises(ValueError, match=message):
        score_answers(answers, predicted)
    with pytest.raises(ValueError, match=message):
        best_no_answer_threshold(answers, predicted, [0.5] * len(answers))


# --- the threshold --------------------------------------------------------------------------------


def with_threshold(answers, predicted, scores, threshold) -> tuple[float, float]:
    """Exact match and F1 where a prediction counts as "" if its score is above the threshold."""
    kept = [
        "" if score > threshold else text for text, score in zip(predicted, scores, strict=True)
    ]
    found = score_answers(answers, kept)
    return found["exact_match"], found["f1"]


def test_the_threshold_in_numbers():
    """Questions in the order of their scores: right, half right, none, wrong."""
    answers, predicted = [[""], ["fox"], ["red fox"], ["cub"]], ["it", "fox", "fox", "den"]
    found = best_no_answer_threshold(answers, predicted, [3.0, -5.0, 2.0, 4.0])
    assert found == (2.0, 50.0, pytest.approx(100 * (1 + 1 + 2 / 3) / 4))


@pytest.mark.parametrize("levels", [0, 4])
def test_no_other_threshold_is_better(levels):
    """Also where `levels` of scores make many of them equal: the returned scores can be had."""
    words = ["", "the", "fox", "red fox", "red red fox", "cub"]
    for seed in range(60):
        rng = np.random.default_rng(seed)
        size = rng.integers(1, 9)
        answers = [
            [""] if rng.random() < 0.5 else [str(rng.choice(words[1:]))] for _ in range(size)
        ]
        predicted = [str(word) for word in rng.choice(words, size)]
        scores = rng.integers(levels, size=size) - 1.0 if levels else rng.normal(size=size)
        threshold, *found = best_no_answer_threshold(answers, predicted, scores)
        assert with_threshold(answers, predicted, scores, threshold) == pytest.approx(found)
        assert with_threshold(answers, predicted, scores, -9.0)[1] <= found[1] + 1e-9
        for other in scores:
            f1 = with_threshold(answers, predicted, scores, other)[1]
            assert f1 <= found[1] + 1e-9
            assert other >= threshold or f1 < found[1] - 1e-9, "the smallest of the best"


@pytest.mark.parametrize(
    "scores, threshold",
    [([0.2, 0.9], 0.0), ([0.0, 0.9], -1.0), ([-4.0, 3.0], -5.0), ([7.0, 7.0], 0.0)],
)
def test_a_threshold_at_which_nothing_is_answered(scores, threshold):
    found = best_no_answer_threshold([[""], [""]], ["fox", "cub"], scores)
    assert found == (threshold, 100.0, 100.0)


def test_equal_scores_are_not_separated():
    """Between the first two, F1 would be 100; no threshold is there."""
    answers, predicted = [["fox"], [""], [""]], ["fox", "cub", ""]
    for order in ([0, 1, 2], [1, 0, 2]):
        rows = [answers[i] for i in order], [predicted[i] for i in order]
        found = best_no_answer_threshold(*rows, [1.0, 1.0, 2.0])
        assert found == (0.0, pytest.approx(200 / 3), pytest.approx(200 / 3))


def test_many_questions_take_a_second():
    """To score all questions at each threshold would take an hour."""
    order = np.random.default_rng(0).permutation(20_000)
    answers = [["fox"] if place < 12_000 else [""] for place in order]
    found = best_no_answer_threshold(answers, ["fox"] * len(order), order / 2)
    assert found == (11_999 / 2, 100.0, 100.0)


def test_a_diverged_model_has_no_threshold():
    for bad in (math.nan, math.inf):
        found = best_no_answer_threshold([["fox"], [""]], ["fox", "fox"], [0.5, bad])
        assert all(math.isnan(number) for number in found)


def test_one_score_for_each_question():
    with pytest.raises(ValueError, match="1 labels and 2 predictions"):
        best_no_answer_threshold([["fox"]], ["fox"], [0.5, 0.5])
