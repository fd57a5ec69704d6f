"""The forms in which a model gets inputs and targets: what the option `inputs` of objectives names.

    memory   an encoder reads the inputs, its decoder predicts the targets
    prefix   one stream, the targets behind the inputs; the inputs see one another in full
    stream   one stream, read from left to right

They are the shapes of the T5 paper (arXiv 1910.10683, section 3.2): encoder-decoder, prefix LM and
LM. Only the targets are predicted in each of them.
"""

import bisect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pretrain_jax import registry
from pretrain_jax.corruption import render
from pretrain_jax.errors import ConfigError
from pretrain_jax.ragged import Fields, Ragged

MODES = 16
"""Mode tokens at most; UL2 has three."""
LONGEST = 64
"""A text has at most so many tokens for each of seq_len: reached where 98 % of it is noise."""


@dataclass(frozen=True)
class Form:
    """One form; `fields` and `attention` are those of an objective that has it."""

    fields: tuple[str, ...]
    attention: str
    needs: tuple[str, ...] = ()
    """Special ids that the form itself writes."""

    @property
    def one_stream(self) -> bool:
        return "memory_tokens" not in self.fields

    def lengths(self, inputs: Any, targets: Any, both: Any = None) -> dict[str, Any]:
        """Bounds of the axes from bounds of the inputs, the targets and both together.

        512 inputs and 114 targets: {"M": 512, "L": 114}, or {"L": 625, "P": 114} in one stream,
        whose last token is predicted and never read.
        """
        if self.one_stream:
            return {"L": (inputs + targets if both is None else both) - 1, "P": targets}
        return {"M": inputs, "L": targets}

    def write(self, inputs: Ragged, targets: Ragged, vocab: Any) -> Fields:
        """The fields of examples, of int32 inputs and targets; decoders start with `pad`."""
        if self.one_stream:
            return render.as_stream(inputs, targets, prefix=self.attention == "prefix")
        return render.as_memory(inputs, targets, vocab.pad)

    def chunks(self, lengths: Callable[[Any], Mapping[str, Any]], **arrange: Any) -> dict[str, Any]:
        """What an objective over chunks of documents has from its form and its lengths.

        A raw example is the longest text of which no axis is longer than seq_len, and a row has
        seq_len of the longest axis: an encoder's 512, or the one stream's. Predictions of one
        stream are a multiple of 8. arrange: how documents are cut (Objective.arrange), where that
        is not one chunk after another with nothing added.
        """
        cut = {"overlap": 0, "begin": None, "end": None, **arrange}

        def raw_length(seq_len: int) -> int:
            texts = range(1, LONGEST * seq_len)
            found = bisect.bisect_right(texts, seq_len, key=lambda n: max(lengths(n).values()))
            if found < 1 + cut["overlap"]:
                raise ConfigError(
                    "data.seq_len must have room for one token with what the objective puts around "
                    f"it; received {seq_len}; make it longer"
                )
            return found

        def budgets(seq_len: int) -> dict[str, int]:
            bounds = lengths(raw_length(seq_len))
            most = max(bounds.values())
            whole = {axis: seq_len if n == most else int(n) for axis, n in bounds.items()}
            return {axis: -(-n // 8) * 8 if axis == "P" else n for axis, n in whole.items()}

        return {
            "fields": self.fields,
            "attention": self.attention,
            "arrangement": "chunks",
            "arrange": lambda seq_len: {"raw_length": raw_length(seq_len), **cut},
            "lengths": lengths,
            "budgets": budgets,
        }


ANSWERS = ("targets", "weights")
FORMS = {
    "memory": Form(("memory_tokens", "tokens", *ANSWERS), "causal", ("pad",)),
    "prefix": Form(("tokens", "prefix", "predict_at", *ANSWERS), "prefix"),
    "stream": Form(("tokens", "predict_at", *ANSWERS), "causal"),
}


def form(inputs: str) -> Form:
    """The form called `inputs`; raises ConfigError, naming the three, when there is none."""
    return registry.pick(FORMS, inputs, "objective.inputs")


def mode_tokens(mode: int, vocab: Any) -> tuple[int, ...]:
    """The token that tells a model which denoiser it is at work for (UL2, arXiv 2205.05131).

    None where mode is 0, else the mode-th id from the end of the sentinels, so that a tokenizer
    with enough sentinels serves any mixture of denoisers.
    """
    return (vocab.sentinels[-mode],) if mode else ()


def check_mode(mode: int) -> None:
    """Raises ConfigError unless a mode is 0, for none, or a small number."""
    if not 0 <= mode <= MODES:
        raise ConfigError(
            "objective.mode must be 0 (no mode token) or the number of one, from 1 to "
            f"{MODES}, for each kind of denoiser in a mixture; received {mode}"
        )


def check_rate(rate: float, most: float = 1.0) -> None:
    """Raises ConfigError unless a share of the text lies above 0 and below 1 (or up to `most`)."""
    if not 0 < rate <= most or rate == 1:
        bound = "below 1" if most == 1 else f"at most {most}"
        raise ConfigError(
            "objective.rate, the share of the text that is predicted, must lie above 0 and be "
            f"{bound}; received {rate}"
        )
