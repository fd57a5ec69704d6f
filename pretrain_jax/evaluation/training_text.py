"""The text that a run was trained on, for tasks that look at it."""

import itertools
import logging
from functools import cached_property

import numpy as np
from etils import epath

from pretrain_jax.composition import corpora
from pretrain_jax.composition.build import Design
from pretrain_jax.composition.feed import Feed
from pretrain_jax.composition.tokenizer import load_trained
from pretrain_jax.data.cache import TokenCache
from pretrain_jax.errors import UserError
from pretrain_jax.evaluation import yardsticks
from pretrain_jax.evaluation.contamination import find_contaminated, share
from pretrain_jax.evaluation.run_task import Request
from pretrain_jax.inference.restore import load_design
from pretrain_jax.progress import progress
from pretrain_jax.tasks._base import Corpus
from pretrain_jax.tokenizers import Tokenizer

MOST = 10_000_000
"""Tokens at the start of each split of each source that are read."""
log = logging.getLogger(__name__)


class TrainingText:
    """The text of a run, read where something needs it.

    Raises InputMissing or DataError if it is not there any more.
    """

    def __init__(self, workdir: epath.Path):
        self.workdir = workdir

    @cached_property
    def design(self) -> Design:
        return load_design(self.workdir)

    @cached_property
    def tokenizer(self) -> Tokenizer:
        return load_trained(self.design.spec, self.workdir)

    @property
    def corpora(self) -> tuple[corpora.MemberCorpus, ...]:
        """The corpora of the run, opened."""
        return corpora.open_corpora(self.design, None)

    @cached_property
    def corpus(self) -> Corpus:
        """The tokens of its documents."""
        feed = Feed(self.design, self.corpora, self.tokenizer)
        train, valid = (
            [text for source in feed.sources for text in documents(feed.cache(source, split))]
            for split in ("train", "valid")
        )
        return Corpus(train, valid, self.tokenizer.decode)

    @cached_property
    def texts(self) -> list[str]:
        """The training documents."""
        return [self.corpus.decode(ids) for ids in self.corpus.train]

    @cached_property
    def ngrams(self) -> dict[str, yardsticks.NgramModel]:
        """Models that count its n-grams; none, with a warning, without the text."""
        try:
            return yardsticks.count_corpus(self.corpus, self.tokenizer)
        except UserError as error:
            log.warning("no n-gram models beside this one, for lack of training text: %s", error)
            return {}

    def contamination(self, request: Request) -> tuple[float | None, int]:
        """The share of the items of a task that occur in it (contamination.py)."""
        with progress(f"looking for the items of {request.name} in the training text"):
            return share(find_contaminated(request.items, self.texts))


def documents(cache: TokenCache) -> list[np.ndarray]:
    """The tokens of each document, int [n], up to MOST in all."""
    count = min(int(np.searchsorted(cache.offsets, MOST)), len(cache))
    edges = np.minimum(cache.offsets[: count + 1], MOST)
    return [cache.tokens[first:last] for first, last in itertools.pairwise(edges)]
