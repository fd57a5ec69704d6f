"""Text in bounded pieces, cut so that tokenizers make the same ids of them."""

from collections.abc import Iterable, Iterator


def pieces(texts: Iterable[str], limit: int) -> Iterator[str]:
    """The same text in pieces of at most `limit` characters, cut where tokenizers do not look.

    A cut after a newline between two characters that are not white space leaves the ids of
    GPT-2's pattern, WordPiece and SentencePiece as they would be without it; so does a cut before
    a single space between two such characters, which is taken in a line longer than a piece. Only
    a run of `limit` characters without either is cut anywhere.

    >>> list(pieces(["one two\\nthree", " four"], limit=10))
    ['one two\\n', 'three four']
    """
    held = ""
    for text in texts:
        held += text
        while len(held) > limit:
            cut = best_cut(held, limit)
            yield held[:cut]
            held = held[cut:]
    if held:
        yield held


def best_cut(text: str, limit: int) -> int:
    """Where to cut text that is longer than `limit`: 1 .. limit."""
    for mark, after in (("\n", 1), (" ", 0)):
        at = text.rfind(mark, 1, limit)
        while at > 0:
            if not text[at - 1].isspace() and not text[at + 1].isspace():
                return at + after
            at = text.rfind(mark, 1, at)
    return limit
