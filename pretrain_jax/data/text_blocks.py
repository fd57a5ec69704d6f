"""Splits text into bounded blocks that give the same ids as the whole text."""

from collections.abc import Iterable, Iterator


def split_into_blocks(texts: Iterable[str], limit: int) -> Iterator[str]:
    """Splits a text into blocks of at most `limit` characters where tokenizers split it as well.

    A split after a newline between two characters that are not whitespace does not change the ids
    of GPT-2's pattern, WordPiece and SentencePiece. Neither does a split before a single space
    between two such characters, which is used in lines longer than a block. A run of `limit`
    characters without either is split at the limit.

    >>> list(split_into_blocks(["one two\\nthree", " four"], limit=10))
    ['one two\\n', 'three four']
    """
    held = ""
    for text in texts:
        held += text
        while len(held) > limit:
            cut = block_end(held, limit)
            yield held[:cut]
            held = held[cut:]
    if held:
        yield held


def block_end(text: str, limit: int) -> int:
    """Where to split text that is longer than `limit`: 1 .. limit."""
    for mark, after in (("\n", 1), (" ", 0)):
        at = text.rfind(mark, 1, limit)
        while at > 0:
            if not text[at - 1].isspace() and not text[at + 1].isspace():
                return at + after
            at = text.rfind(mark, 1, at)
    return limit
