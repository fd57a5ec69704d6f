"""The text that a run was trained on, for tasks that look at it."""

import itertools
import logging
from functools import cached_property

import numpy as np
from etils import epath

from pretrain_jax.composition import corpora
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
    def corpus(self) -> Corpus:
        """The tokens of its documents."""
        design = load_design(self.workdir)
        tokenizer = load_trained(design.spec, self.workdir)
        feed = Feed(design, corpora.open_corpora(design, None), tokenizer)
        train, valid = (
            [text for source in feed.sources for text in documents(feed.cache(source, split))]
            for split in ("train", "valid")
        )
        return Corpus(train, valid, tokenizer.decode)

    @cached_property
    def ngrams(self) -> dict[str, yardsticks.NgramModel]:
        """Models that count its n-grams; none, with a warning, without the text."""
        try:
            tokenizer = load_trained(load_design(self.workdir).spec, self.workdir)
            return yardsticks.count_corpus(self.corpus, tokenizer)
        except UserError as error:
            log.warning("no n-gram models beside this one, for lack of training text: %s", error)
            return {}

    def contamination(self, request: Request) -> dict[str, float]:
        """The share of the items of a task that stand in it (contamination.py)."""
        text = self.corpus
        with progress(f"looking for the items of {request.name} in the training text"):
            return share(find_contaminated(request.items, map(text.decode, text.train)))


def documents(cache: TokenCache) -> list[np.ndarray]:
    """The tokens of each document, int [n], up to MOST in all."""
    count = min(int(np.searchsorted(cache.offsets, MOST)), len(cache))
    edges = np.minimum(cache.offsets[: count + 1], MOST)
    return [cache.tokens[first:last] for first, last in itertools.pairwise(edges)]
