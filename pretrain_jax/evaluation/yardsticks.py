"""Yardsticks of tasks: n-gram models of the training text, asked the same as the model."""

from collections.abc import Sequence

import numpy as np

from pretrain_jax.data.ngrams import Ngrams, count
from pretrain_jax.inference.likelihood import encode_pair
from pretrain_jax.progress import progress
from pretrain_jax.tasks._base import Corpus, Likelihood
from pretrain_jax.tokenizers import Tokenizer

ORDERS = {"unigram": 1, "bigram": 2, "5-gram": 5}


class NgramModel:
    """An n-gram model as tasks ask it (tasks/_base.Model); it only scores texts."""

    def __init__(self, ngrams: Ngrams, tokenizer: Tokenizer):
        self.ngrams, self.tokenizer = ngrams, tokenizer

    def likelihoods(
        self, pairs: Sequence[tuple[str, str]], *, whole_words: bool = False
    ) -> list[Likelihood]:
        del whole_words
        ids = [encode_pair(*pair, self.tokenizer, special=False) for pair in pairs]
        return [self.score(text, before) for before, text in ids]

    def text_likelihoods(self, texts: Sequence[str]) -> list[Likelihood]:
        return [self.score(self.tokenizer.encode(text), np.zeros(0, np.int32)) for text in texts]

    def score(self, text: np.ndarray, before: np.ndarray) -> Likelihood:
        """`is_likeliest` is not known: finding the likeliest token would need all of them."""
        log_p = self.ngrams.log_probabilities(text, before)
        scored = ~self.tokenizer.unscored[text]
        return Likelihood(-float(log_p[scored].sum()), int(scored.sum()), None)


def count_corpus(corpus: Corpus, tokenizer: Tokenizer) -> dict[str, NgramModel]:
    """The yardsticks of a run: models of its training text."""
    with progress("counting n-grams of the training text"):
        begin = tokenizer.size  # an id that no text has
        grams = count(corpus.train, max(ORDERS.values()), begin)
        return {
            name: NgramModel(Ngrams(grams[:order], tokenizer.size, begin), tokenizer)
            for name, order in ORDERS.items()
        }
