"""A preview of what a run would train on, before anything is compiled or claimed.

It follows from the batch contract (batch.py): the fields, their kinds, and the attention of the
stream. So it shows new objectives without a change here.
"""

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from pretrain_jax.batch import FIELDS, Kind
from pretrain_jax.composition.build import Design
from pretrain_jax.composition.feed import Feed
from pretrain_jax.data.pipeline import Batch, Stream
from pretrain_jax.planning import padding
from pretrain_jax.tokenizers import Tokenizer

ROWS_SHOWN = 3
"""Rows shown; of a mixture, the first row of each member instead."""
EXAMPLES_SHOWN = 2
"""Examples shown of a row."""
PREDICTIONS_SHOWN = 4
"""Predictions shown of an example that has other answers too (span boundaries)."""
ROWS_COUNTED = 64
"""Rows in the padding statistics."""
ROWS_SEARCHED = 10_000
"""Rows searched for the first row of each member of a mixture."""
WIDTH = 100
MAX_CHARACTERS = 500
"""Of a text that is shown."""

FILLED = {"L": "segments", "M": "memory_segments", "P": "weights", "E": "label_weights"}
"""For each axis, the field that is 0 in padding."""
AXES = {"L": "stream", "M": "memory", "P": "predictions", "E": "labels"}


def format_preview(feed: Feed) -> Iterator[str]:
    """All lines of the preview."""
    design, tokenizer = feed.design, feed.tokenizer
    yield from format_tokenizer(design, tokenizer)
    lengths = list(dict.fromkeys(phase.seq_len for phase in design.spec.phases))
    if len(design.spec.phases) > 1:
        yield f"evaluations and samples have rows of seq_len={design.spec.phases.eval_seq_len}"
    for seq_len in lengths:
        stream = feed.stream("train", seq_len)
        yield from ("", *format_members(design, stream, seq_len))
        yield from format_padding(design, stream, seq_len)
    stream = feed.stream("train", lengths[0])
    for row in select_rows(stream):
        member, _ = stream.member_of(row)
        yield from ("", f"row {row}: {design.task.members[member]}")
        batch = stream.batch([row], design.spec.seed)
        one = {name: field[0] for name, field in batch.items()}
        yield from format_row(one, tokenizer, in_place=design.task.objective.attention == "full")


# --- the tables -----------------------------------------------------------------------------------


def format_tokenizer(design: Design, tokenizer: Tokenizer) -> Iterator[str]:
    """The tokenizer's ids, special ids and sentinels, and the ones that the objectives need."""
    section = design.spec.tokenizer
    origin = section.path or "trained on the run's own corpus"
    yield f"tokenizer  {section.name}, {tokenizer.size} ids, {origin}"
    named = [
        f'{name} {i} "{tokenizer.id_to_token(i)}"' for name, i in tokenizer.special_ids.items()
    ]
    objectives = [member.objective for member in design.task.members]
    special = sorted({name for objective in objectives for name in objective.special_tokens})
    longest = max(design.spec.seq_lens)
    sentinels = max(objective.sentinels(longest) for objective in objectives)
    ids = tokenizer.sentinels
    ends = [
        f'{i} "{tokenizer.id_to_token(i)}"' for i in (ids if len(ids) < 3 else (ids[0], ids[-1]))
    ]
    yield from format_entry("special", ", ".join(named) or "none")
    yield from format_entry("sentinels", f"{len(ids)}: {' to '.join(ends)}" if ids else "none")
    needed = f"{', '.join(special) or 'no special ids'}; {sentinels or 'no'} sentinels per example"
    yield from format_entry("needed", needed)


def format_members(design: Design, stream: Stream, seq_len: int) -> Iterator[str]:
    """Rows, examples and epochs of each member of the mixture at a sequence length."""
    phases = [phase for phase in design.spec.phases if phase.seq_len == seq_len]
    rows = count_rows(design, seq_len)
    steps = ", ".join(f"{phase.first + 1} to {phase.last}" for phase in phases)
    key = "data.seq_len" if len(design.spec.phases) == 1 else f"updates {steps}, seq_len"
    yield f"data at {key}={seq_len}: {rows} rows in this run"
    yield "    share of rows   examples  rows per epoch   epochs in this run"
    total = sum(member.rate for member in stream.members)
    passes = count_epochs(design, stream, seq_len)
    for member, what, times in zip(stream.members, design.task.members, passes, strict=True):
        yield (
            f"{member.rate / total:17.1%}{len(member.examples):11}{len(member.rows):16}"
            f"{times:21.2f}   {what}"
        )


def count_rows(design: Design, seq_len: int) -> int:
    """Rows of this run at a sequence length."""
    return sum(phase.rows for phase in design.spec.phases if phase.seq_len == seq_len)


def count_epochs(design: Design, stream: Stream, seq_len: int) -> list[float]:
    """Passes of this run over the rows of each member, at a sequence length."""
    total = sum(member.rate for member in stream.members)
    rows = count_rows(design, seq_len) / total
    return [rows * member.rate / len(member.rows) for member in stream.members]


def format_padding(design: Design, stream: Stream, seq_len: int) -> Iterator[str]:
    """Shares of padding, and the number of examples and predictions in a row."""
    batch = stream.batch(range(ROWS_COUNTED), design.spec.seed)
    yield f"    {'axis':<16}{'slots/row':>12}{'padding':>10}   in {ROWS_COUNTED} rows"
    used = {
        axis: np.count_nonzero(batch[FILLED[axis]], 1)
        for axis, size in stream.budgets.items()
        if FILLED[axis] in batch and batch[FILLED[axis]].shape[1] == size
    }
    for axis, filled in used.items():
        size = stream.budgets[axis]
        empty = 1 - np.mean(filled) / size
        yield f"    {axis + ' ' + AXES[axis]:<16}{size:>12}{empty:>10.2%}"
    yield from (f"    {line}" for line in padding.advice(design, stream, used))
    segments = [batch[FILLED[axis]] for axis in ("L", "M") if FILLED[axis] in batch]
    tokens = sum(np.count_nonzero(field) for field in segments)
    rows = next(phase.batch_size for phase in design.spec.phases if phase.seq_len == seq_len)
    slots = design.task.tokens_per_row(seq_len)
    examples = np.mean(np.max([field.max(1) for field in segments], 0))
    what, counted = (
        ("predictions", "weights") if "weights" in batch else ("labels", "label_weights")
    )
    predicted = np.count_nonzero(batch[counted]) / ROWS_COUNTED
    yield (
        f"    a row has {examples:.2f} examples and {predicted:.1f} {what}; a batch of "
        f"{rows} rows has {round(tokens / ROWS_COUNTED * rows)} tokens in {rows * slots} slots"
    )


def select_rows(stream: Stream) -> Sequence[int]:
    """The first rows, or the first row of each member of a mixture."""
    if len(stream.members) == 1:
        return range(ROWS_SHOWN)
    first: dict[int, int] = {}
    for row in range(ROWS_SEARCHED):
        first.setdefault(stream.member_of(row)[0], row)
    return sorted(first.values())


# --- one row --------------------------------------------------------------------------------------


def format_row(row: Batch, tokenizer: Tokenizer, in_place: bool) -> Iterator[str]:
    """The first examples of a packed row (fields without the batch axis).

    in_place: a target is the original of the token at its own position (full attention), not the
    next token.
    """
    last = max(int(row[name].max()) for name in ("segments", "memory_segments") if name in row)
    for segment in range(1, min(last, EXAMPLES_SHOWN) + 1):
        yield f"  example {segment} of {last}"
        if "memory_tokens" in row:
            memory = row["memory_tokens"][row["memory_segments"] == segment]
            yield from format_entry("memory", render_tokens(tokenizer, memory))
        yield from format_stream(row, tokenizer, segment, in_place)
        yield from format_labels(row, tokenizer, segment)


def format_stream(row: Batch, tokenizer: Tokenizer, segment: int, in_place: bool) -> Iterator[str]:
    """Inputs and targets of the stream in one example."""
    slots = np.flatnonzero(row["segments"] == segment)
    tokens, first = row["tokens"][slots], slots[0]
    if "weights" not in row:  # labels alone
        yield from format_entry("reads", render_tokens(tokenizer, tokens))
        yield from format_types(row, slots)
        return
    answers = prediction_indices(row, segment)
    at = row["predict_at"][answers] if "predict_at" in row else answers
    targets = row["targets"][answers]
    if in_place:
        predicted = dict(zip((at - first).tolist(), targets.tolist(), strict=True))
        yield from format_entry("reads", render_tokens(tokenizer, tokens, predicted))
    elif "prefix" in row:
        in_prefix = row["prefix"][slots]
        yield from format_entry("prefix", render_tokens(tokenizer, tokens[in_prefix]))
        yield from format_entry("then reads", render_tokens(tokenizer, tokens[~in_prefix]))
    else:
        yield from format_entry("reads", render_tokens(tokenizer, tokens))
    if not in_place:
        runs = np.split(targets, np.flatnonzero(np.diff(at) != 1) + 1)
        texts = (render_tokens(tokenizer, run) for run in runs)
        yield from format_entry("predicts", " ... ".join(texts))
    yield from format_types(row, slots)
    yield from format_other_answers(row, tokenizer, answers)


def format_types(row: Batch, slots: np.ndarray) -> Iterator[str]:
    """How many tokens of an example have each segment type."""
    if "types" in row:
        kinds, sizes = np.unique(row["types"][slots], return_counts=True)
        counts = (f"{size} tokens of type {kind}" for kind, size in zip(kinds, sizes, strict=True))
        yield from format_entry("types", ", ".join(counts))


def format_other_answers(row: Batch, tokenizer: Tokenizer, answers: np.ndarray) -> Iterator[str]:
    """Other answer fields of the first predictions: tokens at indices, numbers."""
    known = ("predict_at", "targets", "weights")
    others = [n for n in row if FIELDS[n].kind in (Kind.INDEX, Kind.TARGET) and n not in known]
    for k in answers[: PREDICTIONS_SHOWN if others else 0]:
        parts = []
        for name in others:
            value = row[name][k]
            is_index = FIELDS[name].kind is Kind.INDEX
            shown = render_token(tokenizer, row["tokens"][value]) if is_index else f"{value:g}"
            parts.append(f"{name} {shown}")
        target = render_token(tokenizer, row["targets"][k])
        yield from format_entry("with", f"{target}: {', '.join(parts)}")


def format_labels(row: Batch, tokenizer: Tokenizer, segment: int) -> Iterator[str]:
    """The labels of one example, and the tokens at which the model predicts them."""
    name = next((name for name in ("labels", "label_values") if name in row), None)
    if name is None or "example_at" not in row:
        return
    counted = np.flatnonzero(row["label_weights"])
    for k in counted[row["segments"][row["example_at"][counted]] == segment]:
        token = row["tokens"][row["example_at"][k]]
        yield from format_entry("label", f"{row[name][k]} at {render_token(tokenizer, token)}")


def prediction_indices(row: Batch, segment: int) -> np.ndarray:
    """Indices of an example's predictions among the answers of the row, int [n]."""
    answers = np.flatnonzero(row["weights"])
    at = row["predict_at"][answers] if "predict_at" in row else answers
    return answers[row["segments"][at] == segment]


# --- tokens as text -------------------------------------------------------------------------------


def render_tokens(
    tokenizer: Tokenizer, tokens: np.ndarray, predicted: Mapping[int, int] | None = None
) -> str:
    """Tokens int [n] as text; special ids are spelled out.

    predicted: {index: target}; such a token is written as {input→target}:

        [CLS] the {[MASK]→cat} sat on {dog→the} mat [SEP]
    """
    predicted = predicted or {}
    shown = tokens.copy()  # without noise, which would hide where words begin
    shown[list(predicted)] = list(predicted.values())
    special, starts = tokenizer.special[shown], tokenizer.word_starts[shown]
    alone = special.copy()
    alone[list(predicted)] = True
    edges = np.flatnonzero(alone[1:] | alone[:-1]) + 1
    text = ""
    for run in np.split(np.arange(len(tokens)), edges) if len(tokens) else ():
        k = int(run[0])
        piece = render_token(tokenizer, tokens[k]) if alone[k] else tokenizer.decode(tokens[run])
        if k in predicted:
            piece = f"{{{piece}→{render_token(tokenizer, predicted[k])}}}"
        if k and (starts[k] or special[k - 1]) and not piece[:1].isspace():
            text += " "
        text += piece
    return escape_control(text)


def render_token(tokenizer: Tokenizer, token: Any) -> str:
    """One id as text without leading space; spelled out if it is not printable text."""
    text = "" if tokenizer.special[token] else tokenizer.decode([token]).strip()
    return (
        text
        if text.isprintable() and text and "\ufffd" not in text
        else tokenizer.id_to_token(token)
    )


def escape_control(text: str) -> str:
    """Escapes newlines and other control characters as Python does, so that text stays on one line
    and cannot control the terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def format_entry(name: str, text: str) -> list[str]:
    """A named text, wrapped and indented, truncated at MAX_CHARACTERS."""
    if len(text) > MAX_CHARACTERS:
        text = f"{text[:MAX_CHARACTERS]} ... ({len(text) - MAX_CHARACTERS} more characters)"
    lead = f"    {name:<10} "
    below = " " * len(lead)
    return textwrap.wrap(text, WIDTH, initial_indent=lead, subsequent_indent=below) or [lead]
