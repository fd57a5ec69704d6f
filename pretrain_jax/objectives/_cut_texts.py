"""The warnings of objectives about texts that are longer than a row, and teach less or nothing."""

from typing import Any


def warn_of_cut_texts(
    examples: Any, vocab: Any, loses: str = "the end of their longest text"
) -> str:
    """Objective.data_warning: how many examples lose a part of their texts. loses: which part."""
    del vocab
    if not examples.cut:
        return ""
    return (
        f"{examples.cut:,} of {len(examples):,} records are longer than a row and lose {loses}; "
        "rows with more tokens (data.seq_len) keep more"
    )


def warn_of_preferences(examples: Any, vocab: Any) -> str:
    """Objective.data_warning: how many texts are cut, and how many pairs teach nothing."""
    warning = warn_of_cut_texts(
        examples, vocab, loses="the beginning of their prompt or the end of an answer"
    )
    if not examples.equal:
        return warning
    same = f"the two answers of {examples.equal:,} of {len(examples):,} records are the same"
    return f"{warning}; {same}" if warning else f"{same}, and nothing is learned from them"
