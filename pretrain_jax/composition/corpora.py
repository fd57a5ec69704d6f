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
from pretrain_jax.composition.spec import DataOptions
from pretrain_jax.composition.special_tokens import check_needs
from pretrain_jax.composition.tokenizer import copy_from_run, load_or_train, load_trained
from pretrain_jax.data.corpus import Corpus, open_corpus
from pretrain_jax.data.shared_files import align_splits
from pretrain_jax.errors import WorkdirMismatch
from pretrain_jax.objectives import Objective

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Source:
    """One member of the mixture (or the only source)."""

    corpus: Corpus
    objective: Objective
    rate: float


def open_sources(design: Design, stored: Mapping[str, Any] | None) -> tuple[Source, ...]:
    """The corpora of all members.

    stored: the fingerprints of a checkpoint to go on from, {"sources": [...], "tokenizer": ...};
    without "sources" the texts may be others. Under "changed" it has what newer code computes in
    another way, where that was accepted: fingerprints that differ are then accepted too.
    """
    opened = {(m.source, m.objective.annotation_kind) for m in design.task.members}
    corpora = {key: open_annotated(design.spec.data, *key) for key in sorted(opened)}
    align_splits(corpora.values())
    sources = tuple(
        Source(corpora[m.source, m.objective.annotation_kind], m.objective, m.rate)
        for m in design.task.members
    )
    if stored is not None and "sources" in stored:
        same_data("corpus", stored, "sources", [s.corpus.fingerprint for s in sources])
    return sources


def obtain_tokenizer(
    design: Design,
    sources: Sequence[Source],
    workdir: epath.Path,
    stored: Mapping[str, Any] | None,
) -> tokenizers.Tokenizer:
    """The run's tokenizer, with all that its objectives need.

    Before the first checkpoint (stored is None) it is trained, or taken from `init_from`, and put
    into the workdir. From then on it is the one that lies there, whatever the corpus has become.
    """
    config = design.spec
    inherited = stored is None and init_from.takes_tokenizer(config)
    if inherited:
        copy_from_run(init_from.workdir_of(config), workdir)
    if inherited or stored is not None:
        tokenizer = load_trained(config, workdir)
    else:
        tokenizer = own_tokenizer(design, sources, workdir)
    if stored is not None:
        same_data("tokenizer", stored, "tokenizer", tokenizer.fingerprint)
    longest = max(design.spec.seq_lens)
    for source, member in zip(sources, design.task.members, strict=True):
        of, what = source.objective, f"objective {member.name}"
        check_needs(tokenizer, of.special_tokens, of.sentinels(longest), what)
    return tokenizer


def own_tokenizer(
    design: Design, sources: Sequence[Source], workdir: epath.Path
) -> tokenizers.Tokenizer:
    """The tokenizer of `tokenizer.path`, or one that is trained on the sources."""
    config = design.spec
    options = {k: v for k, v in config.tokenizer.items() if k not in ("name", "path")}
    pairs = zip(design.task.members, sources, strict=True)
    opened = {
        (member.source, source.objective.annotation_kind): source.corpus for member, source in pairs
    }
    corpora = [opened[key] for key in sorted(opened)]
    return load_or_train(
        config.tokenizer.name,
        config.tokenizer.path,
        texts=lambda: round_robin([corpus.texts("train") for corpus in corpora]),
        corpus_fingerprint=joined([corpus.fingerprint for corpus in corpora]),
        vocab_size=config.model.vocab_size,
        directory=workdir / "tokenizer",
        **options,
    )


def open_annotated(data: DataOptions, source: str, annotation_kind: str) -> Corpus:
    """The corpus of a source, with the annotations that its objective reads."""
    return open_corpus(
        source,
        split=data.split,
        text_key=data.text_key,
        target_key=data.target_key if annotation_kind == "targets" else "",
        spans_key=data.spans_key if annotation_kind == "spans" else "",
    )


def same_data(what: str, stored: Mapping[str, Any], key: str, found: Any) -> None:
    """Raises WorkdirMismatch when a fingerprint is not the one that the run began with, unless
    newer code, whose changes were accepted, may be why."""
    if stored[key] == found:
        return
    said = f"the {what} of the checkpoint has the fingerprint {stored[key]}, the one here {found}"
    if not stored.get("changed"):
        raise WorkdirMismatch(
            f"a run goes on only with the data it began with; {said}. Restore it, or start in "
            "another --workdir (with --config.init_from=WORKDIR to keep the parameters)"
        )
    log.warning("%s: accepted, since the code has changed", said)


def round_robin(iterables: Iterable[Iterable[str]]) -> Iterator[str]:
    """One piece of each in turn, so that a bounded reader sees a share of every source."""
    for pieces in itertools.zip_longest(*iterables):
        yield from (piece for piece in pieces if piece is not None)


def joined(fingerprints: list[str]) -> str:
    """One fingerprint of several."""
    if len(fingerprints) == 1:
        return fingerprints[0]
    return hashlib.sha256("\n".join(fingerprints).encode()).hexdigest()
