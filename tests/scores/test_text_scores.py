"""Scores of texts: sacrebleu's numbers, without its warning about tokenized texts."""

import math

import pytest
import sacrebleu

from pretrain_jax.scores.texts import score_texts


def test_in_numbers():
    """Of the predicted n-grams of 1, 2, 3 and 4 words, 5/6, 4/5, 3/4 and 2/3 are right.

    chrF: 5/6, 4/5, 3/4, 2/3, 1/2 and 0 of the n-grams of 1 to 6 characters.
    """
    scores = score_texts(["a b c d e f"], ["a b c d e g"])
    assert scores == {
        "exact_match": 0.0,
        "f1": pytest.approx(100 * 4 / 5),  # "a" is an article
        "bleu": pytest.approx(100 * (5 / 6 * 4 / 5 * 3 / 4 * 2 / 3) ** (1 / 4)),
        "chrf": pytest.approx(100 * (5 / 6 + 4 / 5 + 3 / 4 + 2 / 3 + 1 / 2 + 0) / 6),
    }


def test_short_predictions_have_a_penalty():
    scores = score_texts(["a b c d e f g h"], ["a b c d"])
    assert scores["bleu"] == pytest.approx(100 * math.exp(1 - 8 / 4))


def test_the_scores_are_those_of_sacrebleu():
    references = ["Das Übermaß schadet der Katze.", "東京は大きい都市です。", "He is 1,000 m away."]
    predicted = ["Das Übermaß schadet der Maus.", "東京は大きな都市です。", "He is 1,000 m away"]
    assert score_texts(references, predicted) == {
        "exact_match": 0.0,
        "f1": pytest.approx(100 * (4 / 5 + 0 + 1) / 3),
        "bleu": sacrebleu.corpus_bleu(predicted, [references]).score,
        "chrf": sacrebleu.corpus_chrf(predicted, [references]).score,
    }
    assert score_texts(references[1:2], predicted[1:2])["bleu"] == 0.0  # one word for 13a
    assert score_texts(references[1:2], predicted[1:2])["chrf"] > 50


def test_exact_match_ignores_outer_spaces_and_nothing_else():
    references = ["yes", " no\n", "Maybe", "été", "a  b"]
    predicted = [" yes ", "no", "maybe", "ete\u0301", "a b"]
    assert score_texts(references, predicted)["exact_match"] == 40.0


def test_equal_texts_and_empty_texts():
    text = "the quick brown fox jumps"
    perfect = {key: pytest.approx(100) for key in ("exact_match", "f1", "bleu", "chrf")}
    assert score_texts([text, text], [text, text]) == perfect
    assert score_texts([text], [""]) == {"exact_match": 0.0, "f1": 0.0, "bleu": 0.0, "chrf": 0.0}
    assert score_texts([""], [""]) == {"exact_match": 100.0, "f1": 100.0, "bleu": 0.0, "chrf": 0.0}


def test_texts_that_look_tokenized_cause_no_warning(caplog, capfd):
    texts = ["he said so ."] * 200
    assert score_texts(texts, texts)["exact_match"] == 100.0
    assert not caplog.records and capfd.readouterr().err == ""


@pytest.mark.parametrize("references, predicted", [([], []), (["a", "b"], ["a"])])
def test_one_text_for_each_reference(references, predicted):
    with pytest.raises(ValueError, match=f"{len(references)} labels"):
        score_texts(references, predicted)
