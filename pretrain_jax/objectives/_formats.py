"""How one or two texts become the stream that a finetuned model reads: the published formats.

    bert      [CLS] a [SEP], [CLS] a [SEP] b [SEP] with types 0 and 1 (Devlin et al. 2019, figure 4)
    roberta   <s> a </s>, <s> a </s> </s> b </s> (Liu et al. 2019; fairseq)
    gpt       [START] a [EXTRACT], [START] a [DELIM] b [EXTRACT] (Radford et al. 2018, figure 1)
    t5        a </s>, a </s> b </s>; the encoder reads it, and the decoder reads it once more after
              the id of padding (T5ForSequenceClassification of transformers)
    t5_encoder   the same texts; there is no decoder

A label is predicted from the first token of bert and roberta. The others have no special id there:
it is predicted from the last token, the only one of a causal stream that has read everything.
[START], [DELIM] and [EXTRACT] are the special ids bos, sep and cls.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pretrain_jax import registry
from pretrain_jax.corruption import render
from pretrain_jax.ragged import Fields, Ragged, RowSplits, concatenate_rows, wrap


@dataclass(frozen=True)
class Format:
    """One format. The texts are framed by special ids, named as in Tokenizer.special_ids."""

    attention: str
    before: tuple[str, ...]
    between: tuple[str, ...]
    after: tuple[str, ...]
    types: bool = False
    """Whether the second text, with the ids after it, has segment type 1."""
    memory: bool = False
    """Whether an encoder reads the stream, and a decoder once more."""

    def fields(self, texts: int) -> tuple[str, ...]:
        """The fields of `write`."""
        memory = ("memory_tokens",) if self.memory else ()
        return ("tokens", *memory, *(("types",) if self.types and texts > 1 else ()))

    @property
    def special_tokens(self) -> tuple[str, ...]:
        """The special ids that the tokenizer must have."""
        start = ("pad",) if self.memory else ()
        return tuple(dict.fromkeys((*start, *self.before, *self.between, *self.after)))

    @property
    def is_causal(self) -> bool:
        """Whether a token has read only those before it."""
        return self.attention == "causal"

    @property
    def reads_last(self) -> bool:
        """Whether a label is predicted from the last token; otherwise from the first."""
        return self.is_causal or not self.before

    def specials(self, texts: int) -> int:
        """The number of special ids in a stream of one or two texts."""
        return len(self.before) + len(self.after) + len(self.between) * (texts - 1)

    def lengths(self, tokens: Any) -> dict[str, Any]:
        """The axes of a stream of `tokens` tokens."""
        return {"L": tokens, "M": tokens} if self.memory else {"L": tokens}

    def write(self, first: Ragged, second: Ragged | None, vocab: Any) -> Fields:
        """The fields of examples, from the ids of their texts."""
        ids = vocab.special_ids
        before, between, after = (
            [ids[name] for name in names] for names in (self.before, self.between, self.after)
        )
        if second is None:
            stream = wrap(first, before, after)
            types = np.zeros(stream.splits.total, np.int32)
        else:
            head, tail = wrap(first, before, between), wrap(second, (), after)
            stream = concatenate_rows(head, tail)
            splits = stream.splits
            types = (splits.offsets >= splits.broadcast(head.splits.sizes)).astype(np.int32)
        fields = {"tokens": stream}
        if self.memory:
            fields = {"memory_tokens": stream, "tokens": render.shift_right(stream, vocab.pad)}
        if "types" in self.fields(1 if second is None else 2):
            fields["types"] = Ragged(types, stream.splits)
        return fields

    def label_at(self, stream: RowSplits) -> np.ndarray:
        """int32 [E]: the position in each example from which its label is predicted."""
        at = stream.sizes - 1 if self.reads_last else np.zeros_like(stream.sizes)
        return at.astype(np.int32)


FORMATS = {
    "bert": Format("full", ("cls",), ("sep",), ("sep",), types=True),
    "roberta": Format("full", ("cls",), ("sep", "sep"), ("sep",)),
    "gpt": Format("causal", ("bos",), ("sep",), ("cls",)),
    "t5": Format("causal", (), ("eos",), ("eos",), memory=True),
    "t5_encoder": Format("full", (), ("eos",), ("eos",)),
}


def pick_format(model: Any) -> Format:
    """The format of an architecture (models/_base.py); raises ConfigError for an unknown one."""
    return registry.pick(FORMATS, model.task_format, f"TASK_FORMAT in models/{model.name}.py")


def one_each(values: Sequence[Any] | np.ndarray, dtype: Any = np.int32) -> Ragged:
    """One value per example.

    >>> one_each([3, 4]).splits.sizes
    array([1, 1])
    """
    array = np.asarray(values, dtype)
    return Ragged(array, RowSplits(np.ones(len(array), np.int64)))
