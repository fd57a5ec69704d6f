"""A preview of what a run would train on, before anything is compiled or claimed.

It follows from the batch contract (batch.py): the fields, their kinds, and the attention of the
stream. So it shows new objectives without a change here.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from pretrain_jax.batch import FIELDS, Kind
from pretrain_jax.composition import init_from
from pretrain_jax.composition.build import Design
from pretrain_jax.composition.feed import Feed
from pretrain_jax.data.pipeline import Batch, Stream
from pretrain_jax.planning import padding
from pretrain_jax.planning.rendering import format_entry, render_token, render_tokens
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
FILLED = {"L": "segments", "M": "memory_segments", "P": "weights", "E": "label_weights"}
"""For each axis, the field that is 0 in padding."""
LABELS = (
    ("label", "labels", "example_at", "label_weights"),
    ("label", "label_values", "example_at", "label_weights"),
    ("label", "targets", "predict_at", "weights"),
    ("answer", "end_at", "start_at", "label_weights"),
)
"""How labels are shown: as what; the fields of their values, their places and their weights."""
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
        objective = design.task.objective
        how = {"in_place": objective.attention == "full", "read_out": objective.predicts_tokens}
        classes = (objective.example_task and objective.example_task.labels) or ()
        yield from format_row(one, tokenizer, **how, classes=classes)


# --- the tables -----------------------------------------------------------------------------------


def format_tokenizer(design: Design, tokenizer: Tokenizer) -> Iterator[str]:
    """The tokenizer's ids, special ids and sentinels, and the ones that the objectives need."""
    name = design.spec.tokenizer.name
    yield f"tokenizer  {name}, {tokenizer.size} ids, {tokenizer_origin(design)}"
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


def tokenizer_origin(design: Design) -> str:
    """Where the vocabulary comes from: a file, the run of `init_from`, or the corpus."""
    if init_from.inherits_tokenizer(design.spec):
        return f"that of {design.spec.init_from}"
    return design.spec.tokenizer.path or "trained on the run's own corpus"


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


def format_row(
    row: Batch,
    tokenizer: Tokenizer,
    in_place: bool,
    read_out: bool = True,
    classes: Sequence[str] = (),
) -> Iterator[str]:
    """The first examples of a packed row (fields without the batch axis).

    in_place: a target is the original of the token at its own position (full attention), not the
    next token. read_out: targets are tokens, not labels. classes: the names of labels.
    """
    last = max(int(row[name].max()) for name in ("segments", "memory_segments") if name in row)
    for segment in range(1, min(last, EXAMPLES_SHOWN) + 1):
        yield f"  example {segment} of {last}"
        if "memory_tokens" in row:
            memory = row["memory_tokens"][row["memory_segments"] == segment]
            yield from format_entry("memory", render_tokens(tokenizer, memory))
        if read_out:
            yield from format_stream(row, tokenizer, segment, in_place)
        else:
            slots = np.flatnonzero(row["segments"] == segment)
            yield from format_entry("reads", render_tokens(tokenizer, row["tokens"][slots]))
            yield from format_types(row, slots)
        yield from format_labels(row, tokenizer, segment, read_out, classes)


def format_stream(row: Batch, tokenizer: Tokenizer, segment: int, in_place: bool) -> Iterator[str]:
    """Inputs and targets of the stream in one example."""
    slots = np.flatnonzero(row["segments"] == segment)
    tokens, first = row["tokens"][slots], slots[0]
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


def format_labels(
    row: Batch, tokenizer: Tokenizer, segment: int, read_out: bool, classes: Sequence[str] = ()
) -> Iterator[str]:
    """The labels of one example, and the tokens at which the model predicts them."""
    for name, value, at, weight in LABELS:
        if {value, at} <= row.keys() and not (read_out and value == "targets"):
            counted = np.flatnonzero(row[weight])
            counted = counted[row["segments"][row[at][counted]] == segment]
            tokens = [render_token(tokenizer, row["tokens"][i]) for i in row[at][counted]]
            if value == "end_at":
                ends = zip(row[at][counted], row[value][counted] + 1, strict=True)
                shown = [render_tokens(tokenizer, row["tokens"][a:b]) for a, b in ends]
            else:
                pairs = zip(row[value][counted], tokens, strict=True)
                shown = [f"{classes[n] if classes else n} at {token}" for n, token in pairs]
            yield from format_entry(name, ", ".join(shown)) if shown else ()


def prediction_indices(row: Batch, segment: int) -> np.ndarray:
    """Indices of an example's predictions among the answers of the row, int [n]."""
    answers = np.flatnonzero(row["weights"])
    at = row["predict_at"][answers] if "predict_at" in row else answers
    return answers[row["segments"][at] == segment]
