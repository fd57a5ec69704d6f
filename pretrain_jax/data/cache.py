"""Token ids of one half of a corpus: made once, then memory-mapped.

A cache is a folder named by everything that its ids depend on, with tokens.bin (uint16, or uint32
above 65,536 ids), offsets.npy (int64 [N+1], where each document starts) and note.json, and with
marks.bin (uint8) where the source marks parts of its texts. It holds the ids of plain text; special
ids are added when examples are made.
"""

import collections
import contextlib
import dataclasses
import hashlib
import json
import logging
import os
from array import array
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pretrain_jax.data import annotations
from pretrain_jax.data.corpus import PIECE, Corpus
from pretrain_jax.data.unknown import SAMPLE, Unknown
from pretrain_jax.errors import DataError
from pretrain_jax.files import atomic, parsing, paths
from pretrain_jax.progress import progress
from pretrain_jax.tokenizers import Tokenizer

CODE_VERSION = 2
"""To be raised with any change to this package that changes the ids of a corpus."""
MARKS_VERSION = 1
"""To be raised with any change that changes the marks of a corpus, or the ids of a marked one."""
DEFAULT_FOLDER = "~/.cache/pretrain_jax"
ANEW = "delete the folder: the next run makes it anew"
NOTED = {"fingerprint": str, "split": str, "text_bytes": int, "dtype": str}
log = logging.getLogger(__name__)


class TokenCache:
    """Memory-mapped tokens of N documents.

    tokens       uint16 or uint32 [T]
    marks        uint8 [T], the mark of each token; None where nothing is marked
    marked       what is: "spans", "targets" or ""
    offsets      int64 [N+1]; document i is tokens[offsets[i] : offsets[i + 1]]
    text_bytes   UTF-8 bytes that the tokens stand for
    unknown      what of the text the tokenizer has no ids for
    split        how the half was held out, "hash" or "tail"
    fingerprint  hex digest of everything that the ids depend on
    """

    def __init__(self, folder: Path):
        note = parsing.read_json(folder / "note.json", ANEW, NOTED)
        self.folder = folder
        self.fingerprint: str = note["fingerprint"]
        self.split: str = note["split"]
        self.text_bytes: int = note["text_bytes"]
        if note["dtype"] not in ("uint16", "uint32"):
            raise DataError(f"{folder}/note.json must name uint16 or uint32; {ANEW}")
        self.unknown = Unknown(*note["unknown"])
        self.tokens = mapped(folder / "tokens.bin", note["dtype"])
        self.marked: str = note.get("marked", "")
        self.marks = mapped(folder / "marks.bin", "uint8") if self.marked else None
        self.offsets = parsing.read_array(folder / "offsets.npy", np.int64, ANEW)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, document: int) -> np.ndarray:
        return self.tokens[self.offsets[document] : self.offsets[document + 1]]

    def __reduce__(self):
        """A worker process opens the files itself."""
        return TokenCache, (self.folder,)


def mapped(path: Path, dtype: str) -> np.ndarray:
    """The numbers of a file, memory-mapped."""
    try:
        return np.memmap(path, dtype, mode="r").view(np.ndarray)
    except (OSError, ValueError) as error:
        raise DataError(f"{path} must hold numbers of {dtype}; {error}; {ANEW}") from error


def token_cache(
    corpus: Corpus,
    half: str,
    tokenizer: Tokenizer,
    cache_dir: str | Path | None = None,
    *,
    workers: int | None = None,
) -> TokenCache:
    """The tokens of "train" or "valid", from the cache when exactly this text was tokenized before.

    Otherwise tokenizes in `workers` threads (default: one for each core), in memory that depends
    neither on the corpus nor on the length of its documents. Logs the share of unknown tokens.

    Raises DataError for text that cannot be read and for a half without a token.
    """
    parts = {
        "version": CODE_VERSION,
        "corpus": corpus.fingerprint,
        "half": half,
        "tokenizer": tokenizer.fingerprint,
        "piece": PIECE,
    }
    if corpus.marks:
        parts["marks"] = {"kind": corpus.marks, "version": MARKS_VERSION}
    fingerprint = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
    parent = Path(paths.expanded(cache_dir or DEFAULT_FOLDER, "data.cache_dir"))
    folder = parent / f"tokens-{half}-{fingerprint[:32]}"
    note = {"fingerprint": fingerprint, "made from": parts}
    build = partial(
        write, corpus=corpus, half=half, tokenizer=tokenizer, note=note, workers=workers
    )
    atomic.ensure(folder, partial(whole, fingerprint=fingerprint), build)
    cache = TokenCache(folder)
    said = (corpus.name, half, cache.split, len(cache), len(cache.tokens))
    lost = "" if tokenizer.unk is None else f"; {cache.unknown}"
    level = logging.WARNING if cache.unknown.much else logging.INFO
    log.log(level, "%s: %s half (split by %s) of %d documents, %d tokens%s", *said, lost)
    return cache


def whole(folder: Path, fingerprint: str) -> bool:
    """Whether the folder holds the cache of this fingerprint, with files of the noted sizes.

    Raises DataError where it holds anything else.
    """
    note = parsing.read_json(folder / "note.json", ANEW, {**NOTED, "files": dict})
    for name, size in note["files"].items():
        if (folder / name).stat().st_size != size:
            raise DataError(f"{folder / name} must have {size} bytes; {ANEW}")
    cache = TokenCache(folder)
    offsets, size = cache.offsets, len(cache.tokens)
    rising = len(offsets) > 1 and (offsets[1:] >= offsets[:-1]).all()
    if not rising or (offsets[0], offsets[-1]) != (0, size):
        raise DataError(f"{folder}/offsets.npy must rise from 0 to the {size} tokens; {ANEW}")
    if cache.marks is not None and len(cache.marks) != size:
        raise DataError(f"{folder}/marks.bin must have a mark for each of {size} tokens; {ANEW}")
    return note["fingerprint"] == fingerprint


def write(
    folder: Path,
    *,
    corpus: Corpus,
    half: str,
    tokenizer: Tokenizer,
    note: dict,
    workers: int | None,
) -> None:
    """Tokenizes one half of the corpus into `folder`."""
    dtype = np.dtype(np.uint16 if tokenizer.size <= 1 << 16 else np.uint32)
    lengths, text_bytes, unknown = array("q"), 0, Unknown()
    with contextlib.ExitStack() as files:
        done = files.enter_context(progress(f"tokenizing {half}", corpus.bytes(half)))
        file = files.enter_context(open(folder / "tokens.bin", "wb"))
        marked = None
        if corpus.marks:
            marked = files.enter_context(open(folder / "marks.bin", "wb"))
        for group in encoded(corpus.documents(half), tokenizer, corpus.marks, workers):
            if group.ids.size and not 0 <= group.ids.min() <= group.ids.max() < tokenizer.size:
                raise ValueError(f"a tokenizer of {tokenizer.size} ids gave id {group.ids.max()}")
            file.write(group.ids.astype(dtype).data)
            if marked:
                marked.write(group.marks.data)
            lengths.extend([0] * (group.documents[-1] + 1 - len(lengths)))
            for document, count in zip(group.documents, group.counts, strict=True):
                lengths[document] += count
            text_bytes += group.text_bytes
            unknown += group.unknown
            done(group.text_bytes)
    offsets = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
    if not offsets[-1]:
        raise DataError(
            f"the {half} half of {corpus.name} must give at least one token; the tokenizer makes "
            "none of its text. Use another tokenizer, or add text"
        )
    np.save(folder / "offsets.npy", offsets)
    note |= {"dtype": dtype.name, "split": corpus.split, "text_bytes": text_bytes}
    note["marked"] = corpus.marks
    note["unknown"] = dataclasses.astuple(unknown)
    note["files"] = {path.name: path.stat().st_size for path in sorted(folder.iterdir())}
    (folder / "note.json").write_text(json.dumps(note, indent=2))


class Group(NamedTuple):
    """Pieces of neighbouring documents, tokenized."""

    documents: list[int]
    """The document of each piece."""
    counts: list[int]
    """Tokens of each piece."""
    ids: np.ndarray
    """int [sum of counts]: all pieces, one after the other."""
    marks: np.ndarray
    """uint8, as ids; empty where nothing is marked."""
    text_bytes: int
    unknown: Unknown


class Item(NamedTuple):
    """A piece of a document, as it is tokenized."""

    document: int
    text: str
    before: str
    """The character that it goes on after; "" where a text begins."""


def encoded(
    documents: Iterator[Iterator[str]], tokenizer: Tokenizer, kind: str, workers: int | None
) -> Iterator[Group]:
    """All pieces, tokenized in threads (tokenizers release the GIL), in their order.

    Only so many groups are under way that all threads are busy.
    """
    workers = workers or os.cpu_count() or 1
    waiting: collections.deque[Future[Group]] = collections.deque()
    characters = 0
    with ThreadPoolExecutor(workers) as pool:
        for group in groups(documents, kind):
            waiting.append(pool.submit(encode, group, tokenizer, kind, characters < SAMPLE))
            characters += sum(len(item.text) for item in group)
            if len(waiting) > 2 * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def encode(group: list[Item], tokenizer: Tokenizer, kind: str, sampled: bool) -> Group:
    documents, texts, before = zip(*group, strict=True)
    found = [np.empty(0, np.uint8)]
    if kind:
        encoded = [
            annotations.encode(text, tokenizer, kind, character)
            for text, character in zip(texts, before, strict=True)
        ]
        ids, found = zip(*encoded, strict=True)
        texts = [annotations.strip(text) for text in texts]
    else:
        ids = list(map(tokenizer.encode_on, texts, before))
    size = sum(len(text) if text.isascii() else len(text.encode()) for text in texts)
    counts = list(map(len, ids))
    joined = np.concatenate(ids)
    unknown = Unknown(len(joined), int(np.count_nonzero(joined == tokenizer.unk)))
    if sampled:
        lost = sum(map(tokenizer.unknown_bytes, texts)) if unknown.tokens_unknown else 0
        unknown += Unknown(bytes=size, bytes_unknown=lost)
    return Group(list(documents), counts, joined, np.concatenate(found), size, unknown)


def carry(texts: Iterator[str]) -> Iterator[str]:
    """The pieces of a document, each beginning with the mark that the one before it ends in."""
    mark = 0
    for text in texts:
        yield annotations.SWITCH[mark] + text
        mark = annotations.last(text, mark)


def groups(documents: Iterator[Iterator[str]], kind: str) -> Iterator[list[Item]]:
    """All pieces, in groups that are worth a thread's while."""
    group, size = [], 0
    for number, pieces in enumerate(documents):
        before = ""
        for piece in carry(pieces) if kind else pieces:
            group.append(Item(number, piece, before))
            before = annotations.before_next(piece, kind) if kind else piece[-1:]
            size += len(piece)
            if size >= PIECE:
                yield group
                group, size = [], 0
    if group:
        yield group
