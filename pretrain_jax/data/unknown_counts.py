"""Counts the text for which a tokenizer has no ids."""

from dataclasses import dataclass

SAMPLE = 1_000_000
"""Characters at the start of a corpus in which the bytes of unknown tokens are counted."""
MUCH = 0.01
"""A share of unknown text above this deserves a warning."""
FIX = (
    "their text is lost. Set tokenizer.name to byte_bpe or sentencepiece, which lose no text when "
    "the run trains them (with tokenizer.path empty), or raise model.vocab_size for a vocabulary "
    "that the run trains"
)


@dataclass(frozen=True)
class UnknownCounts:
    """Tokens of a text and how many are unknown; bytes at its start and how many are unknown.

    >>> str(UnknownCounts(tokens=200, tokens_unknown=1) + UnknownCounts(bytes=900, bytes_unknown=5))
    '0.50 % of the tokens are unknown (0.56 % of the bytes of the first 1M characters)'
    """

    tokens: int = 0
    tokens_unknown: int = 0
    bytes: int = 0
    bytes_unknown: int = 0

    def __add__(self, other: "UnknownCounts") -> "UnknownCounts":
        return UnknownCounts(
            self.tokens + other.tokens,
            self.tokens_unknown + other.tokens_unknown,
            self.bytes + other.bytes,
            self.bytes_unknown + other.bytes_unknown,
        )

    @property
    def shares(self) -> tuple[float, float]:
        """The shares of unknown tokens and of unknown bytes; 0 if there are none."""
        tokens = self.tokens_unknown / max(self.tokens, 1)
        return tokens, self.bytes_unknown / max(self.bytes, 1)

    @property
    def is_excessive(self) -> bool:
        """Whether a share is large enough for a warning."""
        return max(self.shares) > MUCH

    def __str__(self) -> str:
        if not self.tokens_unknown:
            return "no token is unknown"
        tokens, of_bytes = self.shares
        text = (
            f"{tokens:.2%} of the tokens are unknown ({of_bytes:.2%} of the bytes of the first "
            f"{SAMPLE // 1_000_000}M characters)"
        ).replace("%", " %")
        return text + (f"; {FIX}" if self.is_excessive else "")
