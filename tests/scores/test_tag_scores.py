"""Scores of tags: the counts of conlleval, and what tags without entities have."""

import pytest

from pretrain_jax.scores.tags import entities, score_tags


def sentences(text: str) -> list[list[str]]:
    return [sentence.split() for sentence in text.split(" | ")]


# Precision, recall and F1 by seqeval 1.2.2 in its default mode; " | " ends a sentence.
SEQEVAL = [
    ("B-PER I-PER O B-LOC | B-ORG O", "B-PER I-PER O B-LOC | B-ORG O", (1, 1, 1)),
    ("B-PER I-PER O B-LOC", "B-PER O O B-LOC", (1 / 2, 1 / 2, 1 / 2)),
    ("B-PER I-PER I-PER", "B-PER B-PER I-PER", (0, 0, 0)),
    ("B-PER I-LOC O", "B-PER B-LOC O", (1, 1, 1)),
    ("O I-PER I-PER O", "O B-PER I-PER O", (1, 1, 1)),
    ("B-PER | I-PER", "B-PER | B-PER", (1, 1, 1)),
    ("B-PER I-PER", "I-PER I-PER", (1, 1, 1)),
    ("B-LOC I-LOC O B-PER", "B-PER I-PER O B-PER", (1 / 2, 1 / 2, 1 / 2)),
    ("O O O", "B-PER O B-LOC", (0, 0, 0)),
    ("B-PER O B-LOC", "O O O", (0, 0, 0)),
    ("B-art-work I-art-work O", "B-art-work I-art O", (0, 0, 0)),
    ("B-PER E-PER O S-LOC S-LOC", "B-PER I-PER O S-LOC O", (1, 2 / 3, 4 / 5)),
    (
        "B-PER I-PER B-LOC O | O B-ORG I-ORG | B-LOC",
        "B-PER I-PER I-LOC O | O B-ORG O | B-LOC",
        (3 / 4, 3 / 4, 3 / 4),
    ),
]


@pytest.mark.parametrize("labels, predicted, expected", SEQEVAL)
def test_entities_are_counted_as_seqeval_counts_them(labels, predicted, expected):
    scores = score_tags(sentences(labels), sentences(predicted))
    assert (scores["precision"], scores["recall"], scores["f1"]) == pytest.approx(expected)


def test_in_numbers():
    """Three entities, of which one is found; four are guessed. Six of eight words are right."""
    labels = sentences("B-PER I-PER O B-LOC | B-ORG O O O")
    predicted = sentences("B-PER I-PER O B-ORG | B-LOC O B-PER O")
    assert score_tags(labels, predicted) == {
        "f1": pytest.approx(2 / 7),
        "precision": pytest.approx(1 / 4),
        "recall": pytest.approx(1 / 3),
        "accuracy": pytest.approx(5 / 8),
    }


def test_an_entity_ends_with_its_sentence():
    """In one sentence these would be one entity."""
    assert score_tags([["B-PER"], ["I-PER"]], [["B-PER"], ["O"]])["recall"] == 0.5
    assert score_tags([["B-PER", "I-PER"]], [["B-PER", "O"]])["recall"] == 0.0
    assert score_tags([["B-PER"], ["O"]], [["O"], ["B-PER"]])["f1"] == 0.0  # not the same entity


@pytest.mark.parametrize(
    "tags, expected",
    [
        ("", []),
        ("O O", []),
        ("B-PER", [("PER", 0, 1)]),
        ("O B-PER I-PER", [("PER", 1, 3)]),
        ("B-PER B-PER", [("PER", 0, 1), ("PER", 1, 2)]),
        ("B-PER I-LOC I-LOC", [("LOC", 1, 3), ("PER", 0, 1)]),
        ("I-PER O I-PER", [("PER", 0, 1), ("PER", 2, 3)]),
        ("S-PER I-PER E-PER E-PER", [("PER", 0, 1), ("PER", 1, 3), ("PER", 3, 4)]),
        ("NOUN B-PER X-PER I-PER", [("PER", 1, 2), ("PER", 3, 4)]),
        ("B-地名 I-地名 I-人名", [("人名", 2, 3), ("地名", 0, 2)]),
    ],
)
def test_entities(tags, expected):
    assert sorted(entities(tags.split())) == expected


def test_parts_of_speech_have_an_accuracy_only():
    labels, predicted = [["DET", "NOUN", "VERB"], ["NOUN"]], [["DET", "VERB", "VERB"], ["ADJ"]]
    assert score_tags(labels, predicted) == {"accuracy": 0.5}
    assert score_tags([["INTJ", "B"]], [["INTJ", "I"]]) == {"accuracy": 0.5}


def test_predicted_entities_count_where_no_label_has_one():
    scores = {"f1": 0.0, "precision": 0.0, "recall": 0.0, "accuracy": 0.5}
    assert score_tags([["O", "O"]], [["O", "I-PER"]]) == scores


@pytest.mark.parametrize(
    "labels, predicted",
    [
        ([], []),
        ([["O"]], []),
        ([["O"]], [["O"], ["O"]]),
        ([["O", "O"]], [["O"]]),
        ([["O"], []], [["O"], []]),
        ([["O"], ["O", "O"]], [["O", "O"], ["O"]]),
    ],
)
def test_one_tag_for_each_word(labels, predicted):
    with pytest.raises(ValueError, match="one prediction for each label"):
        score_tags(labels, predicted)
