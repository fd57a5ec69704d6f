"""Fills the blanks of a text: an encoder its masks, an encoder-decoder its sentinels."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pretrain_jax import losses
from pretrain_jax.inference.decoding import Decoder, to_rows
from pretrain_jax.inference.generation import Generator
from pretrain_jax.rounding import round_up
from pretrain_jax.tokenizers import Tokenizer


@dataclass(frozen=True)
class Filling:
    """A proposal for one blank."""

    text: str
    log_probability: float
    """Nats. Of an encoder's token, and of all fillings of a text together otherwise."""


def read_spans(
    ids: Sequence[int], sentinels: Sequence[int], count: int, tokenizer: Tokenizer
) -> list[str]:
    """The text after each of the first `count` sentinels; "" for a missing one.

    "<extra_id_0> for inviting <extra_id_1> last" -> [" for inviting", " last"].
    """
    spans: dict[int, list[int]] = {}
    current: list[int] = []
    for i in ids:
        if i in sentinels:
            current = spans.setdefault(i, [])
        else:
            current.append(i)
    return [tokenizer.decode(spans.get(i, [])) for i in sentinels[:count]]


PREDICTIONS = 8
"""Predictions of a row are padded to a multiple of this."""


def likeliest_tokens(
    generator: Generator, row: Mapping[str, np.ndarray], top: int, method: str = "__call__"
) -> tuple[np.ndarray, np.ndarray]:
    """The `top` likeliest ids for each masked token, int32 [P, top], and their probabilities.

    row: tokens [n], and predict_at [P], where they are masked. method: of the model.
    """
    at = row["predict_at"]
    places = np.pad(at, (0, round_up(len(at), PREDICTIONS) - len(at)))
    batch = to_rows([{"tokens": row["tokens"]}], generator.ways, generator.context)
    batch["predict_at"] = np.tile(places, (generator.ways, 1)).astype(np.int32)
    static = {"decoder": generator.decoder, "top": top, "method": method}
    ids, probabilities = generator.to_host(_rank(generator.params, batch, **static))
    return ids[0, : len(at)], probabilities[0, : len(at)]


@partial(jax.jit, static_argnames=("decoder", "top", "method"))
def _rank(
    params: Any, batch: Any, *, decoder: Decoder, top: int, method: str
) -> tuple[jax.Array, jax.Array]:
    output, _ = decoder.apply_cached(params, batch, {}, (), method=method)
    rows, count, width = output.hidden.shape
    logits = losses.compute_logits(output.hidden.reshape(-1, width), output.readout)
    probabilities, ids = jax.lax.top_k(jax.nn.softmax(logits[:, : decoder.ids]), top)
    return ids.reshape(rows, count, top).astype(jnp.int32), probabilities.reshape(rows, count, top)
