"""Token ids of the training or validation split of a corpus: written once, then memory-mapped.

A cache is a folder whose name is a hash of everything that the ids depend on. It has tokens.bin
(uint16, or uint32 above 65,536 ids), offsets.npy (int64 [N+1], the start of each document),
note.json, marks.bin (uint8) if the source annotates its texts, and labels.json if it has records.
If their labels have places in the texts, it also has places.bin (uint32 [T, 2], the characters of
each token), texts.json and ids.json. The ids are those of plain text; special ids are added when
examples are made.
"""

import contextlib
import dataclasses
import hashlib
import json
import logging
from array import array
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from pretrain_jax.data.corpus import BLOCK_CHARACTERS, Corpus
from pretrain_jax.data.encoding import encode_blocks
from pretrain_jax.data.unknown_counts import UnknownCounts
from pretrain_jax.errors import DataError
from pretrain_jax.files import parsing, paths, sealed_folder
from pretrain_jax.files.sealed_folder import REBUILD
from pretrain_jax.progress import progress
from pretrain_jax.tokenizers import Tokenizer

CODE_VERSION = 2
"""Increase this with every change of the package that changes the ids of a corpus."""
ANNOTATIONS_VERSION = 2
"""Increase this with every change to the annotations of a corpus, or to the ids of annotated
text."""
PLACES_VERSION = 1
"""Increase this with every change to the characters of tokens."""
DEFAULT_FOLDER = "~/.cache/pretrain_jax"
SPLIT_NAMES = {"train": "training", "valid": "validation"}
NOTED = {"fingerprint": str, "split": str, "text_bytes": int, "dtype": str}
LABELS, TEXTS, IDS = "labels.json", "texts.json", "ids.json"
log = logging.getLogger(__name__)


class TokenCache:
    """Memory-mapped tokens of N documents.

    tokens           uint16 or uint32 [T]
    annotations      uint8 [T], the annotation of each token; None without annotations
    annotation_kind  "records", "spans", "targets" or ""
    places           uint32 [T, 2], the first character of each token in its text and the one after
                     its last; None without places
    offsets          int64 [N+1]; document i is tokens[offsets[i] : offsets[i + 1]]
    text_bytes       UTF-8 bytes of the text
    unknown          counts of the text for which the tokenizer has no ids
    split_method     how validation text is held out: "hash", "tail" or "all"
    fingerprint      hex digest of everything that the ids depend on
    """

    def __init__(self, folder: Path):
        note = parsing.read_json(folder / "note.json", REBUILD, NOTED)
        self.folder = folder
        self.fingerprint: str = note["fingerprint"]
        self.split_method: str = note["split"]
        self.text_bytes: int = note["text_bytes"]
        if note["dtype"] not in ("uint16", "uint32"):
            raise DataError(f"{folder}/note.json must name uint16 or uint32; {REBUILD}")
        self.unknown = UnknownCounts(*note["unknown"])
        self.tokens = map_array(folder / "tokens.bin", note["dtype"])
        self.annotation_kind: str = note.get("marked", "")
        self.annotations = (
            map_array(folder / "marks.bin", "uint8") if self.annotation_kind else None
        )
        self.places = None
        if note.get("places"):
            self.places = map_array(folder / "places.bin", "uint32").reshape(-1, 2)
        self.offsets = parsing.read_array(folder / "offsets.npy", np.int64, REBUILD)

    @cached_property
    def labels(self) -> list[str | None]:
        """The label of each record, as text; None where it has none."""
        return self._read(LABELS)

    @cached_property
    def texts(self) -> list[list[str]]:
        """With places: the words of each record, or its question and context."""
        return self._read(TEXTS)

    @cached_property
    def ids(self) -> list[str | None]:
        """With places: the id of each record; None where it has none."""
        return self._read(IDS)

    def _read(self, name: str) -> Any:
        return json.loads((self.folder / name).read_text())

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, document: int) -> np.ndarray:
        return self.tokens[self.offsets[document] : self.offsets[document + 1]]

    def __reduce__(self):
        """Pickles the folder; a worker process opens the files again."""
        return TokenCache, (self.folder,)


def map_array(path: Path, dtype: str) -> np.ndarray:
    """The array in a file, memory-mapped."""
    try:
        return np.memmap(path, dtype, mode="r").view(np.ndarray)
    except (OSError, ValueError) as error:
        raise DataError(f"{path} must hold {dtype} values; {error}; {REBUILD}") from error


def open_token_cache(
    corpus: Corpus,
    split: str,
    tokenizer: Tokenizer,
    cache_dir: str | Path | None = None,
) -> TokenCache:
    """The tokens of a split, "train" or "valid".

    Reads the cache if the same text was tokenized before. Otherwise tokenizes in one thread per
    core; the memory for this depends neither on the size of the corpus nor on the length of its
    documents. Logs the share of unknown tokens.

    Raises DataError for text that cannot be read, and for a split without tokens.
    """
    parts = {
        "version": CODE_VERSION,
        "corpus": corpus.fingerprint,
        "half": split,
        "tokenizer": tokenizer.fingerprint,
        "piece": BLOCK_CHARACTERS,
    }
    if corpus.annotation_kind:
        parts["marks"] = {"kind": corpus.annotation_kind, "version": ANNOTATIONS_VERSION}
    if corpus.has_places:
        parts["places"] = PLACES_VERSION
    fingerprint = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
    parent = Path(paths.expand_user(cache_dir or DEFAULT_FOLDER, "data.cache_dir"))
    folder = parent / f"tokens-{split}-{fingerprint[:32]}"
    note = {"fingerprint": fingerprint, "made from": parts}
    build = partial(write_cache, corpus=corpus, split=split, tokenizer=tokenizer, note=note)
    sealed_folder.ensure(folder, partial(is_complete, fingerprint=fingerprint), build)
    cache = TokenCache(folder)
    sizes = (corpus.name, SPLIT_NAMES[split], cache.split_method, len(cache), len(cache.tokens))
    lost = "" if tokenizer.unk is None else f"; {cache.unknown}"
    level = logging.WARNING if cache.unknown.is_excessive else logging.INFO
    log.log(level, "%s: %s split (by %s): %d documents, %d tokens%s", *sizes, lost)
    return cache


def is_complete(folder: Path, fingerprint: str) -> bool:
    """Whether the folder is the cache of this fingerprint, with files of the recorded sizes.

    Raises DataError if a file has another content.
    """
    note = parsing.read_json(folder / "note.json", REBUILD, {**NOTED, "files": dict})
    for name, size in note["files"].items():
        if (folder / name).stat().st_size != size:
            raise DataError(f"{folder / name} must have {size} bytes; {REBUILD}")
    cache = TokenCache(folder)
    offsets, size = cache.offsets, len(cache.tokens)
    ascending = len(offsets) > 1 and (offsets[1:] >= offsets[:-1]).all()
    if not ascending or (offsets[0], offsets[-1]) != (0, size):
        raise DataError(
            f"{folder}/offsets.npy must ascend from 0 to {size}, the number of tokens; {REBUILD}"
        )
    if cache.annotations is not None and len(cache.annotations) != size:
        raise DataError(f"{folder}/marks.bin must have a byte per token, {size} in all; {REBUILD}")
    return note["fingerprint"] == fingerprint


def write_cache(
    folder: Path,
    *,
    corpus: Corpus,
    split: str,
    tokenizer: Tokenizer,
    note: dict,
) -> None:
    """Tokenizes a split of the corpus and writes it into `folder`."""
    dtype = np.dtype(np.uint16 if tokenizer.size <= 1 << 16 else np.uint32)
    lengths, text_bytes, unknown = array("q"), 0, UnknownCounts()
    kind = corpus.annotation_kind
    with contextlib.ExitStack() as files:
        done = files.enter_context(progress(f"tokenizing {split}", corpus.bytes(split)))
        names = ["tokens.bin", *["marks.bin"] * bool(kind), *["places.bin"] * corpus.has_places]
        out = [files.enter_context(open(folder / name, "wb")) for name in names]
        for group in encode_blocks(corpus.documents(split), tokenizer, kind, corpus.has_places):
            if group.ids.size and not 0 <= group.ids.min() <= group.ids.max() < tokenizer.size:
                raise ValueError(f"a tokenizer of {tokenizer.size} ids gave id {group.ids.max()}")
            arrays = (group.ids.astype(dtype), group.annotations, group.places)
            for file, array_of_file in zip(out, arrays, strict=False):
                file.write(array_of_file.data)
            lengths.extend([0] * (group.documents[-1] + 1 - len(lengths)))
            for document, count in zip(group.documents, group.counts, strict=True):
                lengths[document] += count
            text_bytes += group.text_bytes
            unknown += group.unknown
            done(group.text_bytes)
    offsets = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
    if not offsets[-1]:
        raise DataError(
            f"the {SPLIT_NAMES[split]} split of {corpus.name} must have at least one token; the "
            "tokenizer makes none from its text. Use another tokenizer, or add text"
        )
    np.save(folder / "offsets.npy", offsets)
    if kind == "records":
        write_records(folder, corpus, split)
    note |= {"dtype": dtype.name, "split": corpus.split_method, "text_bytes": text_bytes}
    note["marked"] = kind
    note |= {"places": True} if corpus.has_places else {}
    note["unknown"] = dataclasses.astuple(unknown)
    note["files"] = {path.name: path.stat().st_size for path in sorted(folder.iterdir())}
    (folder / "note.json").write_text(json.dumps(note, indent=2))


def write_records(folder: Path, corpus: Corpus, split: str) -> None:
    """Writes the labels of the records, and their texts and ids if the labels have places."""
    rows = [(record.label, record.texts, record.id) for record in corpus.records(split)]
    for name, column in zip((LABELS, TEXTS, IDS), zip(*rows, strict=True), strict=True):
        if name == LABELS or corpus.has_places:
            (folder / name).write_text(json.dumps(column))
