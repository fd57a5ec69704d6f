"""Corpora of one run that share files: what one holds out, no other trains on."""

import os
from collections.abc import Iterable

from pretrain_jax.data.corpus import Corpus


def agree(corpora: Iterable[Corpus]) -> None:
    """Has corpora with a file in common hold out the same text of it (`Corpus.agree_with`).

    "text:a.jsonl" and "text:*.jsonl" share a.jsonl, and agree with who shares a file with either.
    """
    groups: list[tuple[set[str], list[Corpus]]] = []
    for corpus in corpora:
        files, group = {os.path.realpath(name) for name in corpus.files}, [corpus]
        for found in [g for g in groups if g[0] & files]:
            groups.remove(found)
            files, group = files | found[0], [*found[1], *group]
        groups.append((files, group))
    for _, group in groups:
        for corpus in group:
            corpus.agree_with(group)
