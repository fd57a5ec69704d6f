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
from pretrain_jax.objectives._formats import Format, one_each
from pretrain_jax.ragged import Fields, Ragged, RowSplits
from pretrain_jax.rounding import ceil_div

TOKENS_PER_EXAMPLE = 8
"""By default, a row has room for one example per 8 of its tokens: 16 in 128."""


@dataclass(frozen=True)
class Sizes:
    """Sizes of examples and rows.

    texts     texts of a record, 1 or 2
    per_row   most examples of a row; 0 = one per TOKENS_PER_EXAMPLE tokens
    """

    format: Format
    texts: int
    per_row: int

    def room(self, seq_len: int) -> int:
        """Tokens of text in an example; raises ConfigError for rows without room."""
        specials = self.format.specials(self.texts)
        if seq_len <= specials:
            raise ConfigError(
                f"data.seq_len must have room for {specials} special tokens and one of text; "
                f"received {seq_len}; make it {specials + 1} or more"
            )
        return seq_len - specials

    def lengths(self, n: Any) -> dict[str, Any]:
        """Objective.lengths: n is int [..., texts], the tokens of each text."""
        tokens = np.asarray(n).sum(-1) + self.format.specials(self.texts)
        return {**self.format.lengths(tokens), "E": 1}

    def budgets(self, seq_len: int) -> dict[str, int]:
        """Objective.budgets."""
        examples = self.per_row or ceil_div(seq_len, TOKENS_PER_EXAMPLE)
        return {**self.format.lengths(seq_len), "E": examples}


def objective_arguments(
    format: Format, texts: int, per_row: int, task: ExampleTask, labels: str = "labels"
) -> dict[str, Any]:
    """The arguments of Objective that follow from the format of the examples.

    labels: the field of the labels, "labels" or "label_values".
    """
    sizes = Sizes(format, texts or 1, per_row)
    return {
        "fields": (*format.fields(sizes.texts), "example_at", labels, "label_weights"),
        "attention": format.attention,
        "arrangement": "records",
        "arrange": lambda seq_len: {
            "tokens": sizes.room(seq_len),
            "texts": sizes.texts,
            "read_labels": task.read_labels,
        },
        "lengths": sizes.lengths,
        "budgets": sizes.budgets,
        "corrupt": partial(corrupt, format=format, labels=labels),
        "baselines": (),
        "special_tokens": format.special_tokens,
        "annotation_kind": "records",
        "predicts_tokens": False,
        "example_task": task,
    }


def head(name: str, model: Any, outputs: int, dropout: float) -> dict[str, Any]:
    """The arguments of Objective for a head: the pooler of the architecture, if it has one, and a
    map to `outputs` numbers.

    Initialised from a truncated N(0, 0.02^2), as in google-research/bert run_classifier.py. A BERT
    that was pretrained with next sentences lends its pooler.
    """
    classifier = factory(
        PooledClassifier,
        classes=outputs,
        kernel_init=TruncatedNormal(0.02),
        activation=model.pooler,
        dropout=dropout,
    )
    borrows = {f"{name}/pooler": "next_sentence/pooler"}
    return {"heads": ((name, classifier),), "borrows": borrows}


def corrupt(examples: Fields, uniform: Any, vocab: Any, *, format: Format, labels: str) -> Fields:
    """{"first": texts, "second": texts of pairs, "labels": one number or none each} -> the fields
    of the format, and those of labels. Nothing is drawn."""
    del uniform
    fields = format.write(examples["first"], examples.get("second"), vocab)
    at = format.label_at(fields["tokens"].splits)
    return {**fields, "example_at": one_each(at), **label_fields(examples["labels"], labels)}


def label_fields(given: Ragged, labels: str) -> Fields:
    """The labels and their weights; an example without a label has 0 and weight 0."""
    known = given.splits.sizes > 0
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
