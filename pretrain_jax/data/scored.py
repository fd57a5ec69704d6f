"""What an evaluation scores: how many tokens, and of how many bytes of text."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from pretrain_jax.batch import is_text


@dataclass
class Scored:
    """Counts over the targets of weight above 0 that a pass of evaluation predicts.

    A space that a tokenizer puts in front of every text is no byte of it. It is left out where the
    objective reads a begin or end id before the text; elsewhere nothing in a batch says where a
    text begins, and the space counts.
    """

    tokens: int = 0
    """Text tokens: what `valid/loss` is the mean over."""
    bytes: int = 0
    """UTF-8 bytes of exactly these."""
    unknown: int = 0
    """Unknown tokens: their text is lost, and no score counts them."""

    @property
    def unknown_share(self) -> float:
        """Of the targets that stand for text. 1 unknown beside 3 tokens: 0.25."""
        return self.unknown / max(self.tokens + self.unknown, 1)

    def watch(
        self,
        batches: Iterable[Mapping[str, np.ndarray]],
        tokenizer: Any,
        ends: Iterable[int | None],
    ) -> Iterator[Mapping[str, np.ndarray]]:
        """The batches as they come, counted. ends: ids that the objective puts around a text."""
        edges = [token for token in ends if token is not None]
        for batch in batches:
            text, targets = is_text(batch, tokenizer.unscored), batch["targets"]
            self.tokens += int(text.sum())
            self.bytes += int(tokenizer.token_bytes[targets[text]].sum())
            if tokenizer.unk is not None:
                self.unknown += int(((targets == tokenizer.unk) & (batch["weights"] > 0)).sum())
            if tokenizer.lead_bytes and edges:
                first = text & np.isin(before(batch), edges)
                self.bytes -= tokenizer.lead_bytes * int(first.sum())
            yield batch


def before(batch: Mapping[str, np.ndarray]) -> np.ndarray:
    """int, like the targets of one stream: the token that is read last before each."""
    if "predict_at" in batch:
        return np.take_along_axis(batch["tokens"], batch["predict_at"], axis=1)
    return batch["tokens"]
