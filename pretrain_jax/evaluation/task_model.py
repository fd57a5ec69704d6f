"""A trained model as tasks ask it (tasks/_base.Model)."""

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from pretrain_jax.errors import ConfigError, DataError, NonFinite, short_repr
from pretrain_jax.inference import likelihood as ways
from pretrain_jax.inference.scoring import Score
from pretrain_jax.inference.trained_model import TrainedModel
from pretrain_jax.progress import progress
from pretrain_jax.tasks._base import Likelihood

CHUNK = 512
"""Texts whose rows are made together."""
BATCH = 32
"""Rows that run together, by default."""
BLANK = "<extra_id_0>"
Pair = tuple[np.ndarray, np.ndarray]
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TaskModel:
    """A model, and how it is asked. Raises DataError for a text that does not fit in it."""

    model: TrainedModel
    likelihood: str
    """One of `TrainedModel.likelihoods`."""
    batch_size: int = BATCH
    """Rows that run together."""
    check: Callable[[], None] = lambda: None
    """Called between batches; what it raises ends the evaluation."""

    @classmethod
    def of(
        cls,
        model: TrainedModel,
        likelihood: str = "",
        batch_size: int = BATCH,
        check: Callable[[], None] = lambda: None,
    ) -> "TaskModel":
        """A model that is asked by the likelihood of this name; "" is its first one. Raises
        ConfigError."""
        name = likelihood or ways.default(model.likelihoods, given=False)
        ways.check(name, model.likelihoods, True, model.family)
        largest = model.generator.to_host(_largest(model.generator.params))
        check_finite(largest, "parameters")
        return cls(model, name, batch_size, check)

    def likelihoods(
        self, pairs: Sequence[tuple[str, str]], *, whole_words: bool = False
    ) -> list[Likelihood]:
        name = self.likelihood
        if whole_words and name in ways.ENCODER:
            name = "masked_words"
        encode = ways.encode_apart if name == ways.CONDITIONAL else ways.encode_pair
        ids = [encode(*pair, self.model.tokenizer, special=False) for pair in pairs]
        return [to_likelihood(score) for score in self.score(name, ids)]

    def text_likelihoods(self, texts: Sequence[str]) -> list[Likelihood]:
        encoded = [self.model.tokenizer.encode(text) for text in texts]
        windows = [divide(ids, self.window) for ids in encoded]
        scores = iter(self.score(self.likelihood, [pair for some in windows for pair in some]))
        return [add(to_likelihood(next(scores)) for _ in some) for some in windows]

    def answers(self, prompts: Sequence[str], tokens: int, stop: Sequence[str]) -> list[str]:
        fills = self.likelihood == ways.SENTINEL
        if fills:
            prompts = [f"{prompt} {BLANK}" for prompt in prompts]
        made = []
        for first in range(0, len(prompts), self.batch_size):
            self.check()
            some = prompts[first : first + self.batch_size]
            how = {"temperature": 0.0, "stop": stop, "cut": True, "batch_size": self.batch_size}
            made += [x.text for x in self.model.generate(some, tokens, **how)]
        return [first_span(text) for text in made] if fills else made

    @property
    def positions(self) -> int:
        return self.model.generator.context

    @property
    def layers(self) -> int:
        return self.model.design.spec.model.layers

    def embed(self, texts: Sequence[str], layer: int) -> np.ndarray:
        how = {"layer": layer, "batch_size": self.batch_size, "special": False}
        vectors = self.model.embed([self.cut(text) for text in texts], **how)
        check_finite(vectors, "vectors")
        return vectors

    def cut(self, text: str) -> str:
        """The beginning of a text that fits in the model."""
        ids = self.model.tokenizer.encode(text)
        return text if len(ids) <= self.window else self.model.tokenizer.decode(ids[: self.window])

    @property
    def window(self) -> int:
        """Tokens of a window of a long text: the positions of the model but for special ids."""
        spec, generator = self.model.design.spec, self.model.generator
        prompt = self.model.objective.prompt
        assert prompt is not None
        positions = generator.context or spec.data.seq_len
        return max(
            positions - len(prompt(np.zeros(0, np.int32), self.model.tokenizer)["tokens"]), 1
        )

    def score(self, name: str, pairs: Sequence[Pair]) -> list[Score]:
        """The scores of pairs of ids, those of similar lengths together."""
        order = sorted(range(len(pairs)), key=lambda i: len(pairs[i][0]) + len(pairs[i][1]))
        found: dict[int, Score] = {}
        generator, objective = self.model.generator, self.model.objective
        with progress("scoring texts", total=len(pairs)) as done:
            for first in range(0, len(order), CHUNK):
                self.check()
                some = order[first : first + CHUNK]
                chunk = [pairs[i] for i in some]
                try:
                    scores = ways.score_ids(generator, objective, name, chunk, self.batch_size)
                except ConfigError as error:
                    longest = max((text for _, text in chunk), key=len)
                    text = short_repr(self.model.tokenizer.decode(longest))
                    raise DataError(f"{error}. The longest text here is {text}") from None
                found |= dict(zip(some, scores, strict=True))
                done(len(some))
        check_finite([found[i].nats for i in found], "log-likelihoods")
        return [found[i] for i in range(len(pairs))]


@jax.jit
def _largest(params: Any) -> list[jax.Array]:
    """The largest absolute value of each array; NaN if one is NaN."""
    return [jnp.abs(leaf).max() for leaf in jax.tree.leaves(params)]


def check_finite(numbers: ArrayLike, what: str) -> None:
    """Raises NonFinite for NaN and infinity, of which no task could tell that they are wrong."""
    if not np.isfinite(numbers).all():
        raise NonFinite(
            f"the {what} of a model must be finite; some of this one are NaN or infinite. Evaluate "
            "an earlier checkpoint, or load the model as float32"
        )


def divide(ids: np.ndarray, window: int) -> list[Pair]:
    """A text, int32 [n], as pairs (context, part): the first part has `window` ids, the others half
    as many, after a context that fills the window.

    >>> [(a.tolist(), b.tolist()) for a, b in divide(np.arange(9), 4)]
    [([], [0, 1, 2, 3]), ([2, 3], [4, 5]), ([4, 5], [6, 7]), ([5, 6, 7], [8])]
    """
    stride = max(window // 2, 1)
    firsts = [0, *range(window, len(ids), stride)]
    lasts = [*firsts[1:], len(ids)]
    return [
        (ids[max(last - window, 0) : first] if first else ids[:0], ids[first:last])
        for first, last in zip(firsts, lasts, strict=True)
    ]


def to_likelihood(score: Score) -> Likelihood:
    return Likelihood(score.nats, score.tokens, score.is_likeliest, score.log_probabilities)


def add(parts: Iterable[Likelihood]) -> Likelihood:
    """The likelihood of a text from those of its parts."""
    some = list(parts)
    return Likelihood(
        sum(x.nats for x in some),
        sum(x.tokens for x in some),
        all(x.is_likeliest for x in some),
        np.concatenate([np.zeros(0), *(x.log_probabilities for x in some)]),
    )


def first_span(text: str) -> str:
    """What a model wrote for the first blank.

    >>> first_span("<extra_id_0> Paris<extra_id_1> is")
    ' Paris'
    """
    return text.removeprefix(BLANK).partition("<extra_id_")[0]
