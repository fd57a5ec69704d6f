"""The text of documents, and the byte where a tail of a document starts."""

import codecs
import itertools
from collections.abc import Iterator

from pretrain_jax.data import annotations
from pretrain_jax.data.sources import Document
from pretrain_jax.errors import DataError


def tail_start(document: Document, at: int) -> int:
    """The byte of the document where the character that contains byte `at` of its text starts."""
    if document.plain_text is None:
        return character_start(document, at)
    annotated = b"".join(document.chunks(0))
    return annotations.annotated_offset(
        annotated,
        document.plain_text,
        character_start(Document.from_bytes("", document.plain_text), at),
    )


def character_start(document: Document, at: int) -> int:
    """The first byte of the character that contains byte `at` of the document."""
    start = max(at - 3, 0)
    window = next(document.chunks(start), b"")[: at - start + 1]
    while window and window[-1] & 0xC0 == 0x80:
        window, at = window[:-1], at - 1
    return at


def decode_document(document: Document, start: int = 0, size: int | None = None) -> Iterator[str]:
    """The text of `size` bytes of the document from `start`, or of all bytes from there.

    Raises DataError with the position of the first byte that is not UTF-8.
    """
    decoder = codecs.getincrementaldecoder("utf-8")()
    at, left = start, size
    # The empty chunk at the end makes the decoder report an incomplete last character.
    for chunk in itertools.chain(document.chunks(start), [b""]):
        waiting = len(decoder.getstate()[0])
        chunk = chunk if left is None else chunk[:left]
        try:
            text = decoder.decode(chunk, final=not chunk)
        except UnicodeDecodeError as error:
            byte = at - waiting + error.start
            raise DataError(
                f"text must be valid UTF-8; {document.name} is not at byte {byte} "
                f"(0x{error.object[error.start]:02x}). Convert the file to UTF-8, for example "
                "with iconv -f ENCODING -t utf-8, where ENCODING is the encoding of the file, such "
                "as latin1, gb18030 or shift_jis; or leave it out of data.source"
            ) from error
        at += len(chunk)
        left = None if left is None else left - len(chunk)
        yield text
        if left == 0:
            break
