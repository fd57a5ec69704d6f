"""A look at what a run would train on, before anything is compiled or claimed.

What an objective does is read off the contract (batch.py): which fields there are, of which kinds,
and how the stream may look at itself. A new objective is shown without a line here.
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
"""Rows on the page; of a mixture, the first row of each member."""
EXAMPLES_SHOWN = 2
"""Examples of a row on the page."""
PREDICTIONS_SHOWN = 4
"""Predictions of an example whose other answers (span boundaries) are on the page."""
ROWS_COUNTED = 64
"""Rows whose padding is counted."""
ROWS_SEARCHED = 10_000
"""Rows among which the first row of each member of a mixture is looked for."""
WIDTH = 100
LONGEST = 500
"""Characters of a text on the page."""

USED = {"L": "segments", "M": "memory_segments", "P": "weights", "E": "label_weights"}
"""The field that is 0 in the padding of each axis."""
AXES = {"L": "stream", "M": "memory", "P": "predictions", "E": "labels"}


def page(feed: Feed) -> Iterator[str]:
    """The lines of the page."""
    design, tokenizer = feed.design, feed.tokenizer
    yield from about_tokenizer(design, tokenizer)
    lengths = list(dict.fromkeys(phase.seq_len for phase in design.spec.phases))
    if len(design.spec.phases) > 1:
        yield f"evaluations and samples have rows of seq_len={design.spec.phases.eval_seq_len}"
    for seq_len in lengths:
        stream = feed.stream("train", seq_len)
        yield from ("", *about_members(design, stream, seq_len))
        yield from about_slots(design, stream, seq_len)
    stream = feed.stream("train", lengths[0])
    for row in rows_to_show(stream):
        member, _ = stream.member_of(row)
        yield from ("", f"row {row}: {design.task.members[member]}")
        batch = stream.batch([row], design.spec.seed)
        one = {name: field[0] for name, field in batch.items()}
        yield from about_row(one, tokenizer, in_place=design.task.objective.attention == "full")


# --- the tables -----------------------------------------------------------------------------------


def about_tokenizer(design: Design, tokenizer: Tokenizer) -> Iterator[str]:
    """Ids, special ids and sentinels, beside what the objectives need."""
    section = design.spec.tokenizer
    origin = section.path or "trained on the run's own corpus"
    yield f"tokenizer  {section.name}, {tokenizer.size} ids, {origin}"
    named = [
        f'{name} {i} "{tokenizer.id_to_token(i)}"' for name, i in tokenizer.special_ids.items()
    ]
    objectives = [member.objective for member in design.task.members]
    needs = sorted({name for objective in objectives for name in objective.special_tokens})
    longest = max(design.spec.seq_lens)
    taken = max(objective.sentinels(longest) for objective in objectives)
    ids = tokenizer.sentinels
    ends = [
        f'{i} "{tokenizer.id_to_token(i)}"' for i in (ids if len(ids) < 3 else (ids[0], ids[-1]))
    ]
    yield from entry("special", ", ".join(named) or "none")
    yield from entry("sentinels", f"{len(ids)}: {' to '.join(ends)}" if ids else "none")
    needed = f"{', '.join(needs) or 'no special ids'}; {taken or 'no'} sentinels in an example"
    yield from entry("needed", needed)


def about_members(design: Design, stream: Stream, seq_len: int) -> Iterator[str]:
    """What each member of the mixture gives at a sequence length."""
    phases = [phase for phase in design.spec.phases if phase.seq_len == seq_len]
    rows = rows_at(design, seq_len)
    steps = ", ".join(f"{phase.first + 1} to {phase.last}" for phase in phases)
    key = "data.seq_len" if len(design.spec.phases) == 1 else f"updates {steps}, seq_len"
    yield f"data at {key}={seq_len}: {rows} rows in this run"
    yield "    share of rows   examples   rows an epoch   epochs in this run"
    total = sum(member.rate for member in stream.members)
    passes = epochs(design, stream, seq_len)
    for member, what, times in zip(stream.members, design.task.members, passes, strict=True):
        yield (
            f"{member.rate / total:17.1%}{len(member.examples):11}{len(member.rows):16}"
            f"{times:21.2f}   {what}"
        )


def rows_at(design: Design, seq_len: int) -> int:
    """Rows of this run that have so many tokens."""
    return sum(
        (phase.last - phase.first) * phase.batch_size
        for phase in design.spec.phases
        if phase.seq_len == seq_len
    )


def epochs(design: Design, stream: Stream, seq_len: int) -> list[float]:
    """How often this run passes over the rows of each member at a sequence length."""
    total = sum(member.rate for member in stream.members)
    rows = rows_at(design, seq_len) / total
    return [rows * member.rate / len(member.rows) for member in stream.members]


def about_slots(design: Design, stream: Stream, seq_len: int) -> Iterator[str]:
    """How much of a row is padding, and how much of it is predicted."""
    batch = stream.batch(range(ROWS_COUNTED), design.spec.seed)
    yield f"    {'axis':<16}{'slots a row':>12}{'padding':>10}   in {ROWS_COUNTED} rows"
    used = {
        axis: np.count_nonzero(batch[USED[axis]], 1)
        for axis, size in stream.budgets.items()
        if USED[axis] in batch and batch[USED[axis]].shape[1] == size
    }
    for axis, filled in used.items():
        size = stream.budgets[axis]
        empty = 1 - np.mean(filled) / size
        yield f"    {axis + ' ' + AXES[axis]:<16}{size:>12}{empty:>10.2%}"
    yield from (f"    {line}" for line in padding.advice(design, stream, used))
    real = sum(np.count_nonzero(batch[USED[axis]]) for axis in ("L", "M") if USED[axis] in batch)
    rows = next(phase.batch_size for phase in design.spec.phases if phase.seq_len == seq_len)
    slots = design.task.tokens_per_row(seq_len)
    examples = np.mean(np.max([batch[USED[a]].max(1) for a in ("L", "M") if USED[a] in batch], 0))
    predicted = np.count_nonzero(batch["weights"]) / ROWS_COUNTED
    yield (
        f"    a row holds {examples:.2f} examples and {predicted:.1f} predictions; a batch of "
        f"{rows} rows holds {round(real / ROWS_COUNTED * rows)} tokens in {rows * slots} slots"
    )


def rows_to_show(stream: Stream) -> Sequence[int]:
    """The first rows, or the first row of each member of a mixture."""
    if len(stream.members) == 1:
        return range(ROWS_SHOWN)
    first: dict[int, int] = {}
    for row in range(ROWS_SEARCHED):
        first.setdefault(stream.member_of(row)[0], row)
    return sorted(first.values())


# --- one row --------------------------------------------------------------------------------------


def about_row(row: Batch, tokenizer: Tokenizer, in_place: bool) -> Iterator[str]:
    """The first examples of a packed row; a row has no batch axis.

    in_place: whether a target stands for the token at its own place (the stream sees all of
    itself), rather than for the next one.
    """
    last = max(int(row[name].max()) for name in ("segments", "memory_segments") if name in row)
    for segment in range(1, min(last, EXAMPLES_SHOWN) + 1):
        yield f"  example {segment} of {last}"
        if "memory_tokens" in row:
            memory = row["memory_tokens"][row["memory_segments"] == segment]
            yield from entry("memory", written(tokenizer, memory))
        yield from about_stream(row, tokenizer, segment, in_place)
        yield from about_labels(row, tokenizer, segment)


def about_stream(row: Batch, tokenizer: Tokenizer, segment: int, in_place: bool) -> Iterator[str]:
    """What the stream reads and predicts in one example."""
    places = np.flatnonzero(row["segments"] == segment)
    tokens, first = row["tokens"][places], places[0]
    answers = answers_of(row, segment)
    at = row["predict_at"][answers] if "predict_at" in row else answers
    targets = row["targets"][answers]
    if in_place:
        predicted = dict(zip((at - first).tolist(), targets.tolist(), strict=True))
        yield from entry("reads", written(tokenizer, tokens, predicted))
    elif "prefix" in row:
        seen = row["prefix"][places]
        yield from entry("in view", written(tokenizer, tokens[seen]))
        yield from entry("reads on", written(tokenizer, tokens[~seen]))
    else:
        yield from entry("reads", written(tokenizer, tokens))
    if not in_place:
        runs = np.split(targets, np.flatnonzero(np.diff(at) != 1) + 1)
        yield from entry("predicts", " ... ".join(written(tokenizer, run) for run in runs))
    if "types" in row:
        kinds, sizes = np.unique(row["types"][places], return_counts=True)
        told = (f"{size} tokens of type {kind}" for kind, size in zip(kinds, sizes, strict=True))
        yield from entry("types", ", ".join(told))
    yield from about_answers(row, tokenizer, answers)


def about_answers(row: Batch, tokenizer: Tokenizer, answers: np.ndarray) -> Iterator[str]:
    """What else belongs to the first predictions: tokens at other places, numbers."""
    known = ("predict_at", "targets", "weights")
    others = [n for n in row if FIELDS[n].kind in (Kind.INDEX, Kind.TARGET) and n not in known]
    for k in answers[: PREDICTIONS_SHOWN if others else 0]:
        told = []
        for name in others:
            value = row[name][k]
            at_place = FIELDS[name].kind is Kind.INDEX
            shown = word(tokenizer, row["tokens"][value]) if at_place else f"{value:g}"
            told.append(f"{name} {shown}")
        yield from entry("with", f"{word(tokenizer, row['targets'][k])}: {', '.join(told)}")


def about_labels(row: Batch, tokenizer: Tokenizer, segment: int) -> Iterator[str]:
    """The labels of one example, and where they are read."""
    if "labels" not in row:
        return
    counted = np.flatnonzero(row["label_weights"])
    for k in counted[row["segments"][row["example_at"][counted]] == segment]:
        token = row["tokens"][row["example_at"][k]]
        yield from entry("label", f"{row['labels'][k]} at {word(tokenizer, token)}")


def answers_of(row: Batch, segment: int) -> np.ndarray:
    """Indices of an example's predictions among the answers of its row."""
    answers = np.flatnonzero(row["weights"])
    at = row["predict_at"][answers] if "predict_at" in row else answers
    return answers[row["segments"][at] == segment]


# --- tokens as text -------------------------------------------------------------------------------


def written(
    tokenizer: Tokenizer, tokens: np.ndarray, predicted: Mapping[int, int] | None = None
) -> str:
    """Tokens [n] as text, special ids spelled.

    predicted: place -> target; the place is written {what is read→what should be predicted}:

        [CLS] the {[MASK]→cat} sat on {dog→the} mat [SEP]
    """
    predicted = predicted or {}
    shown = tokens.copy()  # as if there were no noise, which says where words begin
    shown[list(predicted)] = list(predicted.values())
    special, starts = tokenizer.special[shown], tokenizer.word_starts[shown]
    alone = special.copy()
    alone[list(predicted)] = True
    edges = np.flatnonzero(alone[1:] | alone[:-1]) + 1
    text = ""
    for run in np.split(np.arange(len(tokens)), edges) if len(tokens) else ():
        k = int(run[0])
        piece = word(tokenizer, tokens[k]) if alone[k] else tokenizer.decode(tokens[run])
        if k in predicted:
            piece = f"{{{piece}→{word(tokenizer, predicted[k])}}}"
        if k and (starts[k] or special[k - 1]) and not piece[:1].isspace():
            text += " "
        text += piece
    return printable(text)


def word(tokenizer: Tokenizer, token: Any) -> str:
    """One id as text without the space before it; spelled where that is no text."""
    text = "" if tokenizer.special[token] else tokenizer.decode([token]).strip()
    return (
        text
        if text.isprintable() and text and "\ufffd" not in text
        else tokenizer.id_to_token(token)
    )


def printable(text: str) -> str:
    """Line ends and other control characters as they are written in Python: one line, no surprises
    for the terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def entry(name: str, text: str) -> list[str]:
    """A line of the page, wrapped below itself and cut where it grows too long."""
    if len(text) > LONGEST:
        text = f"{text[:LONGEST]} ... ({len(text) - LONGEST} more characters)"
    lead = f"    {name:<10} "
    below = " " * len(lead)
    return textwrap.wrap(text, WIDTH, initial_indent=lead, subsequent_indent=below) or [lead]
