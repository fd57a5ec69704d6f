"""Tokenizers behind one interface; every module of this folder is a name for `tokenizer.name`.

A module offers two functions; `load` takes those options of `train` that it reads:

    load(path, **options) -> Tokenizer              from a file or a folder on disk
    train(texts, directory, *, vocab_size, **options) -> None
                                                    writes files that load(directory) reads
"""

import hashlib
import importlib.metadata
import itertools
import json
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import ModuleType
from typing import Any

from etils import epath

from pretrain_jax import registry
from pretrain_jax.errors import ConfigError, DataError, InputMissing
from pretrain_jax.files import parsing, paths
from pretrain_jax.progress import progress
from pretrain_jax.tokenizer import NAMED as NAMED
from pretrain_jax.tokenizer import Tokenizer as Tokenizer
from pretrain_jax.tokenizer import table as table

log = logging.getLogger(__name__)

NOTE = "note.json"
"""Beside a trained vocabulary: what it was trained from, and the digests of its files."""


def obtain(
    name: str,
    path: str,
    *,
    texts: Callable[[], Iterable[str]],
    corpus_fingerprint: str,
    vocab_size: int,
    directory: epath.PathLike,
    **options: Any,
) -> Tokenizer:
    """The tokenizer of a run: loaded from `path`, or trained on the run's own corpus.

    With `path` empty, `directory` (workdir/tokenizer) is used when its note says that it was
    trained by the same name and options, for the same `vocab_size`, from the same corpus;
    otherwise a tokenizer is trained on `texts()` and takes its place, complete or not at all.
    A newer library does not retrain: the vocabulary on disk is what the run began with.

    Raises ConfigError when the tokenizer has more than `vocab_size` (model.vocab_size) ids,
    InputMissing when `path` does not exist, DataError when its files are malformed.
    """
    module = registry.load("text", name, "tokenizer.name")
    own = registry.taken(module.load, options)
    if path:
        path = paths.expanded(path, "tokenizer.path")
        if not epath.Path(path).exists():
            raise InputMissing(
                f"tokenizer.path must name an existing file or folder; received {path!r}; leave "
                "it empty to train a tokenizer on the run's own corpus"
            )
        return _fits(module.load(path, **own), vocab_size, f"{name} tokenizer of {path}")
    known = registry.options(module.load, module.train)
    note = {
        "name": name,
        "options": {**{k: o.default for k, o in known.items() if k != "vocab_size"}, **options},
        "vocab_size": vocab_size,
        "corpus": corpus_fingerprint,
    }
    directory = epath.Path(directory)
    if _holds(directory, note):
        log.info("tokenizer: %s, trained on the run's own corpus, from %s", name, directory)
        return _fits(module.load(directory, **own), vocab_size, f"tokenizer of {directory}")
    log.info("tokenizer: training %s, at most %d ids, on the run's own corpus", name, vocab_size)
    return _train(module, note, texts, directory)


def _train(
    module: ModuleType,
    note: Mapping[str, Any],
    texts: Callable[[], Iterable[str]],
    directory: epath.Path,
) -> Tokenizer:
    """Trains beside `directory` and renames: whoever looks sees all of it or nothing."""
    draft = directory.parent / f".{directory.name}.{os.getpid()}.{os.urandom(4).hex()}"
    draft.mkdir(parents=True)
    options, vocab_size = note["options"], note["vocab_size"]
    try:
        with progress(f"learning a {note['name']} vocabulary"):
            module.train(_corpus(texts()), draft, vocab_size=vocab_size, **options)
        tokenizer = _fits(
            module.load(draft, **registry.taken(module.load, options)),
            vocab_size,
            f"{note['name']} tokenizer trained on this corpus",
        )
        libraries = ("sentencepiece", "tiktoken", "tokenizers")
        versions = {library: importlib.metadata.version(library) for library in libraries}
        whole = {**note, "files": _digests(draft), "libraries": versions}
        (draft / NOTE).write_text(json.dumps(whole, indent=2, sort_keys=True) + "\n")
        _publish(draft, directory, note)
    finally:
        if draft.exists():
            draft.rmtree()
    return tokenizer


def _publish(draft: epath.Path, directory: epath.Path, note: Mapping[str, Any]) -> None:
    """Moves `draft` to `directory`, unless another process of this run was there first."""
    if _holds(directory, note):
        return
    try:
        if directory.is_dir():  # of a file, which is not ours, the renaming complains
            set_aside(directory)
        draft.rename(directory)
    except OSError:
        if not _holds(directory, note):
            raise


def set_aside(directory: epath.Path) -> None:
    """Makes room for another tokenizer: a folder is moved to `NAME.before.X`, never deleted."""
    aside = directory.parent / f"{directory.name}.before.{os.urandom(4).hex()}"
    directory.rename(aside)
    log.warning("%s belongs to other text or options: it is kept as %s", directory, aside)


def _corpus(texts: Iterable[str]) -> Iterator[str]:
    """`texts` for training; raises DataError when there is nothing but white space in them."""
    texts = iter(texts)
    blank = []
    for text in texts:
        if text.strip():
            return (well_formed(text) for text in itertools.chain(blank, [text], texts))
        blank.append(text)
    raise DataError("the corpus must hold some text to train a tokenizer on; it holds none")


def _holds(directory: epath.Path, note: Mapping[str, Any]) -> bool:
    """Whether `directory` holds a whole vocabulary trained as `note` says."""
    try:
        found = parsing.read_json(directory / NOTE, "train it again", {"files": dict})
        return {**found, **note} == found and found["files"] == _digests(directory)
    except (OSError, InputMissing, DataError):
        return False


def _digests(directory: epath.Path) -> dict[str, str]:
    files = (file for file in directory.iterdir() if file.name != NOTE)
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def _fits(tokenizer: Tokenizer, vocab_size: int, what: str) -> Tokenizer:
    if tokenizer.size > vocab_size:
        raise ConfigError(
            f"a tokenizer may have at most model.vocab_size ids; the {what} has {tokenizer.size} "
            f"and model.vocab_size is {vocab_size}; set model.vocab_size={tokenizer.size} or more"
        )
    return tokenizer


def well_formed(text: str) -> str:
    """`text` with lone surrogates, which have no UTF-8, as U+FFFD.

    A JSON file can spell them (`"\\ud800"`), and the libraries refuse them.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def take(texts: Iterable[str], characters: int) -> Iterator[str]:
    """The beginning of `texts`, up to that many characters in all.

    >>> list(take(["abc", "def", "ghi"], 5))
    ['abc', 'de']
    """
    for text in texts:
        yield text[:characters]
        characters -= len(text)
        if characters <= 0:
            return


def read(path: epath.PathLike, filename: str) -> bytes:
    """Bytes of the vocabulary file `path`, or of `filename` where `path` is a folder."""
    file = epath.Path(path)
    if file.is_dir():
        file = file / filename
    try:
        return file.read_bytes()
    except OSError as error:
        raise InputMissing(
            f"tokenizer.path must name a folder with {filename}, or that file itself; received "
            f"{path}: {error.strerror or error}"
        ) from error


def sentinel_ids(size: int, count: int) -> tuple[int, ...]:
    """T5's layout: sentinels are the last ids, the sentinel 0 the very last.

    >>> sentinel_ids(103, 3)
    (102, 101, 100)
    """
    return tuple(range(size - 1, size - 1 - count, -1))


def digest(*parts: Any) -> str:
    """A fingerprint: hex SHA-256 of parts that JSON can write."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
