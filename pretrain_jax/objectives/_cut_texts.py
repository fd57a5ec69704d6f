"""The warning of objectives that truncate texts which are longer than a row."""

from typing import Any


def warn_of_cut_texts(examples: Any, vocab: Any) -> str:
    """Objective.data_warning: how many examples lose a part of their texts."""
    del vocab
    if not examples.cut:
        return ""
    return (
        f"{examples.cut:,} of {len(examples):,} records are longer than a row and lose the end of "
        "their longest text; rows with more tokens (data.seq_len) keep more"
    )
