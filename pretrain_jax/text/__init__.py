"""Tokenizers behind one interface; every module of this folder is a name for `tokenizer.name`.

A module offers two functions with the same keyword-only options:

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
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from types import ModuleType
from typing import Any

import numpy as np
from etils import epath

from pretrain_jax import paths, registry, stored
from pretrain_jax.errors import ConfigError, DataError, InputMissing

log = logging.getLogger(__name__)

NAMED = ("pad", "unk", "bos", "eos", "mask", "cls", "sep")
SENTENCE_ENDS = tuple(".!?\n\u3002\uff01\uff1f")  # the last three: full-width . ! ?


class Tokenizer(ABC):
    """Text to token ids and back. Ids are 0 .. size - 1.

    Special ids never come out of `encode`: a special token's spelling inside a document is plain
    text. They are added by whoever arranges documents into examples.
    """

    size: int
    pad: int | None = None
    unk: int | None = None
    bos: int | None = None
    eos: int | None = None
    mask: int | None = None
    cls: int | None = None
    sep: int | None = None
    sentinels: tuple[int, ...] = ()
    fingerprint: str
    """Hex digest over the vocabulary and every option that changes what `encode` returns."""

    @abstractmethod
    def encode(self, text: str) -> np.ndarray:
        """int32 [n] ids of `text`, without special ids."""

    @abstractmethod
    def decode(self, ids: Sequence[int] | np.ndarray) -> str:
        """Text of `ids`; special ids are left out; invalid UTF-8 becomes U+FFFD."""

    @abstractmethod
    def spell(self, token: int) -> str:
        """How one id is written in the vocabulary, special ids included: for people to read."""

    @property
    @abstractmethod
    def word_starts(self) -> np.ndarray:
        """bool [size]: whether a token begins a word (special ids do). Made once, by `table`."""

    def sentinel(self, number: int) -> int:
        """The id of the sentinel `number`, counted from 0 (T5's <extra_id_0>)."""
        return self.sentinels[number]

    @property
    def named(self) -> dict[str, int]:
        """The special ids that there are, by name: {"pad": 0, "mask": 103, ...}."""
        ids = {name: getattr(self, name) for name in NAMED}
        return {name: i for name, i in ids.items() if i is not None}

    def remedy(self, name: str) -> str:
        """What to add to a vocabulary so that it has the special id `name`: for people to read."""
        return f"an id for {name}"

    @cached_property
    def special(self) -> np.ndarray:
        """bool [size]: ids that stand for no text: all special ones but unk, which does."""
        ids = {*self.sentinels, *(i for name, i in self.named.items() if name != "unk")}
        return table(i in ids for i in range(self.size))

    @cached_property
    def sentence_ends(self) -> np.ndarray:
        """bool [size]: whether a token's text ends in . ! ? or a line end. Made once."""
        return table(self.decode([i]).endswith(SENTENCE_ENDS) for i in range(self.size))


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
    if path:
        path = paths.expanded(path, "tokenizer.path")
        if not epath.Path(path).exists():
            raise InputMissing(
                f"tokenizer.path must name an existing file or folder; received {path!r}; leave "
                "it empty to train a tokenizer on the run's own corpus"
            )
        return _fits(module.load(path, **options), vocab_size, f"{name} tokenizer of {path}")
    note = {
        "name": name,
        "options": {**{k: o.default for k, o in registry.options(module.load).items()}, **options},
        "vocab_size": vocab_size,
        "corpus": corpus_fingerprint,
    }
    directory = epath.Path(directory)
    if _holds(directory, note):
        log.info("tokenizer: %s, trained on the run's own corpus, from %s", name, directory)
        return _fits(module.load(directory, **options), vocab_size, f"tokenizer of {directory}")
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
        module.train(_corpus(texts()), draft, vocab_size=vocab_size, **options)
        tokenizer = _fits(
            module.load(draft, **options),
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
        if directory.exists():
            directory.rmtree()
        draft.rename(directory)
    except OSError:
        if not _holds(directory, note):
            raise


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
        found = stored.read_json(directory / NOTE, "train it again", {"files": dict})
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


def check_needs(tokenizer: Tokenizer, needs: Sequence[str], sentinels: int, what: str) -> None:
    """Raises ConfigError unless a tokenizer has the special ids `needs` and so many sentinels."""
    lacking = [name for name in needs if name not in tokenizer.named]
    if lacking:
        found = ", ".join(f"{name} {i}" for name, i in tokenizer.named.items()) or "none"
        added = " and ".join(map(tokenizer.remedy, lacking))
        raise ConfigError(
            f"{what} needs a tokenizer with the special ids {', '.join(needs)}; this one has no "
            f"{' and no '.join(lacking)} (it has {found}). Leave tokenizer.path empty: what is "
            f"trained on the run's own corpus has them all. Or give the vocabulary {added} (and "
            "raise model.vocab_size). Or take RoBERTa's, which has them all: tokenizer.name="
            "byte_bpe and tokenizer.path=a folder with encoder.json, vocab.bpe and dict.txt"
        )
    more = sentinels - len(tokenizer.sentinels)
    if more > 0:
        raise ConfigError(
            f"{what} may need {sentinels} sentinels (<extra_id_0> and on) in one example; this "
            f"tokenizer has {len(tokenizer.sentinels)}. Set tokenizer.sentinels={sentinels} (they "
            f"are new ids: model.vocab_size must be {tokenizer.size + more} or more) and start in "
            "a new --workdir; or lower data.seq_len"
        )


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
    if count < 0:
        raise ConfigError(f"tokenizer.sentinels must be 0 or more; received {count}")
    return tuple(range(size - 1, size - 1 - count, -1))


def table(values: Iterable[Any]) -> np.ndarray:
    """bool [n] that cannot be written to: it is made once and serves every example."""
    made = np.fromiter(values, np.bool_)
    made.flags.writeable = False
    return made


def digest(*parts: Any) -> str:
    """A fingerprint: hex SHA-256 of parts that JSON can write."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
