r"""How byte-level BPE splits a text into words, before merges: GPT-2's pattern and LLaMA 3's.

    gpt2     "It's 2024 \n\n a" is It, 's, " 2024", " \n\n", " a"
    llama3   digits in groups of three, any character in front of a word, newlines with what they
             end: It, 's, " ", 202, 4, " \n\n", " a"

tiktoken's form of a pattern gives the same words, but does not backtrack, which would be slow.
"""

import re
from dataclasses import dataclass

# \s in the patterns. Python's \s also matches U+001C to U+001F.
SPACES = "\\t-\\r \\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000"
NO_NEWLINES = SPACES.replace("\\t-\\r", "\\t\\x0b\\x0c")


@dataclass(frozen=True)
class Split:
    """One pattern."""

    published: str
    """As its authors wrote it, for Hugging Face's library."""
    pattern: str
    """In tiktoken's form."""
    last: str
    """Characters before which a long run of white space is cut: those that the word after it takes.

    tiktoken fails on long runs, because the pattern backtracks from their end.
    """

    def cut_long_runs(self, text: str) -> list[str]:
        """Cuts long runs of white space where the pattern does: before their last character.

        "a" + 5000 spaces + "b" becomes "a" + 4999 spaces and " b". The words stay the same.
        """
        run = re.compile(f"[{SPACES}]{{1000,}}(?=[{self.last}][^{SPACES}])")
        cuts = [match.end() for match in run.finditer(text)]
        return [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]


SPLITS = {
    # openai/gpt-2, src/encoder.py
    "gpt2": Split(
        r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
        r"'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s",
        SPACES,
    ),
    # meta-llama/llama3, llama/tokenizer.py
    "llama3": Split(
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
        r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+"
        r"| ?[^\s\p{L}\p{N}]++[\r\n]*+|(?:[^\S\r\n]*+[\r\n]++)++|\s++$|\s+(?!\S)|\s",
        NO_NEWLINES,
    ),
}
