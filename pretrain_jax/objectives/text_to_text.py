"""Text to text: the model reads one text and writes another. Translation, summaries, labels.

T5 casts every task in this form (arXiv 1910.10683, section 2.4); a prefix of the inputs names the
task. With prefix = "translate English to German: ", <e> the end token and <p> padding, which starts
a decoder:

    memory_tokens   translate English to German: That is good. <e>
    tokens          <p> Das ist gut.
    targets         Das ist gut. <e>

The pairs come from a source with target texts (data.target_key). Texts that are too long
are cut at their end.

With a metric, evaluations also generate: the model answers every validation record, and its answers
are compared with the complete targets (scores/texts.py).
"""

from functools import lru_cache, partial
from typing import Any

import numpy as np

from pretrain_jax import registry
from pretrain_jax.errors import ConfigError
from pretrain_jax.objectives import Objective
from pretrain_jax.objectives._cut_texts import warn_of_cut_texts
from pretrain_jax.objectives._layout import Layout, pick_layout
from pretrain_jax.ragged import Fields, wrap

METRICS = ("exact_match", "f1", "bleu", "chrf")


def build(
    *,
    prefix: str = "",
    inputs_length: int = 0,
    targets_length: int = 128,
    inputs: str = "memory",
    metric: str = "",
) -> Objective:
    """The objective of text-to-text tasks.

    prefix            text before every input text, including the space at its end
    inputs_length     maximum number of tokens of an example's inputs, including prefix and end
                      token; 0: as many as a row has
    targets_length    number of target tokens in a row, and maximum number of an example's target
                      tokens, including end tokens
    inputs            "memory" (encoder-decoder), "prefix" or "stream" (objectives/_layout.py). With
                      "prefix" or "stream", a row has seq_len tokens of inputs and targets together.
    metric            "exact_match", "f1", "bleu" or "chrf": evaluations generate the target of
                      every validation record, taking the likeliest token each time, and this metric
                      chooses the best checkpoint. "": evaluations score tokens alone

    Rows are planned before the prefix is tokenized, for the most tokens that it can have: one per
    byte and one more.
    """
    if metric:
        registry.check_name(metric, METRICS, "objective.metric")
    layout = pick_layout(inputs)
    room = len(prefix.encode()) + 1 if prefix else 0

    def arrange(seq_len: int) -> dict[str, int]:
        row = seq_len + 1 - targets_length if layout.one_stream else seq_len
        most = min(inputs_length or row, row) - room - 1
        if most < 1:
            raise ConfigError(
                "the inputs must have room for the prefix, a token and the end; received "
                f"data.seq_len={seq_len}, objective.targets_length={targets_length}, "
                f"objective.inputs_length={inputs_length} and a prefix of up to {room} tokens"
            )
        return {"inputs": most, "targets": targets_length - 1}

    def lengths(n: Any) -> dict[str, Any]:
        sizes = np.asarray(n)
        return layout.lengths(sizes[..., 0] + room + 1, sizes[..., 1] + 1)

    def budgets(seq_len: int) -> dict[str, int]:
        arrange(seq_len)  # refuses rows that are too short
        both = seq_len + 1 if layout.one_stream else seq_len + targets_length
        return layout.lengths(seq_len, targets_length, both=both)

    return Objective(
        fields=layout.fields,
        attention=layout.attention,
        arrangement="texts",
        arrange=arrange,
        lengths=lengths,
        budgets=budgets,
        corrupt=partial(corrupt, layout=layout, prefix=prefix, room=room),
        special_tokens=(*layout.special_tokens, "eos"),
        annotation_kind="targets",
        answer_metric=metric,
        prompt=partial(prompt, layout=layout, prefix=prefix, room=room),
        baselines=("uniform", "unigram"),
        data_warning=warn_of_cut_texts,
    )


def corrupt(
    examples: Fields,
    uniform: Any,
    vocab: Any,
    *,
    layout: Layout,
    prefix: str,
    room: int,
) -> Fields:
    """The fields of {"inputs": int32 texts, "targets": int32 texts}. Nothing is drawn."""
    del uniform
    end = (vocab.eos,)
    inputs = wrap(examples["inputs"], encode_prefix(prefix, vocab, room), end)
    return layout.write(inputs, wrap(examples["targets"], (), end), vocab)


def prompt(
    ids: np.ndarray, vocab: Any, *, layout: Layout, prefix: str, room: int
) -> dict[str, np.ndarray]:
    """The inputs of `corrupt` for a text: prefix, text, end token."""
    return layout.prompt(ids, vocab, encode_prefix(prefix, vocab, room), (vocab.eos,))


@lru_cache(maxsize=64)
def encode_prefix(prefix: str, vocab: Any, room: int) -> tuple[int, ...]:
    """The ids of the prefix; raises ConfigError when there are more than `room`."""
    ids = tuple(vocab.encode(prefix).tolist()) if prefix else ()
    if len(ids) > room:
        raise ConfigError(
            f"objective.prefix may have at most {room} tokens, one per byte and one more; this "
            f"tokenizer encodes {prefix!r} as {len(ids)}. Spell it with plainer characters"
        )
    return ids
