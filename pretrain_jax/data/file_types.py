"""Detects from the first bytes of a file whether it is UTF-8 text, other text, or not text.

The name does not matter: `wiki_00` may be text and `notes.txt` a PDF.
"""

import codecs
import re

HEAD = 4096
"""Number of bytes that are inspected."""
BOM = codecs.BOM_UTF8
BOMS = (  # longer ones first: the BOM of UTF-32 starts with that of UTF-16
    (codecs.BOM_UTF32_LE, "UTF-32"),
    (codecs.BOM_UTF32_BE, "UTF-32"),
    (codecs.BOM_UTF16_LE, "UTF-16"),
    (codecs.BOM_UTF16_BE, "UTF-16"),
)
MAGIC = (
    (b"\x1f\x8b", "gzip data (its name must then end in .gz)"),
    (b"PK\x03\x04", "a zip archive, as .docx, .epub and .xlsx are"),
    (b"BZh", "bzip2 data"),
    (b"\xfd7zXZ\0", "xz data"),
    (b"\x28\xb5\x2f\xfd", "zstd data"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"%PDF-", "a PDF"),
    (b"PAR1", "a Parquet file"),
    (b"ARROW1", "an Arrow file"),
    (b"SQLite format 3\0", "an SQLite database"),
    (b"\x7fELF", "a program (ELF)"),
    (b"MZ", "a program (PE)"),
    (b"\xca\xfe\xba\xbe", "a Java class or a program (Mach-O)"),
    (b"\0asm", "a program (WebAssembly)"),
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"GIF8", "a GIF image"),
    (b"RIFF", "sound or an image (RIFF)"),
    (b"OggS", "sound (Ogg)"),
    (b"ID3", "sound (MP3)"),
    (b"\x89HDF", "an HDF5 file"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"\xd0\xcf\x11\xe0", "an old Office document"),
)
TAR = slice(257, 262)
ZEROS = {  # which of four consecutive bytes are zero in Latin text
    (False, True, False, True): "UTF-16LE",
    (True, False, True, False): "UTF-16BE",
    (False, True, True, True): "UTF-32LE",
    (True, True, True, False): "UTF-32BE",
}
CONTROLS = re.compile(rb"[\0-\x07\x0e-\x1a\x1c-\x1f\x7f]")
"""Control characters that text does not have; it may have tabs, line and page ends, escape."""


def not_text_reason(head: bytes, path: str) -> str | None:
    """Why a file that starts with these bytes is not UTF-8 text, and the fix; None if it may be
    text.

    >>> not_text_reason("né\\n".encode(), "a.txt")
    >>> not_text_reason("né\\n".encode("utf-16"), "a.txt")
    "it is UTF-16: convert it with iconv -f UTF-16 -t UTF-8 'a.txt' > NEW.txt"
    >>> not_text_reason(b"%PDF-1.7", "a.txt")
    'it is a PDF. Extract its text, or leave it out of data.source'
    """
    encoding = next((name for mark, name in BOMS if head.startswith(mark)), None)
    clean = is_utf8(head) and b"\0" not in head
    if not encoding and not clean and len(head) >= 8:
        shares = [head[i::4].count(0) / len(head[i::4]) for i in range(4)]
        encoding = ZEROS.get(tuple(share > 0.5 for share in shares))  # type: ignore[arg-type]
    if encoding:
        return f"it is {encoding}: convert it with iconv -f {encoding} -t UTF-8 '{path}' > NEW.txt"
    kind = None
    if not clean or head.startswith(b"%PDF-"):
        kind = next((kind for magic, kind in MAGIC if head.startswith(magic)), None)
    if head[TAR] == b"ustar":
        kind = "a tar archive"
    controls = len(CONTROLS.findall(head))
    if not kind and controls * 20 > len(head):
        kind = f"binary: {controls} of its first {len(head)} bytes are control characters"
    return kind and f"it is {kind}. Extract its text, or leave it out of data.source"


def is_utf8(head: bytes) -> bool:
    """Whether bytes are UTF-8; the last character may be incomplete."""
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return False
    return True
