"""How a model scores a text after a context: the rows that it reads, for each family.

    likelihood     family            each token of the text is predicted from
    causal         decoder           the context and the tokens before it
    conditional    encoder-decoder   the context, which the encoder reads, and the tokens before it
    sentinel       encoder-decoder   the context and the text around its word, which the encoder
                                     reads with <extra_id_0> in place of the word, and the tokens
                                     of the word before it
    masked         encoder           all of the context and the text but itself
    masked_words   encoder           the same, without the later tokens of its word

Only causal and conditional multiply to the probability of a text. The others are
pseudo-likelihoods, which compare texts: "masked" of Salazar et al. 2020, section 2; "masked_words"
of Kauf and Ivanova 2023, PLL-word-l2r, because a word of several tokens is too easy to guess from
its end. "sentinel" predicts as span corruption does, one word at a time.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from pretrain_jax import registry
from pretrain_jax.errors import ConfigError
from pretrain_jax.inference import spellings
from pretrain_jax.inference.generation import Generator
from pretrain_jax.inference.scoring import Row, Score, predict, predict_once, score_rows
from pretrain_jax.objectives import Objective
from pretrain_jax.tokenizers import Tokenizer

DECODER, ENCODER = ("causal",), ("masked", "masked_words")
CONDITIONAL, SENTINEL = "conditional", "sentinel"


def names(objective: Objective, sentinels: int) -> tuple[str, ...]:
    """The likelihoods of a model, its default first. sentinels: how many the objective uses.

    An encoder-decoder that learned to fill sentinels does so by default.
    """
    if objective.prompt is None:
        return ()
    if objective.attention == "full":
        return ENCODER
    if not sentinels:
        return (CONDITIONAL,) if "memory_tokens" in objective.fields else DECODER
    return (SENTINEL, CONDITIONAL)


def default(known: Sequence[str], given: bool) -> str:
    """The likelihood of texts with or without a context, where none is named; "" if none is known.

    >>> default(("sentinel", "conditional"), given=True)
    'conditional'
    """
    return CONDITIONAL if given and CONDITIONAL in known else next(iter(known), "")


def check(name: str, known: Sequence[str], given: bool, family: str) -> None:
    """Raises ConfigError unless a model of a family scores texts in the way `name`."""
    if not known:
        raise ConfigError(f"scoring needs a model that predicts tokens; this model is {family}")
    registry.check_name(name, known, f"likelihood of a {family}")
    if name == CONDITIONAL and not given:
        raise ConfigError(
            f"an encoder-decoder scores texts given others; this model is {family}. "
            "Pass given=[...], one input for each text"
        )


def score_pairs(
    generator: Generator,
    objective: Objective,
    name: str,
    pairs: Sequence[tuple[str, str]],
    *,
    batch_size: int,
    special: bool,
) -> list[Score]:
    """The score of the text of each pair (context, text) by the likelihood `name`.

    special: whether spellings of special tokens are these tokens. Raises ConfigError for a text
    that is too long, or a tokenizer that lacks a needed id.
    """
    encode = encode_apart if name == CONDITIONAL else encode_pair
    ids = [encode(*pair, generator.tokenizer, special) for pair in pairs]
    return score_ids(generator, objective, name, ids, batch_size)


def score_ids(
    generator: Generator,
    objective: Objective,
    name: str,
    pairs: Sequence[tuple[np.ndarray, np.ndarray]],
    batch_size: int,
) -> list[Score]:
    """`score_pairs` of the ids of contexts and texts."""
    assert objective.prompt is not None
    reader = Reader(objective.prompt, generator.tokenizer, generator.context)
    rows = [reader.rows(name, *pair) for pair in pairs]
    run = partial(predict, batch_size=batch_size)
    if name in ENCODER:
        run = partial(run, method=objective.model_methods[0])
    elif objective.attention == "causal" and name in DECODER:
        run = partial(predict_once, batch_size=batch_size)
    return score_rows(generator, [text for _, text in pairs], rows, run)


@dataclass(frozen=True)
class Reader:
    """Makes the rows of a model."""

    prompt: Callable[[np.ndarray, Any], Mapping[str, np.ndarray]]
    """Objective.prompt."""
    tokenizer: Tokenizer
    context: int = 0
    """Positions of the model; 0 = no limit."""

    def rows(self, likelihood: str, before: np.ndarray, text: np.ndarray) -> list[Row]:
        """The rows that score a text, int32 [n], after a context, int32 [m].

        A context that is too long loses its beginning. Raises ConfigError for a text that is too
        long by itself.
        """
        make = {
            "causal": self.follow,
            CONDITIONAL: self.follow,
            SENTINEL: self.fill_words,
            "masked": self.mask_tokens,
            "masked_words": self.mask_words,
        }[likelihood]
        return list(make(before, text))

    def follow(self, before: np.ndarray, text: np.ndarray) -> Iterator[Row]:
        """One row: the context, then the text, whose last token is not read."""
        yield self.row_after(self.cut(before, len(text) - 1), text)

    def row_after(self, before: np.ndarray, text: np.ndarray, first: int = 0) -> Row:
        """The row that predicts text[first:] after the prompt of a context."""
        prompt = self.prompt(before, self.tokenizer)
        stream = np.concatenate([prompt["tokens"], text]).astype(np.int32)
        read, count = stream[:-1], len(prompt["tokens"])
        prefix = {"prefix": np.arange(len(read)) < count} if "prefix" in prompt else {}
        # Without an id that begins documents, nothing precedes the first token.
        at = np.arange(max(count + first - 1, 0), len(read), dtype=np.int32)
        return Row({**prompt, "tokens": read, **prefix}, at, stream[1:][at])

    def fill_words(self, before: np.ndarray, text: np.ndarray) -> Iterator[Row]:
        """A row for each word: the encoder reads the context and the text with a sentinel instead
        of the word, and the decoder writes the sentinel and the word."""
        sentinel = np.array([self.tokenizer.sentinel(0)], np.int32)
        for first, last in self.words(text):
            blank = np.concatenate([before, text[:first], sentinel, text[last:]])
            yield self.row_after(blank, np.concatenate([sentinel, text[first:last]]), 1)

    def mask_tokens(self, before: np.ndarray, text: np.ndarray) -> Iterator[Row]:
        """A row for each token, with it masked."""
        return self.mask(before, text, [(i, i + 1) for i in range(len(text))])

    def mask_words(self, before: np.ndarray, text: np.ndarray) -> Iterator[Row]:
        """A row for each token, with it and the later tokens of its word masked."""
        return self.mask(before, text, [(i, b) for a, b in self.words(text) for i in range(a, b)])

    def mask(
        self, before: np.ndarray, text: np.ndarray, spans: Sequence[tuple[int, int]]
    ) -> Iterator[Row]:
        """A row for each span [first, last) of the text: masked, and the first token predicted."""
        if self.tokenizer.mask is None:
            raise ConfigError("the likelihood of an encoder needs a mask token; it has none")
        before = self.cut(before, len(text))
        both = np.concatenate([before, text])
        row = self.prompt(both, self.tokenizer)["tokens"]
        # The text stands near the end, before a few special ids.
        ends = range(len(row), len(text) - 1, -1)
        end = next(i for i in ends if np.array_equal(row[i - len(text) : i], text))
        places = np.arange(len(row)) - (end - len(text))
        for first, last in spans:
            hidden = (places >= first) & (places < last)
            tokens = np.where(hidden, self.tokenizer.mask, row).astype(np.int32)
            at = np.flatnonzero(places == first).astype(np.int32)
            yield Row({"tokens": tokens}, at, row[at])

    def cut(self, before: np.ndarray, more: int) -> np.ndarray:
        """The end of a context that leaves room for `more` tokens. Raises ConfigError if there is
        none."""
        if not self.context:
            return before
        empty = self.prompt(before[:0], self.tokenizer)
        room = self.context - more - len(empty["tokens"])
        if room < 0:
            raise ConfigError(
                f"a text may have at most {self.context} tokens, special ones included, as many as "
                f"this model has positions; received {self.context - room}. Shorten it or divide it"
            )
        return before if "memory_tokens" in empty else before[max(len(before) - room, 0) :]

    def words(self, text: np.ndarray) -> list[tuple[int, int]]:
        """(first, last + 1) of each word of a text, int32 [n]."""
        starts = self.tokenizer.word_starts[text]
        firsts = [0, *(i for i in range(1, len(text)) if starts[i])] if len(text) else []
        return list(zip(firsts, [*firsts[1:], len(text)], strict=True))


def encode_apart(
    context: str, text: str, tokenizer: Tokenizer, special: bool
) -> tuple[np.ndarray, np.ndarray]:
    """int32 (ids of a context, ids of a text that another stream reads)."""
    return spellings.encode(context, tokenizer, special), spellings.encode(text, tokenizer, special)


def encode_pair(
    context: str, text: str, tokenizer: Tokenizer, special: bool
) -> tuple[np.ndarray, np.ndarray]:
    """int32 (ids of a context, ids of a text after it).

    Both are encoded as one text and divided after as many ids as the context has alone. White space
    at the end of the context counts as part of the text, because most tokens begin with a space.
    This is how lm-evaluation-harness encodes them.

    For GPT-2's vocabulary, "The cat " and "sat" give the ids of "The cat" and of " sat".
    """
    before = spellings.encode(context.rstrip(), tokenizer, special)
    both = spellings.encode(context + text, tokenizer, special)
    return before, both[len(before) :]
