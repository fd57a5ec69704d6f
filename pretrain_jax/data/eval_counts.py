"""Counts the tokens and bytes of text that an evaluation scores."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from pretrain_jax.batch import is_text


@dataclass
class EvalCounts:
    """Counts over the targets with weight above 0 in one evaluation pass.

    A space that a tokenizer adds before every text is not part of the text. It is not counted if
    the objective puts a begin or end id before the text. Otherwise a batch does not show where a
    text starts, and the space is counted.
    """

    tokens: int = 0
    """Text tokens; `valid/loss` is the mean over them."""
    bytes: int = 0
    """UTF-8 bytes of these tokens."""
    unknown: int = 0
    """Unknown tokens. Their text is lost, and they are not scored."""

    @property
    def unknown_share(self) -> float:
        """The share of unknown tokens among all targets that stand for text.

        1 unknown token and 3 text tokens: 0.25.
        """
        return self.unknown / max(self.tokens + self.unknown, 1)

    def count(
        self,
        batches: Iterable[Mapping[str, np.ndarray]],
        tokenizer: Any,
        ends: Iterable[int | None],
    ) -> Iterator[Mapping[str, np.ndarray]]:
        """Yields the batches unchanged and counts them.

        ends: ids that the objective puts before and after a text.
        """
        edges = [token for token in ends if token is not None]
        for batch in batches:
            text, targets = is_text(batch, tokenizer.unscored), batch["targets"]
            self.tokens += int(text.sum())
            self.bytes += int(tokenizer.token_bytes[targets[text]].sum())
            if tokenizer.unk is not None:
                self.unknown += int(((targets == tokenizer.unk) & (batch["weights"] > 0)).sum())
            if tokenizer.lead_bytes and edges:
                first = text & np.isin(previous_tokens(batch), edges)
                self.bytes -= tokenizer.lead_bytes * int(first.sum())
            yield batch


def previous_tokens(batch: Mapping[str, np.ndarray]) -> np.ndarray:
    """int, like the targets of a decoder: the last input token before each target."""
    if "predict_at" in batch:
        return np.take_along_axis(batch["tokens"], batch["predict_at"], axis=1)
    return batch["tokens"]
