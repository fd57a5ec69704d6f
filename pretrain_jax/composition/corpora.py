"""The corpora of a run and its tokenizer."""

import hashlib
import itertools
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from etils import epath

from pretrain_jax import tokenizers
from pretrain_jax.composition import init_from
from pretrain_jax.composition.build import Design
from pretrain_jax.composition.check_special_tokens import check_special_tokens
from pretrain_jax.composition.spec import DataOptions
from pretrain_jax.composition.tokenizer import copy_from_run, load_or_train, load_trained
from pretrain_jax.data.corpus import Corpus, open_corpus
from pretrain_jax.data.shared_files import align_splits
from pretrain_jax.data.sources import Columns
from pretrain_jax.errors import ConfigError, WorkdirMismatch
from pretrain_jax.objectives import Objective

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class MemberCorpus:
    """The opened corpus of one member of the mixture, with its objective and rate."""

    corpus: Corpus
    objective: Objective
    rate: float


def open_corpora(design: Design, stored: Mapping[str, Any] | None) -> tuple[MemberCorpus, ...]:
    """The corpora of all members of the mixture.

    stored: the fingerprints of the checkpoint to resume from, {"sources": [...], "tokenizer": ...}.
    Without "sources" any corpus is accepted. "changed" lists accepted changes of the code; while it
    is not empty, differing fingerprints only log a warning. Raises WorkdirMismatch otherwise.
    """
    opened = {(m.source, m.objective.annotation_kind): m.objective for m in design.task.members}
    corpora = {key: open_annotated(design.spec.data, key[0], opened[key]) for key in sorted(opened)}
    align_splits(corpora.values())
    data = design.spec.data
    if data.validation and data.validation == data.source:
        log.warning("data.validation is data.source: the run is validated on its training text")
    members = tuple(
        MemberCorpus(corpora[m.source, m.objective.annotation_kind], m.objective, m.rate)
        for m in design.task.members
    )
    if stored is not None and "sources" in stored:
        check_same_data("corpus", stored, "sources", [m.corpus.fingerprint for m in members])
    return members


def load_or_train_tokenizer(
    design: Design,
    corpora: Sequence[MemberCorpus],
    workdir: epath.Path,
    stored: Mapping[str, Any] | None,
) -> tokenizers.Tokenizer:
    """The tokenizer of the run, with every special token that its objectives need.

    Before the first checkpoint (stored is None), trains it or copies it from `init_from` into the
    workdir. Later, loads it from the workdir, even if the corpus has changed. Raises ConfigError
    for missing special tokens, WorkdirMismatch for another tokenizer than in the checkpoint.
    """
    config = design.spec
    inherits = stored is None and init_from.inherits_tokenizer(config)
    if inherits:
        copy_from_run(init_from.source_workdir(config), workdir)
    if inherits or stored is not None:
        tokenizer = load_trained(config, workdir)
    else:
        tokenizer = load_path_or_train(design, corpora, workdir)
    if stored is not None:
        check_same_data("tokenizer", stored, "tokenizer", tokenizer.fingerprint)
    longest = max(design.spec.seq_lens)
    for corpus, member in zip(corpora, design.task.members, strict=True):
        objective, what = corpus.objective, f"objective {member.name}"
        check_special_tokens(
            tokenizer, objective.special_tokens, objective.sentinels(longest), what
        )
    return tokenizer


def load_path_or_train(
    design: Design, members: Sequence[MemberCorpus], workdir: epath.Path
) -> tokenizers.Tokenizer:
    """Loads the tokenizer of `tokenizer.path`, or trains one on the corpora."""
    config = design.spec
    options = {k: v for k, v in config.tokenizer.items() if k not in ("name", "path")}
    pairs = zip(design.task.members, members, strict=True)
    opened = {(member.source, m.objective.annotation_kind): m.corpus for member, m in pairs}
    corpora = [opened[key] for key in sorted(opened)]
    return load_or_train(
        config.tokenizer.name,
        config.tokenizer.path,
        texts=lambda: round_robin([corpus.texts("train") for corpus in corpora]),
        corpus_fingerprint=combine_fingerprints([corpus.fingerprint for corpus in corpora]),
        vocab_size=config.model.vocab_size,
        directory=workdir / "tokenizer",
        **options,
    )


def open_annotated(data: DataOptions, source: str, objective: Objective) -> Corpus:
    """The corpus of a source, with the annotations that its objective reads."""
    kind, task, columns = objective.annotation_kind, objective.example_task, None
    check_columns(data)
    if task:
        # A text that is only scored or predicted may have no labels.
        columns = Columns(
            data.fields,
            data.label_key,
            task.texts,
            task.fewer,
            required=data.split != "all" and not task.implied_label,
            default_texts=task.default_texts,
            default_label=task.default_label,
            implied_label=task.implied_label,
            places=task.places,
        )
    elif objective.template:
        columns = Columns(required=False, kind=kind, template=objective.template)
    elif data.fields:
        columns = Columns(data.fields, required=False, kind="text")
    return open_corpus(
        source,
        validation=data.validation,
        split=data.split,
        text_key=data.text_key,
        target_key=data.target_key if kind == "targets" else "",
        spans_key=data.spans_key if kind == "spans" else "",
        columns=columns,
    )


def check_columns(data: DataOptions) -> None:
    """Raises ConfigError for a column that is read twice."""
    if data.target_key and data.target_key == data.text_key:
        raise ConfigError(
            "the target must be in another field than the text; received data.text_key="
            f"{data.text_key!r} and data.target_key={data.target_key!r}. Change one of them"
        )
    read = [*data.fields, *([data.label_key] if data.label_key else [])]
    if twice := [name for name in read if read.count(name) > 1]:
        raise ConfigError(
            "the text columns and the label must be different columns; received data.fields="
            f"{data.fields} and data.label_key={data.label_key!r}, with {twice[0]!r} twice. Change "
            "one of them"
        )


def check_same_data(what: str, stored: Mapping[str, Any], key: str, fingerprint: Any) -> None:
    """Raises WorkdirMismatch for another fingerprint than that of the checkpoint.

    Only logs a warning if changes of the code were accepted ("changed" in `stored`): they may be
    the cause.
    """
    if stored[key] == fingerprint:
        return
    changed = f"the {what} changed since the checkpoint (was {stored[key]}, now {fingerprint})"
    if not stored.get("changed"):
        raise WorkdirMismatch(
            f"cannot resume: {changed}. Restore the {what}, or start in another --workdir (add "
            "--config.init_from=WORKDIR to keep the parameters)"
        )
    log.warning("%s: accepted, since the code changed too", changed)


def round_robin(iterables: Iterable[Iterable[str]]) -> Iterator[str]:
    """One item of each iterable in turn, so that a bounded reader samples every corpus."""
    for items in itertools.zip_longest(*iterables):
        yield from (item for item in items if item is not None)


def combine_fingerprints(fingerprints: list[str]) -> str:
    """One fingerprint for several corpora."""
    if len(fingerprints) == 1:
        return fingerprints[0]
    return hashlib.sha256("\n".join(fingerprints).encode()).hexdigest()
