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
from pretrain_jax.composition.spec import select_kwargs
from pretrain_jax.errors import ConfigError, DataError, InputMissing
from pretrain_jax.files import parsing, paths
from pretrain_jax.files.draft_folder import draft_of
from pretrain_jax.progress import progress
from pretrain_jax.tokenizers import Tokenizer, replace_surrogates

log = logging.getLogger(__name__)

NOTE = "note.json"
"""File next to a trained vocabulary: what it was trained on, and digests of its files."""


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

    If `path` is empty, loads `directory` (workdir/tokenizer) if it was trained with the same name,
    options and `vocab_size` on the same corpus. Otherwise trains a tokenizer on `texts()` and
    replaces the directory atomically. A newer library does not cause retraining.

    Raises ConfigError if the tokenizer has more than `vocab_size` (model.vocab_size) ids,
    InputMissing if `path` does not exist, DataError if its files are malformed.
    """
    module = registry.load("tokenizers", name, "tokenizer.name")
    load_options = registry.accepted_kwargs(module.load, options)
    if path:
        path = paths.expand_user(path, "tokenizer.path")
        if not epath.Path(path).exists():
            raise InputMissing(
                f"tokenizer.path must name an existing file or folder; received {path!r}. Leave "
                "it empty to train a tokenizer on the run's own corpus"
            )
        return _check_size(
            module.load(path, **load_options), vocab_size, f"{name} tokenizer of {path}"
        )
    known = registry.options(module.load, module.train)
    defaults = {key: option.default for key, option in known.items() if key != "vocab_size"}
    note = {
        "name": name,
        # Without empty tuples (`added`): older notes do not have them.
        "options": {key: value for key, value in {**defaults, **options}.items() if value != ()},
        "vocab_size": vocab_size,
        "corpus": corpus_fingerprint,
    }
    directory = epath.Path(directory)
    if _is_trained_for(directory, note):
        log.info("tokenizer: %s, trained on the run's own corpus, from %s", name, directory)
        return _check_size(
            module.load(directory, **load_options), vocab_size, f"tokenizer of {directory}"
        )
    log.info("tokenizer: training %s with at most %d ids on the run's own corpus", name, vocab_size)
    return _train(module, note, texts, directory)


def _train(
    module: ModuleType,
    note: Mapping[str, Any],
    texts: Callable[[], Iterable[str]],
    directory: epath.Path,
) -> Tokenizer:
    """Trains in a temporary folder next to `directory` and then renames it: an atomic change."""
    options, vocab_size = note["options"], note["vocab_size"]
    with draft_of(directory) as draft:
        with progress(f"learning a {note['name']} vocabulary"):
            module.train(_check_not_blank(texts()), draft, vocab_size=vocab_size, **options)
        tokenizer = _check_size(
            module.load(draft, **registry.accepted_kwargs(module.load, options)),
            vocab_size,
            f"{note['name']} tokenizer trained on this corpus",
        )
        libraries = ("sentencepiece", "tiktoken", "tokenizers")
        versions = {library: importlib.metadata.version(library) for library in libraries}
        full_note = {**note, "files": _digests(draft), "libraries": versions}
        (draft / NOTE).write_text(json.dumps(full_note, indent=2, sort_keys=True) + "\n")
        _publish(draft, directory, note)
    return tokenizer


def _publish(draft: epath.Path, directory: epath.Path, note: Mapping[str, Any]) -> None:
    """Renames `draft` to `directory`, unless another process of this run already did."""
    if _is_trained_for(directory, note):
        return
    try:
        if directory.is_dir():  # if it is a file, which no run writes, rename raises
            set_aside(directory)
        draft.rename(directory)
    except OSError:
        if not _is_trained_for(directory, note):
            raise


def set_aside(directory: epath.Path) -> None:
    """Moves the folder of a tokenizer to `NAME.before.X`, instead of deleting it."""
    aside = directory.parent / f"{directory.name}.before.{os.urandom(4).hex()}"
    directory.rename(aside)
    log.warning("%s belongs to other text or options; moved it to %s", directory, aside)


def _check_not_blank(texts: Iterable[str]) -> Iterator[str]:
    """`texts` for training. Raises DataError if they contain only white space."""
    texts = iter(texts)
    blank = []
    for text in texts:
        if text.strip():
            return (replace_surrogates(text) for text in itertools.chain(blank, [text], texts))
        blank.append(text)
    raise DataError(
        "the corpus must contain text to train a tokenizer on; it contains none. Check data.source"
    )


def _is_trained_for(directory: epath.Path, note: Mapping[str, Any]) -> bool:
    """Whether `directory` holds a complete vocabulary with this note."""
    try:
        stored = parsing.read_json(directory / NOTE, "train it again", {"files": dict})
        return {**stored, **note} == stored and stored["files"] == _digests(directory)
    except (OSError, InputMissing, DataError):
        return False


def _digests(directory: epath.Path) -> dict[str, str]:
    files = (file for file in directory.iterdir() if file.name != NOTE)
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def _check_size(tokenizer: Tokenizer, vocab_size: int, what: str) -> Tokenizer:
    if tokenizer.size > vocab_size:
        raise ConfigError(
            f"a tokenizer may have at most model.vocab_size ids; the {what} has {tokenizer.size} "
            f"and model.vocab_size is {vocab_size}. Set model.vocab_size={tokenizer.size} or more"
        )
    return tokenizer


def copy_from_run(source: epath.PathLike, path: epath.Path) -> None:
    """Copies the tokenizer of a run into another workdir, atomically; does nothing if it is there.

    Moves a different tokenizer out of the way. Raises InputMissing.
    """
    old, new = epath.Path(source) / "tokenizer", path / "tokenizer"
    if not old.exists():
        raise InputMissing(
            f"init_from must be a run with a tokenizer; {old} is missing. Put it back, or set "
            "tokenizer.path"
        )
    files = {file.name: file.read_bytes() for file in old.iterdir()}
    if new.exists():
        if files == {file.name: file.read_bytes() for file in new.iterdir()}:
            return
        set_aside(new)
    with draft_of(new) as draft:
        for name, content in files.items():
            (draft / name).write_bytes(content)
        draft.rename(new)
    log.info("tokenizer: copied from %s", old)


def load_trained(config: Any, path: epath.Path) -> Tokenizer:
    """The tokenizer of an existing run: from `tokenizer.path`, or from its workdir.

    Raises InputMissing if the run has no tokenizer.
    """
    section = config.tokenizer
    module = registry.load("tokenizers", section.name, "tokenizer.name")
    options = select_kwargs(section, module.load)
    folder = epath.Path(paths.expand_user(section.path or path / "tokenizer", "tokenizer.path"))
    if not folder.exists():
        raise InputMissing(
            f"a run keeps its tokenizer; {folder} is missing. Put it back, or start in another "
            "--workdir"
        )
    log.info("tokenizer: %s, from %s", section.name, folder)
    return module.load(folder, **options)
