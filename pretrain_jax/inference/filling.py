"""Fills the blanks of a text: an encoder its masks, an encoder-decoder its sentinels."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from pretrain_jax import losses
from pretrain_jax.errors import ConfigError
from pretrain_jax.inference.beam_search import BeamSearch
from pretrain_jax.inference.decoding import Decoder, to_rows
from pretrain_jax.inference.generation import Generator, Prompt
from pretrain_jax.rounding import round_up
from pretrain_jax.tokenizers import Tokenizer

if TYPE_CHECKING:
    from pretrain_jax.inference.trained_model import TrainedModel


@dataclass(frozen=True)
class Filling:
    """A proposal for one blank."""

    text: str
    log_probability: float
    """Nats. Of an encoder's token, and of all fillings of a text together otherwise."""


def fill(model: "TrainedModel", text: str, top: int, tokens: int) -> list[list[Filling]]:
    """See `TrainedModel.fill`."""
    if model.objective.attention == "full":
        row, method = model.read(text, special=True), model.objective.model_methods[0]
        model.check_lengths([len(row["tokens"])])
        return fill_masks(model.generator, row["tokens"], top, method)
    if not model.objective.sentinels(model.design.spec.data.seq_len):
        raise ConfigError(
            "filling needs an encoder, or a model trained to fill sentinels; this model is "
            f"{model.family}"
        )
    if "<mask>" in text and "<extra_id_" in text:
        raise ConfigError(
            "the blanks of a text must be all <mask> or all <extra_id_0>, <extra_id_1>, ...; "
            f"received {text!r}"
        )
    for number in range(text.count("<mask>")):
        text = text.replace("<mask>", f"<extra_id_{number}>", 1)
    return fill_spans(model.generator, model.read(text, special=True), top, tokens)


def fill_masks(
    generator: Generator, tokens: np.ndarray, top: int, method: str
) -> list[list[Filling]]:
    """The `top` likeliest tokens for each mask in a row of tokens, int32 [n].

    method: of the model. Raises ConfigError for a row without a mask.
    """
    tokenizer = generator.tokenizer
    at = np.flatnonzero(tokens == tokenizer.mask).astype(np.int32)
    check_blanks(len(at), "<mask>")
    row = {"tokens": tokens, "predict_at": at}
    ids, probabilities = likeliest_tokens(generator, row, top, method)
    log_p = np.log(probabilities)
    return [
        [Filling(tokenizer.decode([i]), float(x)) for i, x in zip(*blank, strict=True)]
        for blank in zip(ids, log_p, strict=True)
    ]


def fill_spans(generator: Generator, prompt: Prompt, top: int, tokens: int) -> list[list[Filling]]:
    """The `top` likeliest spans for each sentinel in a prompt, from answers of up to `tokens`
    tokens. Raises ConfigError for a prompt without a sentinel."""
    tokenizer = generator.tokenizer
    read = prompt.get("memory_tokens", prompt["tokens"])
    blanks = [i for i in tokenizer.sentinels if (read == i).any()]
    check_blanks(len(blanks), "<extra_id_0>")
    (answers,) = generator.search([prompt], tokens, BeamSearch(beams=top))
    spans = [read_spans(answer.tokens.tolist(), tokenizer) for answer in answers]
    sums = [float(answer.log_probabilities.sum()) for answer in answers]
    return [
        [Filling(found.get(i, ""), x) for found, x in zip(spans, sums, strict=True)] for i in blanks
    ]


def read_spans(ids: Sequence[int], tokenizer: Tokenizer) -> dict[int, str]:
    """The text after each sentinel of an answer.

    "<extra_id_0> for inviting <extra_id_1> last" -> {32099: " for inviting", 32098: " last"}.
    """
    spans: dict[int, list[int]] = {}
    current: list[int] = []
    for i in ids:
        if i in tokenizer.sentinels:
            current = spans.setdefault(i, [])
        else:
            current.append(i)
    return {i: tokenizer.decode(span) for i, span in spans.items()}


def check_blanks(count: int, spelling: str) -> None:
    """Raises ConfigError for a text without blanks."""
    if not count:
        raise ConfigError(f"fill needs a text with a blank, such as {spelling}; it has none")


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
    logits = losses.output_logits(output)[..., : decoder.ids]
    probabilities, ids = jax.lax.top_k(jax.nn.softmax(logits), top)
    return ids.astype(jnp.int32), probabilities
