"""Malformed data files, made from a seed: of each kind, the policy that docs/data.md states.

    python tests/data/test_malformed.py

prints the table of kinds with what became of their files.
"""

import gzip
import json
import os
import random
import signal
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from data_toys import ByteTokenizer

from pretrain_jax.data.cache import open_token_cache
from pretrain_jax.data.corpus import open_corpus
from pretrain_jax.errors import UserError

SEEDS = range(3)
READ, DATA, MISSING = 0, 65, 66
Draw = random.Random


def text(draw: Draw, lines: int = 60) -> str:
    words = "the cat sät on a mät and 猫 saw dogs".split()
    return "".join(" ".join(draw.choices(words, k=9)) + "\n" for _ in range(lines))


def placed(draw: Draw, odd: bytes) -> bytes:
    """Text with something odd between two of its characters."""
    whole = text(draw)
    at = draw.randrange(len(whole))
    return whole[:at].encode() + odd + whole[at:].encode()


def line(draw: Draw, odd: str | bytes) -> bytes:
    """Records with one odd line among them."""
    records = [json.dumps({"text": text(draw, 2)}).encode() for _ in range(30)]
    records.insert(draw.randrange(30), odd if isinstance(odd, bytes) else odd.encode())
    return b"\n".join(records)


def flipped(draw: Draw, data: bytes) -> bytes:
    """Compressed data with one byte of its middle changed."""
    at = draw.randrange(len(data) // 4, len(data) // 2)
    return data[:at] + bytes([data[at] ^ draw.randrange(1, 256)]) + data[at + 1 :]


def packed(draw: Draw) -> bytes:
    return gzip.compress(text(draw).encode())


PLAIN: dict[str, tuple[int, Callable[[Draw], bytes]]] = {
    "no UTF-8": (DATA, lambda d: placed(d, b"\xff")),
    "a surrogate": (DATA, lambda d: placed(d, b"\xed\xa0\x80")),
    "cut in a character": (DATA, lambda d: text(d).encode() + "猫".encode()[: d.randrange(1, 3)]),
    "Latin-1": (DATA, lambda d: text(d).encode("latin-1", "ignore")),
    "UTF-16": (DATA, lambda d: text(d).encode("utf-16")),
    "UTF-16 without a mark": (DATA, lambda d: text(d).encode(d.choice(["utf-16-le", "utf-16-be"]))),
    "UTF-32": (DATA, lambda d: text(d).encode(d.choice(["utf-32", "utf-32-le"]))),
    "random bytes": (DATA, lambda d: d.randbytes(3000)),
    "controls": (DATA, lambda d: bytes(d.choices(range(1, 9), k=2000))),
    "an image, an archive": (
        DATA,
        lambda d: (
            d.choice([b"\x89PNG\r\n", b"PK\x03\x04", b"PAR1", b"%PDF-1.7\n"]) + d.randbytes(999)
        ),
    ),
    "many NULs": (DATA, lambda d: placed(d, b"\0" * d.randrange(100, 5000))),
    "a NUL": (READ, lambda d: placed(d, b"\0")),
    "a byte-order mark": (READ, lambda d: b"\xef\xbb\xbf" + text(d).encode()),
    "ends of lines mixed": (READ, lambda d: placed(d, b"\r\r\n\n\r")),
    "one long line": (READ, lambda d: text(d, 9000).replace("\n", " ").encode()),
    "spaces only": (READ, lambda d: b" \n\t" * d.randrange(100, 900)),
    "empty": (DATA, lambda d: b""),
    "gzip without its ending": (DATA, packed),
}
GZIPPED: dict[str, tuple[int, Callable[[Draw], bytes]]] = {
    "gzip cut short": (DATA, lambda d: packed(d)[: d.randrange(5, 100)]),
    "gzip changed": (DATA, lambda d: flipped(d, packed(d))),
    "no gzip": (DATA, lambda d: text(d).encode()),
    "gzip of an archive": (DATA, lambda d: gzip.compress(b"PK\x03\x04" + d.randbytes(900))),
    "gzip of gzip": (DATA, lambda d: gzip.compress(packed(d))),
}
RECORDS: dict[str, tuple[int, Callable[[Draw], bytes]]] = {
    "nested": (DATA, lambda d: line(d, d.choice(["[", '{"text":']) * 200_000)),
    "record cut": (DATA, lambda d: line(d, '{"text": "a'[: d.randrange(1, 10)])),
    "no object": (DATA, lambda d: line(d, d.choice(["null", "5", '"text"', '["text"]']))),
    "no such field": (DATA, lambda d: line(d, '{"txt": "a"}')),
    "no string": (DATA, lambda d: line(d, d.choice(['{"text": null}', '{"text": [5]}']))),
    "half a pair": (DATA, lambda d: line(d, '{"text": "\\ud800"}')),
    "record without UTF-8": (DATA, lambda d: line(d, b'{"text": "\xe9"}')),
    "a huge number": (DATA, lambda d: line(d, '{"text": "a", "id": %s}' % ("9" * 5000))),
    "two on a line": (DATA, lambda d: line(d, '{"text": "a"} {"text": "b"}')),
    "over many lines": (DATA, lambda d: json.dumps({"text": text(d)}, indent=2).encode()),
    "many escaped NULs": (DATA, lambda d: line(d, '{"text": "%s"}' % ("\\u0000" * 500))),
    "two fields of a name": (READ, lambda d: line(d, '{"text": 5, "text": "the last"}')),
    "NaN in another field": (READ, lambda d: line(d, '{"text": "a", "score": NaN}')),
    "blank lines": (READ, lambda d: line(d, "\n \n\t\n")),
    "records behind a mark": (READ, lambda d: b"\xef\xbb\xbf" + line(d, "")),
}
PLACES: dict[str, tuple[int, Callable[[Path], object]]] = {
    "a pipe": (DATA, lambda path: os.mkfifo(path)),
    "a device": (DATA, lambda path: path.symlink_to("/dev/zero")),
    "a link to nothing": (MISSING, lambda path: path.symlink_to("absent")),
    "a link to itself": (MISSING, lambda path: path.symlink_to(path.name)),
    "an empty folder": (MISSING, lambda path: path.mkdir()),
}
CONTENTS = {
    **{kind: (".txt", *rest) for kind, rest in PLAIN.items()},
    **{kind: (".txt.gz", *rest) for kind, rest in GZIPPED.items()},
    **{kind: (".jsonl", *rest) for kind, rest in RECORDS.items()},
}


def outcome(path: Path) -> int:
    """The exit code of a run over a file, as far as its data is read; 0 when there are tokens."""
    try:
        corpus = open_corpus(f"text:{path}")
        for half in ("train", "valid"):
            assert len(
                open_token_cache(corpus, half, ByteTokenizer(), path.parent / "cache").tokens
            )
    except UserError as error:
        assert path.name in str(error), error
        return error.exit_code
    return READ


def made(folder: Path, kind: str, seed: int) -> tuple[int, Path]:
    """The stated policy of a kind, and a file of it."""
    folder.mkdir()
    if kind in PLACES:
        policy, make = PLACES[kind]
        make(folder / "a.txt")
        return policy, folder / "a.txt"
    ending, policy, content = CONTENTS[kind]
    path = folder / f"a{ending}"
    path.write_bytes(content(Draw(f"{kind} {seed}")))
    return policy, path


def ring(*_: object) -> None:
    raise TimeoutError("a file is waited for")


KINDS = [*CONTENTS, *PLACES]


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_malformed_file_has_its_policy(tmp_path, kind):
    assert len(KINDS) * len(SEEDS) >= 100
    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(60)
    try:
        for seed in SEEDS:
            policy, path = made(tmp_path / str(seed), kind, seed)
            assert outcome(path) == policy, (kind, seed)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def main() -> None:
    """Prints each kind, its policy and the outcomes of its files."""
    found: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        for kind in KINDS:
            for seed in SEEDS:
                policy, path = made(Path(folder) / f"{kind} {seed}", kind, seed)
                code = outcome(path)
                print(f"{kind:24} {path.suffix:7} policy {policy:2} outcome {code:2}")
                found["as stated" if code == policy else "otherwise"] += 1
    print(", ".join(f"{count} {what}" for what, count in found.items()))


if __name__ == "__main__":
    main()
