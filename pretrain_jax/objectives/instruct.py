"""Instructions: the model learns the answers of conversations, and reads everything else.

A chat template (chat_template.py) writes a conversation as one text. Answers end with the
tokenizer's end id. The answer "d e" to "a b" for a GPT, begin = 1, end = 2, r = the words of the
template that announce the answer:

    tokens      1  a  b  r  d  e
    targets     a  b  r  d  e  2
    weights     0  0  0  1  1  1

An encoder-decoder (inputs="memory") has an example for each answer: the encoder reads the
conversation before it, and the decoder writes it.
"""

import dataclasses
from typing import Any

import numpy as np

from pretrain_jax import registry
from pretrain_jax.chat_template import DEFAULT, compile_template
from pretrain_jax.errors import ConfigError
from pretrain_jax.objectives import Objective, causal_lm, text_to_text
from pretrain_jax.objectives._cut_texts import warn_of_cut_texts
from pretrain_jax.ragged import Fields, Ragged, wrap

LENGTH = 128


def build(
    *, template: str = DEFAULT, inputs: str = "stream", targets_length: int = LENGTH
) -> Objective:
    """The objective of instructions.

    template        the chat template itself, not its file; it marks the answers with
                    {% generation %}
    inputs          "stream" for decoders, "memory" for encoder-decoders
    targets_length  maximum number of tokens of an answer, with its end, for "memory"

    A record has "messages", or "instruction", "input" and "output"
    (data/sources/_conversations.py).
    """
    registry.check_name(inputs, ("stream", "memory"), "objective.inputs")
    compile_template(template)
    if inputs == "memory":
        pairs = text_to_text.build(inputs="memory", targets_length=targets_length)
        return dataclasses.replace(pairs, template=template)
    if targets_length != LENGTH:
        raise ConfigError(
            "objective.targets_length is for encoder-decoders (objective.inputs=memory); received "
            f"{targets_length} with inputs={inputs}. Leave it out: a conversation has data.seq_len "
            "tokens"
        )
    return Objective(
        fields=("tokens", "targets", "weights"),
        attention="causal",
        arrangement="conversations",
        arrange=lambda seq_len: {"tokens": seq_len},
        lengths=lambda n: {"L": np.asarray(n)},
        budgets=lambda seq_len: {"L": seq_len},
        corrupt=corrupt,
        prompt=causal_lm.prompt,
        special_tokens=("bos", "eos"),
        annotation_kind="conversation",
        template=template,
        baselines=("uniform", "unigram"),
        data_warning=warn_of_cut_conversations,
    )


def warn_of_cut_conversations(examples: Any, vocab: Any) -> str:
    """Objective.data_warning: how many conversations lose their end, or all answers."""
    warning = warn_of_cut_texts(examples, vocab, loses="their end")
    if examples.unanswered:
        warning += f"; {examples.unanswered:,} of them keep no answer, and teach nothing"
    return warning


def corrupt(examples: Fields, uniform: Any, vocab: Any) -> Fields:
    """The fields of {"tokens", "annotations"} (data/conversations.py). Nothing is drawn."""
    del uniform
    texts, marks = examples["tokens"], examples["annotations"]
    targets = np.where(marks.values == 2, vocab.eos, texts.values).astype(np.int32)
    stream = wrap(Ragged(targets, texts.splits), (vocab.bos,), ())
    splits = stream.splits
    tokens = stream.boolean_mask(splits.offsets < splits.broadcast(splits.sizes - 1))
    return {
        "tokens": tokens,
        "targets": Ragged(targets, texts.splits),
        "weights": Ragged((marks.values > 0).astype(np.float32), texts.splits),
    }
