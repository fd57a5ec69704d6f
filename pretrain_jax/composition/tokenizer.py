"""The tokenizer of a run: loaded, trained on its corpus, or copied from another run."""

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
from pretrain_jax.tokenizers import Tokenizer, replace_surrogates

log = logging.getLogger(__name__)

NOTE = "note.json"
"""Beside a trained vocabulary: what it was trained from, and the digests of its files."""


def load_or_train(
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
    module = registry.load("tokenizers", name, "tokenizer.name")
    own = registry.accepted_kwargs(module.load, options)
    if path:
        path = paths.expand_user(path, "tokenizer.path")
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
            module.load(draft, **registry.accepted_kwargs(module.load, options)),
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
            return (replace_surrogates(text) for text in itertools.chain(blank, [text], texts))
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


def copy_from_run(source: epath.PathLike, path: epath.Path) -> None:
    """Copies the tokenizer of a run into another workdir: all of it or nothing, and once."""
    there, here = epath.Path(source) / "tokenizer", path / "tokenizer"
    if not there.exists():
        raise InputMissing(f"init_from must be a run with its tokenizer; {there} is missing")
    files = {file.name: file.read_bytes() for file in there.iterdir()}
    if here.exists():
        if files == {file.name: file.read_bytes() for file in here.iterdir()}:
            return
        set_aside(here)
    draft = path / f".tokenizer.{os.getpid()}.{os.urandom(4).hex()}"
    draft.mkdir(parents=True)
    try:
        for name, content in files.items():
            (draft / name).write_bytes(content)
        draft.rename(here)
    finally:
        if draft.exists():
            draft.rmtree()
    log.info("tokenizer: copied from %s", there)


def load_trained(config: Any, path: epath.Path) -> Tokenizer:
    """The tokenizer of a run that has begun: from `tokenizer.path`, or as it lies in its workdir.

    Raises InputMissing where it is not there.
    """
    section = config.tokenizer
    module = registry.load("tokenizers", section.name, "tokenizer.name")
    options = {key: section[key] for key in registry.options(module.load)}
    where = epath.Path(paths.expand_user(section.path or path / "tokenizer", "tokenizer.path"))
    if not where.exists():
        raise InputMissing(
            f"a run keeps the tokenizer that it began with; {where} is missing. Put it back, or "
            "start in another --workdir"
        )
    log.info("tokenizer: %s, from %s", section.name, where)
    return module.load(where, **options)
