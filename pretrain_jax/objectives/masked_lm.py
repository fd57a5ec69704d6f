"""Masked language modeling: some tokens of a text are hidden, and predicted from all the others.

BERT (Devlin et al. 2018, section 3.1 and appendix A.2; google-research/bert
create_pretraining_data.py) and RoBERTa. An example is [CLS] text [SEP]; of its n tokens, these two
counted as in the released code, max(1, round(rate n)) are predicted: 77 of 512. Where one is
predicted, the model reads [MASK] (80 %), a random token (10 %) or the token itself (10 %). Random
tokens are drawn from the ids that are text; BERT draws them from all ids, special ones included.

Text "a b c d e" with c predicted, [CLS] = 5, [SEP] = 6, [MASK] = 4, a = 10 .. e = 14:

    tokens      5 10 11  4 13 14  6
    predict_at  3
    targets     12
    weights     1
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import numpy as np

from pretrain_jax import registry
from pretrain_jax.corruption import masking, noise, words
from pretrain_jax.corruption.render import ones
from pretrain_jax.corruption.uniform import Uniform
from pretrain_jax.errors import ConfigError
from pretrain_jax.objectives import Objective
from pretrain_jax.ragged import Fields, Parts, Ragged, around

FIELDS = ("tokens", "predict_at", "targets", "weights")
NEEDS = ("mask", "cls", "sep")
YARDSTICKS = ("uniform", "unigram")
SPECIALS = 2
"""[CLS] and [SEP] around a text."""
LOOKED_AT = 1_000_000
"""Tokens at the start of the text in which the long words are counted."""
WITHOUT_SPACES = 0.2
"""Share of the text in long words above which a run says so."""


def single_tokens(
    texts: Parts, counts: np.ndarray, uniform: Uniform, *, starts: np.ndarray
) -> np.ndarray:
    """`counts` tokens of each text, each drawn for itself, wherever words start."""
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
    """How the encoders' objectives choose the tokens to predict and what they put in their place.

    rate                share of all tokens that is predicted, strictly between 0 and 1
    draw                one of NOISE, or a function like them
    by_words            whether `draw` looks at where words start
    replaced, random    shares of the chosen tokens that [MASK] or a random token replaces
    per_token           these are drawn for every token; otherwise once for each group of the noise
    copies              see Objective.copies

    Raises ConfigError for numbers outside these ranges.
    """

    rate: float
    draw: Callable[..., np.ndarray]
    replaced: float
    random: float
    per_token: bool = False
    copies: int = 0
    by_words: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.rate < 1:
            raise ConfigError(
                "objective.rate, the share of tokens that is predicted, must lie between 0 and 1, "
                f"both excluded; received {self.rate}; BERT's is 0.15"
            )
        shares = (self.replaced, self.random)
        if not all(0 <= share <= 1 for share in (*shares, sum(shares))):
            raise ConfigError(
                "objective.replaced and objective.random are shares of the predicted tokens and "
                f"must lie between 0 and 1, together too; received {self.replaced} and "
                f"{self.random}; BERT's are 0.8 and 0.1"
            )
        if self.copies < 0:
            raise ConfigError(
                "objective.copies must be 0 (noise drawn afresh in every epoch) or the number of "
                f"fixed noises; received {self.copies}; BERT's is 10"
            )

    def count(self, tokens: Any) -> Any:
        """Most predictions of an example of so many tokens, specials included; arrays too.

        512 at a rate of 0.15 -> 77.
        """
        return np.maximum(1, np.rint(self.rate * tokens).astype(np.int64))

    def budget(self, seq_len: int) -> int:
        """Predictions of a row, a multiple of 8: 512 at a rate of 0.15 -> 80."""
        return -(-int(np.ceil(self.rate * seq_len)) // 8) * 8

    def hide(
        self,
        texts: Ragged,
        starts: np.ndarray,
        specials: int,
        uniform: Uniform,
        vocab: Any,
    ) -> tuple[np.ndarray, np.ndarray]:
        """(what the model reads, noise), both int32 [T], of the texts of examples.

        starts: bool [T], where words begin; specials: how many each example will have.
        """
        sizes = texts.parts.sizes
        counts = np.minimum(self.count(sizes + specials), sizes)
        if self.by_words:
            starts = words.cut_words(texts, starts, counts, vocab.token_bytes)
        drawn = self.draw(texts.parts, counts, uniform, starts=starts)
        hidden = masking.mask_tokens(
            texts.values,
            drawn,
            texts.parts,
            uniform,
            mask=vocab.mask,
            replaced=self.replaced,
            random=self.random,
            candidates=text_ids(vocab),
            per_token=self.per_token,
        )
        return hidden, drawn

    def caution(self, examples: Any, vocab: Any) -> str:
        """Says how much of the text has no spaces, where noise is drawn by words; see Objective."""
        if not self.by_words:
            return ""
        tokens = examples.cache.tokens[:LOOKED_AT]
        first = examples.cache.offsets[:-1]
        starts = vocab.word_starts[tokens]
        starts[first[first < len(tokens)]] = True
        lengths = words.lengths_of_words(starts, vocab.token_bytes[tokens])
        share = lengths[lengths > words.LONGEST_WORD].sum() / max(lengths.sum(), 1)
        if share <= WITHOUT_SPACES:
            return ""
        return (
            f"{share:.0%} of the text stands in words of more than {words.LONGEST_WORD} bytes (a "
            f"word begins with a space; here it has {lengths.mean():.0f} bytes on average): text "
            f"without spaces, of which noise by words takes stretches of {words.STRETCH} bytes"
        )


@lru_cache(maxsize=4)
def text_ids(vocab: Any) -> np.ndarray:
    """int32: the ids of a tokenizer that stand for text, out of which random tokens are drawn."""
    return np.flatnonzero(~vocab.special).astype(np.int32)


def build(
    *,
    rate: float = 0.15,
    noise: str = "tokens",
    replaced: float = 0.8,
    random: float = 0.1,
    copies: int = 0,
) -> Objective:
    """The objective of BERT without next sentences, and of RoBERTa.

    noise   "tokens", "words" (whole words, as many as fit) or "spans" (SpanBERT's, of which each is
            replaced as a whole). Text without spaces has no words: stretches of it take their place
            (words.cut_words).
    copies  10 is BERT's static masking: an epoch has the noise of the tenth one before it
    """
    how = chosen(rate, noise, replaced, random, copies)
    return Objective(
        **single_text(how),
        fields=FIELDS,
        corrupt=partial(corrupt, how=how),
        probes=probes,
    )


def chosen(rate: float, noise: str, replaced: float, random: float, copies: int) -> Masking:
    """The Masking of these options; raises ConfigError for an unknown noise."""
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
    """What the objectives over [CLS] text [SEP] have in common, as arguments of Objective."""
    return {
        "attention": "full",
        "arrangement": "chunks",
        "arrange": lambda seq_len: {
            "raw_length": room(seq_len, SPECIALS, least=1),
            "overlap": 0,
            "begin": None,
            "end": None,
        },
        "lengths": lambda n: {"L": n + SPECIALS, "P": how.count(n + SPECIALS)},
        "budgets": lambda seq_len: {"L": seq_len, "P": how.budget(seq_len)},
        "yardsticks": YARDSTICKS,
        "needs": NEEDS,
        "copies": how.copies,
        "crosses": True,
        "caution": how.caution,
    }


def room(seq_len: int, specials: int, least: int) -> int:
    """Tokens of text in an example of `seq_len`; raises ConfigError when these are too few.

    >>> room(512, specials=2, least=1)
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
    return predicted(texts, hidden, drawn.nonzero()[0], vocab)


def predicted(texts: Ragged, hidden: np.ndarray, at: np.ndarray, vocab: Any) -> Fields:
    """The fields of [CLS] hidden [SEP], where the tokens of `texts` at `at` are predicted."""
    tokens = around(texts._replace(values=hidden), (vocab.cls,), (vocab.sep,))
    return {"tokens": tokens, **answers(texts, at, texts.parts.place[at] + 1)}


def answers(texts: Ragged, at: np.ndarray, predict_at: np.ndarray) -> Fields:
    """The tokens of `texts` at places `at`, which in their streams are the places `predict_at`."""
    parts = texts.parts.counts(at)
    return {
        "predict_at": Ragged(predict_at, parts),
        "targets": Ragged(texts.values[at], parts),
        "weights": ones(parts),
    }


def probes(example: Fields, places: np.ndarray, vocab: Any) -> Fields:
    """An example for each of these tokens of a text: it alone is masked and predicted."""
    return predicted(*singly(example["tokens"], places, vocab), vocab)


def singly(text: Ragged, places: np.ndarray, vocab: Any) -> tuple[Ragged, np.ndarray, np.ndarray]:
    """A text as often as there are places; all these with [MASK] at one of them; where these are.

    The text "a b" and the places 0, 1 -> "a b a b", "[MASK] b a [MASK]" and 0, 3.
    """
    n, times = text.parts.total, len(places)
    copies = Ragged(np.tile(text.values, times), Parts(np.full(times, n)))
    hidden, at = copies.values.copy(), np.arange(times) * n + places
    hidden[at] = vocab.mask
    return copies, hidden, at
