"""Masked tokens and [CLS] text [SEP]: the code that the encoders' objectives share."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from pretrain_jax import registry
from pretrain_jax.corruption import masking, noise, words
from pretrain_jax.corruption.render import unit_weights
from pretrain_jax.corruption.uniform import Uniform
from pretrain_jax.errors import ConfigError
from pretrain_jax.ragged import Fields, Ragged, RowSplits, wrap
from pretrain_jax.rounding import round_up

FIELDS = ("tokens", "predict_at", "targets", "weights")
SPECIAL_TOKENS = ("mask", "cls", "sep")
BASELINES = ("uniform", "unigram")
SPECIALS = 2
"""[CLS] and [SEP] around a text."""
SAMPLE_TOKENS = 1_000_000
"""Tokens at the start of the corpus that are searched for long words."""
WITHOUT_SPACES = 0.2
"""Share of the text in long words above which a run warns."""


def single_tokens(
    texts: RowSplits, counts: np.ndarray, uniform: Uniform, *, starts: np.ndarray
) -> np.ndarray:
    """Draws `counts` tokens of each text, independently of where words start."""
    del starts
    return noise.random_tokens(texts, counts, uniform)


NOISE = {
    "tokens": single_tokens,
    "words": noise.whole_words,
    "spans": noise.geometric_spans,
}
"""Which tokens are predicted: draw(texts, counts [E], uniform, starts=bool [T]) -> noise [T]."""


@dataclass(frozen=True)
class Masking:
    """Which tokens an encoder's objective predicts, and what replaces them.

    rate                share of all tokens that is predicted
    draw                one of NOISE, or a function like them
    replaced, random    shares of the predicted tokens that [MASK] or a random token replaces
    per_token           draw the replacement per token; otherwise once per noise group
    copies              see Objective.copies
    by_words            whether `draw` depends on where words start

    Raises ConfigError when both shares together exceed 1.
    """

    rate: float
    draw: Callable[..., np.ndarray]
    replaced: float
    random: float
    per_token: bool = False
    copies: int = 0
    by_words: bool = False

    def __post_init__(self) -> None:
        if self.replaced + self.random > 1:
            raise ConfigError(
                "objective.replaced + objective.random, shares of the predicted tokens, must be at "
                f"most 1; received {self.replaced} and {self.random}; BERT's are 0.8 and 0.1"
            )

    def count(self, tokens: Any) -> Any:
        """The most predictions in an example of so many tokens, specials included; takes arrays.

        512 at a rate of 0.15 -> 77.
        """
        return np.maximum(1, np.rint(self.rate * tokens).astype(np.int64))

    def budget(self, seq_len: int) -> int:
        """Predictions in a row, a multiple of 8: 512 at a rate of 0.15 -> 80."""
        return round_up(int(np.ceil(self.rate * seq_len)), 8)

    def hide(
        self,
        texts: Ragged,
        starts: np.ndarray,
        specials: int,
        uniform: Uniform,
        vocab: Any,
    ) -> tuple[np.ndarray, np.ndarray]:
        """(tokens that the model reads, noise), both int32 [T], for the texts of examples.

        starts: bool [T], where words start. specials: special tokens to be added to each example.
        """
        sizes = texts.splits.sizes
        counts = np.minimum(self.count(sizes + specials), sizes)
        if self.by_words:
            starts = words.split_long_words(texts, starts, counts, vocab.token_bytes)
        drawn = self.draw(texts.splits, counts, uniform, starts=starts)
        hidden = masking.mask_tokens(
            texts.values,
            drawn,
            texts.splits,
            uniform,
            mask=vocab.mask,
            replaced=self.replaced,
            random=self.random,
            candidates=masking.text_ids(vocab),
            per_token=self.per_token,
        )
        return hidden, drawn

    def data_warning(self, examples: Any, vocab: Any) -> str:
        """Warns of text without spaces, where noise is drawn by words; see Objective."""
        if not self.by_words:
            return ""
        tokens = examples.cache.tokens[:SAMPLE_TOKENS]
        first = examples.cache.offsets[:-1]
        starts = vocab.word_starts[tokens]
        starts[first[first < len(tokens)]] = True
        lengths = words.word_lengths(starts, vocab.token_bytes[tokens])
        share = lengths[lengths > words.LONGEST_WORD].sum() / max(lengths.sum(), 1)
        if share <= WITHOUT_SPACES:
            return ""
        return (
            f"{share:.0%} of the text is in words of more than {words.LONGEST_WORD} bytes (a word "
            f"starts with a space; words here have {lengths.mean():.0f} bytes on average). In text "
            f"without spaces, noise by words takes stretches of {words.STRETCH} bytes"
        )


def build_masking(rate: float, noise: str, replaced: float, random: float, copies: int) -> Masking:
    """The Masking for these options; raises ConfigError for an unknown noise."""
    draw = registry.pick(NOISE, noise, "objective.noise")
    return Masking(
        rate,
        draw,
        replaced,
        random,
        per_token=noise == "words",
        copies=copies,
        by_words=noise != "tokens",
    )


def single_text(how: Masking) -> dict[str, Any]:
    """The arguments of Objective that all objectives over [CLS] text [SEP] share."""
    return {
        "attention": "full",
        "arrangement": "chunks",
        "arrange": lambda seq_len: {
            "raw_length": text_length(seq_len, SPECIALS, least=1),
            "overlap": 0,
            "begin": None,
            "end": None,
        },
        "lengths": lambda n: {"L": n + SPECIALS, "P": how.count(n + SPECIALS)},
        "budgets": lambda seq_len: {"L": seq_len, "P": how.budget(seq_len)},
        "baselines": BASELINES,
        "special_tokens": SPECIAL_TOKENS,
        "copies": how.copies,
        "supports_cross_document": True,
        "data_warning": how.data_warning,
    }


def text_length(seq_len: int, specials: int, least: int) -> int:
    """Tokens of text in an example of `seq_len`; raises ConfigError when it is below `least`.

    >>> text_length(512, specials=2, least=1)
    510
    """
    if seq_len < specials + least:
        raise ConfigError(
            f"data.seq_len must have room for {specials} special tokens and {least} of text; "
            f"received {seq_len}; make it {specials + least} or more"
        )
    return seq_len - specials


def corrupt(examples: Fields, uniform: Uniform, vocab: Any, *, how: Masking) -> Fields:
    """{"tokens": texts of n} -> tokens, n + 2 of each; predict_at, targets, weights, P of each."""
    texts = examples["tokens"]
    starts = vocab.word_starts[texts.values]
    hidden, drawn = how.hide(texts, starts, SPECIALS, uniform, vocab)
    return text_fields(texts, hidden, drawn.nonzero()[0], vocab)


def text_fields(texts: Ragged, hidden: np.ndarray, at: np.ndarray, vocab: Any) -> Fields:
    """The fields of [CLS] hidden [SEP] that predict the tokens of `texts` at the indices `at`."""
    tokens = wrap(texts._replace(values=hidden), (vocab.cls,), (vocab.sep,))
    return {"tokens": tokens, **predictions(texts, at, texts.splits.offsets[at] + 1)}


def predictions(texts: Ragged, at: np.ndarray, predict_at: np.ndarray) -> Fields:
    """predict_at, targets and weights for the tokens of `texts` at the indices `at`.

    predict_at: the positions of these tokens in the streams of their examples.
    """
    parts = texts.splits.take(at)
    return {
        "predict_at": Ragged(predict_at, parts),
        "targets": Ragged(texts.values[at], parts),
        "weights": unit_weights(parts),
    }


def prompt(ids: np.ndarray, vocab: Any) -> dict[str, np.ndarray]:
    """[CLS] text [SEP], for Objective.prompt."""
    return {"tokens": np.array([vocab.cls, *ids, vocab.sep], np.int32)}


def pll_examples(example: Fields, positions: np.ndarray, vocab: Any) -> Fields:
    """One example per position of a text; each masks and predicts the token there alone."""
    return text_fields(*mask_one_each(example["tokens"], positions, vocab), vocab)


def mask_one_each(
    text: Ragged, positions: np.ndarray, vocab: Any
) -> tuple[Ragged, np.ndarray, np.ndarray]:
    """(one copy of a text per position, the copies with [MASK] at that position, its indices).

    The text "a b" and positions 0, 1 -> "a b a b", "[MASK] b a [MASK]" and indices 0, 3.
    """
    n, times = text.splits.total, len(positions)
    copies = Ragged(np.tile(text.values, times), RowSplits(np.full(times, n)))
    hidden, at = copies.values.copy(), np.arange(times) * n + positions
    hidden[at] = vocab.mask
    return copies, hidden, at
