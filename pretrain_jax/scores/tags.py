"""Scores of predicted tags: entities as conlleval counts them, and the accuracy of tokens."""

from collections.abc import Sequence
from itertools import chain

from pretrain_jax.scores.pairs import check_pairs

Entity = tuple[str, int, int]


def score_tags(
    labels: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]
) -> dict[str, float]:
    """The scores of named entities (CoNLL-2003) or of parts of speech.

    labels, predicted: N sentences, each with one tag per word, such as "B-PER", "I-PER" or "O".

        accuracy    share of words with the right tag, 0 to 1
        precision   share of the predicted entities that are right in type, first and last word
        recall      share of the labelled entities that were predicted so
        f1          harmonic mean of precision and recall

    The last three count the entities of all sentences together, and are 0.0 where there are none.
    Without a tag that begins with B- or I-, as with parts of speech, accuracy is the only score.

    Raises ValueError unless each sentence has as many predicted tags as labels, and at least one.

    >>> score_tags([["B-PER", "I-PER", "O", "B-LOC"]], [["B-PER", "O", "O", "B-LOC"]])
    {'f1': 0.5, 'precision': 0.5, 'recall': 0.5, 'accuracy': 0.75}
    """
    check_pairs(labels, predicted)
    for sentence, tags in zip(labels, predicted, strict=True):
        check_pairs(sentence, tags)
    pairs = [*zip(chain(*labels), chain(*predicted), strict=True)]
    accuracy = {"accuracy": sum(label == guess for label, guess in pairs) / len(pairs)}
    if not any(tag.startswith(("B-", "I-")) for pair in pairs for tag in pair):
        return accuracy
    gold, found = (
        {(i, entity) for i, tags in enumerate(rows) for entity in entities(tags)}
        for rows in (labels, predicted)
    )
    right = len(gold & found)
    return {
        "f1": 2 * right / (len(gold) + len(found)),
        "precision": right / (len(found) or 1),
        "recall": right / (len(gold) or 1),
        **accuracy,
    }


def entities(tags: Sequence[str]) -> set[Entity]:
    """The entities of a sentence as (type, first word, word after the last).

    As in conlleval (Tjong Kim Sang and Buchholz 2000), an I- without a B- begins an entity if the
    word before it is outside or has another type. E- and S- of the scheme BIOES end an entity too.
    Tags of other forms are outside.

    >>> sorted(entities(["I-PER", "I-PER", "B-PER", "O", "I-LOC"]))
    [('LOC', 4, 5), ('PER', 0, 2), ('PER', 2, 3)]
    """
    found: set[Entity] = set()
    start, prefix, kind = 0, "O", ""
    for word, tag in enumerate([*tags, "O"]):
        previous, previous_kind = prefix, kind
        prefix, _, kind = tag.partition("-")
        if prefix in ("I", "E") and previous in ("B", "I") and kind == previous_kind:
            continue  # the entity goes on
        if previous in ("B", "I", "E", "S"):
            found.add((previous_kind, start, word))
        start = word
    return found
