"""What the objectives with a label for each example share.

The label of an example is predicted from one position of its stream (_formats.py), which
`example_at` [B, E] names. `labels` [B, E] has its value, and `label_weights` whether there is one.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from pretrain_jax.batch import FIELDS
from pretrain_jax.errors import ConfigError
from pretrain_jax.layers.factories import factory
from pretrain_jax.layers.heads import PooledClassifier
from pretrain_jax.layers.initializers import TruncatedNormal
from pretrain_jax.objectives._base import ExampleTask
from pretrain_jax.objectives._cut_texts import warn_of_cut_texts
from pretrain_jax.objectives._formats import Format, one_each
from pretrain_jax.ragged import Fields, Ragged, RowSplits, concatenate_rows
from pretrain_jax.rounding import ceil_div

TOKENS_PER_EXAMPLE = 8
"""By default, a row has room for one example per 8 of its tokens: 16 in 128."""


@dataclass(frozen=True)
class Sizes:
    """Sizes of examples and rows.

    texts       texts of a sequence, 1 or 2
    per_row     most examples of a row; 0 = one per TOKENS_PER_EXAMPLE tokens
    sequences   sequences of an example, of equal length
    """

    format: Format
    texts: int
    per_row: int
    sequences: int = 1

    def room(self, seq_len: int) -> int:
        """Tokens of text in a sequence; raises ConfigError for rows without room."""
        specials = self.format.specials(self.texts)
        if seq_len // self.sequences <= specials:
            least = self.sequences * (specials + 1)
            each = f" for each of {self.sequences} sequences" if self.sequences > 1 else ""
            raise ConfigError(
                f"data.seq_len must have room for {specials} special tokens and one of text{each}; "
                f"received {seq_len}; make it {least} or more"
            )
        return seq_len // self.sequences - specials

    def lengths(self, n: Any) -> dict[str, Any]:
        """Objective.lengths: n is int [..., texts], the tokens of each text."""
        tokens = np.asarray(n).sum(-1) + self.format.specials(self.texts)
        return {**self.format.lengths(self.sequences * tokens), "E": self.sequences}

    def budgets(self, seq_len: int) -> dict[str, int]:
        """Objective.budgets."""
        examples = self.per_row or ceil_div(seq_len, TOKENS_PER_EXAMPLE * self.sequences)
        return {**self.format.lengths(seq_len), "E": examples * self.sequences}


def task_arguments(format: Format, task: ExampleTask) -> dict[str, Any]:
    """The arguments of Objective that all objectives with labels share."""
    return {
        "attention": format.attention,
        "baselines": (),
        "special_tokens": format.special_tokens,
        "annotation_kind": "records",
        "predicts_tokens": False,
        "example_task": task,
    }


def objective_arguments(
    format: Format,
    texts: int,
    per_row: int,
    task: ExampleTask,
    labels: str = "labels",
    symmetric: bool = False,
    predicts_tokens: bool = False,
) -> dict[str, Any]:
    """The arguments of Objective that follow from the format of the examples.

    labels: the field of the labels, "labels" or "label_values". symmetric: whether a pair is read
    in both orders. predicts_tokens: whether the stream is also a language model's.
    """
    check_format(format, texts, symmetric, predicts_tokens)
    sizes = Sizes(format, texts or 1, per_row, sequences=2 if symmetric else 1)
    shifted = ("targets", "weights") if predicts_tokens else ()
    return {
        **task_arguments(format, task),
        "fields": (*format.fields(sizes.texts), *shifted, "example_at", labels, "label_weights"),
        "arrangement": "records",
        "arrange": lambda seq_len: {
            "tokens": sizes.room(seq_len),
            "texts": sizes.texts,
            "read_labels": task.read_labels,
        },
        "lengths": sizes.lengths,
        "budgets": sizes.budgets,
        "corrupt": partial(
            corrupt,
            format=format,
            labels=labels,
            symmetric=symmetric,
            predicts_tokens=predicts_tokens,
        ),
        "sequences": sizes.sequences,
        "predicts_tokens": predicts_tokens,
        "data_warning": warn_of_cut_texts,
    }


def check_format(format: Format, texts: int, symmetric: bool, predicts_tokens: bool) -> None:
    """Raises ConfigError for options that the format or the number of texts does not fit."""
    if symmetric and texts == 1:
        raise ConfigError(
            "objective.symmetric reads the two texts of a pair in both orders; the records have "
            "one text. Set it to False, or name two columns with data.fields"
        )
    if predicts_tokens and (format.attention != "causal" or format.memory):
        raise ConfigError(
            "objective.lm_weight adds the loss of a causal language model, so it is for decoders; "
            "set it to 0"
        )


def head(name: str, model: Any, outputs: int, dropout: float, sequences: int = 1) -> dict[str, Any]:
    """The arguments of Objective for a head: the pooler of the architecture, if it has one, and a
    map to `outputs` numbers.

    sequences: sequences of an example, whose hidden states are added.

    Initialised from a truncated N(0, 0.02^2), as in google-research/bert run_classifier.py. A BERT
    that was pretrained with next sentences lends its pooler.
    """
    classifier = factory(
        PooledClassifier,
        classes=outputs,
        kernel_init=TruncatedNormal(0.02),
        activation=model.pooler,
        dropout=dropout,
        sequences=sequences,
    )
    borrows = {f"{name}/pooler": "next_sentence/pooler"}
    return {"heads": ((name, classifier),), "borrows": borrows}


def corrupt(
    examples: Fields,
    uniform: Any,
    vocab: Any,
    *,
    format: Format,
    labels: str,
    symmetric: bool = False,
    predicts_tokens: bool = False,
) -> Fields:
    """{"first": texts, "second": texts of pairs, "labels": one number or none each} -> the fields
    of the format, and those of labels. Nothing is drawn."""
    del uniform
    first, second = examples["first"], examples.get("second")
    if symmetric and second is not None:
        first, second = interleave(first, second), interleave(second, first)
    fields = format.write(first, second, vocab)
    stream = fields["tokens"]
    if predicts_tokens:
        fields = {**fields, **next_tokens(stream)}
    return {
        **fields,
        "example_at": one_each(format.label_at(stream.splits)),
        **label_fields(examples["labels"], labels, 2 if symmetric else 1),
    }


def interleave(first: Ragged, second: Ragged) -> Ragged:
    """The rows of both in turn.

    >>> interleave(Ragged.concatenate([[5], [6]]), Ragged.concatenate([[7], [8]])).values
    array([5, 7, 6, 8], dtype=int32)
    """
    joined = concatenate_rows(first, second)
    sizes = np.stack([first.splits.sizes, second.splits.sizes], 1).ravel()
    return Ragged(joined.values, RowSplits(sizes))


def next_tokens(stream: Ragged) -> Fields:
    """The token after each one, and weights; the last token of a row predicts nothing.

    >>> next_tokens(Ragged.concatenate([[5, 6, 7]]))["targets"].values
    array([6, 7, 0], dtype=int32)
    """
    splits = stream.splits
    targets, weights = np.zeros_like(stream.values), np.ones(splits.total, np.float32)
    targets[:-1] = stream.values[1:]
    last = (splits.starts + splits.sizes - 1)[splits.sizes > 0]
    targets[last], weights[last] = 0, 0
    return {"targets": Ragged(targets, splits), "weights": Ragged(weights, splits)}


def label_fields(given: Ragged, labels: str, sequences: int = 1) -> Fields:
    """The labels and their weights, in the first of the entries of an example; an example without a
    label has 0 and weight 0."""
    known = np.zeros(len(given.splits) * sequences, np.bool_)
    known[::sequences] = given.splits.sizes > 0
    values = np.zeros(len(known), FIELDS[labels].dtype)
    values[known] = given.values
    return {
        labels: one_each(values, values.dtype),
        "label_weights": one_each(known, np.float32),
    }


def read_each(read: Callable[[str], Any], dtype: type, labels: list[str | None]) -> Ragged:
    """One number per record, and none where there is no label."""
    values = [read(label) for label in labels if label is not None]
    sizes = [label is not None for label in labels]
    return Ragged(np.asarray(values, dtype), RowSplits(sizes))
