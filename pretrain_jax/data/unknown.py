"""How much of a text a tokenizer has no ids for."""

from dataclasses import dataclass

SAMPLE = 1_000_000
"""Bytes behind unknown tokens are counted in so many characters from the beginning."""
MUCH = 0.01
"""The share from which on it is a fault."""
MEND = (
    "what they stand for is lost. Learn the vocabulary on this text (leave tokenizer.path empty) "
    "with a larger model.vocab_size, or set tokenizer.name to byte_bpe or to sentencepiece, which "
    "lose nothing when they are learned here"
)


@dataclass(frozen=True)
class Unknown:
    """Tokens of a text, and those of them that are unknown; the same of bytes, in its beginning.

    >>> str(Unknown(tokens=200, tokens_unknown=1) + Unknown(bytes=900, bytes_unknown=5))
    '0.50 % of the tokens are unknown (0.56 % of the bytes of the first 1M characters)'
    """

    tokens: int = 0
    tokens_unknown: int = 0
    bytes: int = 0
    bytes_unknown: int = 0

    def __add__(self, other: "Unknown") -> "Unknown":
        return Unknown(
            self.tokens + other.tokens,
            self.tokens_unknown + other.tokens_unknown,
            self.bytes + other.bytes,
            self.bytes_unknown + other.bytes_unknown,
        )

    @property
    def shares(self) -> tuple[float, float]:
        """Of the tokens, and of the bytes; 0 of none."""
        tokens = self.tokens_unknown / max(self.tokens, 1)
        return tokens, self.bytes_unknown / max(self.bytes, 1)

    @property
    def much(self) -> bool:
        """Whether it needs mending."""
        return max(self.shares) > MUCH

    def __str__(self) -> str:
        if not self.tokens_unknown:
            return "no token is unknown"
        tokens, of_bytes = self.shares
        said = (
            f"{tokens:.2%} of the tokens are unknown ({of_bytes:.2%} of the bytes of the first "
            f"{SAMPLE // 1_000_000}M characters)"
        ).replace("%", " %")
        return said + (f"; {MEND}" if self.much else "")
