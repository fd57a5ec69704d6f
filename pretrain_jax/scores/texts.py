"""Scores of generated texts: exact match, F1 of words, BLEU and chrF."""

from collections.abc import Sequence

from pretrain_jax.scores.answers import score_answers
from pretrain_jax.scores.pairs import check_pairs


def score_texts(references: Sequence[str], predicted: Sequence[str]) -> dict[str, float]:
    """How near generated texts are to their references; all scores are 0 to 100.

    references, predicted: N texts each.

        exact_match    percentage of texts that equal their reference, apart from outer spaces
        f1             mean F1 of the words that a text shares with its reference, both normalized
                       as answers are (`answers.normalize_answer`)
        bleu           BLEU of all texts together, with sacrebleu's defaults: up to 4-grams of the
                       words of its tokenizer "13a". It is 0.0 if no four words in a row are right,
                       and it does not separate the words of Chinese or Japanese
        chrf           chrF2 of all texts together, with sacrebleu's defaults: up to 6-grams of
                       characters, which also suits short texts and scripts without spaces

    Sources: Post 2018, https://arxiv.org/abs/1804.08771, and Popović 2015 (W15-3049).

    Raises ValueError unless N is the same and not 0.

    >>> score_texts(["The cat sat on the mat."], ["The cat sat on a mat."])
    {'exact_match': 0.0, 'f1': 100.0, 'bleu': 48.89..., 'chrf': 65.80...}
    """
    import sacrebleu

    check_pairs(references, predicted)
    same = sum(a.strip() == b.strip() for a, b in zip(references, predicted, strict=True))
    # force: many texts that end in " ." would be taken for tokenized ones, with a warning.
    bleu = sacrebleu.corpus_bleu(predicted, [references], force=True)
    chrf = sacrebleu.corpus_chrf(predicted, [references])
    return {
        "exact_match": 100 * same / len(references),
        "f1": score_answers([[text] for text in references], predicted)["f1"],
        "bleu": float(bleu.score),
        "chrf": float(chrf.score),
    }
