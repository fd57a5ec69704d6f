"""Corpora of a run that share files: no corpus trains on text that another one holds out."""

import os
from collections.abc import Iterable

from pretrain_jax.data.corpus import Corpus


def align_splits(corpora: Iterable[Corpus]) -> None:
    """Makes corpora with common files hold out the same text of them (`Corpus.align_split_with`).

    "text:a.jsonl" and "text:*.jsonl" share a.jsonl. Sharing is transitive: a corpus that shares a
    file with either belongs to the same group.
    """
    groups: list[tuple[set[str], list[Corpus]]] = []
    for corpus in corpora:
        files, group = {os.path.realpath(name) for name in corpus.files}, [corpus]
        for other in [g for g in groups if g[0] & files]:
            groups.remove(other)
            files, group = files | other[0], [*other[1], *group]
        groups.append((files, group))
    for _, group in groups:
        for corpus in group:
            corpus.align_split_with(group)
