"""The layouts of inputs and targets, the values of the objectives' option `inputs`.

    memory   an encoder reads the inputs, its decoder predicts the targets
    prefix   one stream, the inputs and then the targets; all inputs attend to all inputs
    stream   one stream with causal attention

They are the architectures of the T5 paper (arXiv 1910.10683, section 3.2): encoder-decoder, prefix
LM and LM. Each predicts the targets alone.
"""

import bisect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pretrain_jax import registry
from pretrain_jax.corruption import render
from pretrain_jax.errors import ConfigError
from pretrain_jax.ragged import Fields, Ragged
from pretrain_jax.rounding import round_up

LONGEST = 64
"""Most tokens of a text per token of seq_len; reached where 98 % of the text is noise."""


@dataclass(frozen=True)
class Layout:
    """One layout; `fields` and `attention` are those of its objective (Objective)."""

    fields: tuple[str, ...]
    attention: str
    special_tokens: tuple[str, ...] = ()
    """Special ids that the layout itself writes."""

    @property
    def one_stream(self) -> bool:
        """Whether inputs and targets share one stream: all layouts except "memory"."""
        return "memory_tokens" not in self.fields

    def lengths(self, inputs: Any, targets: Any, both: Any = None) -> dict[str, Any]:
        """Bounds of the axes from bounds of the inputs, of the targets and of their sum (`both`).

        512 inputs and 114 targets: {"M": 512, "L": 114}, or {"L": 625, "P": 114} in one stream: its
        last token is predicted but not read.
        """
        if self.one_stream:
            return {"L": (inputs + targets if both is None else both) - 1, "P": targets}
        return {"M": inputs, "L": targets}

    def write(self, inputs: Ragged, targets: Ragged, vocab: Any) -> Fields:
        """The fields of examples with these int32 inputs and targets. Decoders start with `pad`."""
        if self.one_stream:
            return render.as_stream(inputs, targets, prefix=self.attention == "prefix")
        return render.as_memory(inputs, targets, vocab.pad)

    def prompt(
        self, ids: np.ndarray, vocab: Any, begin: Sequence[int] = (), end: Sequence[int] = ()
    ) -> dict[str, np.ndarray]:
        """The fields of begin + ids + end as inputs without targets, for Objective.prompt."""
        inputs = np.array([*begin, *ids, *end], np.int32)
        if not self.one_stream:
            return {"memory_tokens": inputs, "tokens": np.array([vocab.pad], np.int32)}
        prefix = {"prefix": np.ones(len(inputs), bool)} if self.attention == "prefix" else {}
        return {"tokens": inputs, **prefix}

    def chunks(self, lengths: Callable[[Any], Mapping[str, Any]], **arrange: Any) -> dict[str, Any]:
        """The arguments of Objective that follow from the layout and lengths(n) (Objective.lengths)
        where raw examples are chunks of documents.

        A raw example is the longest text with no axis longer than seq_len. The longest axis of a
        row (an encoder's memory, or the one stream) gets seq_len. In one stream, the number of
        predictions is a multiple of 8.
        arrange: changes to Objective.arrange, whose defaults are chunks without overlap, begin or
        end token.
        """
        cut = {"overlap": 0, "begin": None, "end": None, **arrange}

        def raw_length(seq_len: int) -> int:
            texts = range(1, LONGEST * seq_len)
            longest = bisect.bisect_right(texts, seq_len, key=lambda n: max(lengths(n).values()))
            if longest < 1 + cut["overlap"]:
                raise ConfigError(
                    "data.seq_len must have room for one token of text and the tokens that the "
                    f"objective adds; received {seq_len}; make it longer"
                )
            return longest

        def budgets(seq_len: int) -> dict[str, int]:
            bounds = lengths(raw_length(seq_len))
            most = max(bounds.values())
            exact = {axis: seq_len if n == most else int(n) for axis, n in bounds.items()}
            return {axis: round_up(n, 8) if axis == "P" else n for axis, n in exact.items()}

        return {
            "fields": self.fields,
            "attention": self.attention,
            "arrangement": "chunks",
            "arrange": lambda seq_len: {"raw_length": raw_length(seq_len), **cut},
            "lengths": lengths,
            "budgets": budgets,
        }


PREDICTIONS = ("targets", "weights")
LAYOUTS = {
    "memory": Layout(("memory_tokens", "tokens", *PREDICTIONS), "causal", ("pad",)),
    "prefix": Layout(("tokens", "prefix", "predict_at", *PREDICTIONS), "prefix"),
    "stream": Layout(("tokens", "predict_at", *PREDICTIONS), "causal"),
}


def pick_layout(inputs: str) -> Layout:
    """The layout named `inputs`; raises ConfigError, with the three names, for any other name."""
    return registry.pick(LAYOUTS, inputs, "objective.inputs")


def mode_tokens(mode: int, vocab: Any) -> tuple[int, ...]:
    """The token that tells a model which denoiser produced its inputs (UL2, arXiv 2205.05131).

    () where mode is 0; otherwise the mode-th id from the end of the sentinels, so a tokenizer with
    enough sentinels serves every mixture of denoisers.
    """
    return (vocab.sentinels[-mode],) if mode else ()
