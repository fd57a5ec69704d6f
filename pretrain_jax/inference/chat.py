"""Conversations as prompts: what a model reads to answer the last message."""

from collections.abc import Sequence

import numpy as np

from pretrain_jax import chat_template
from pretrain_jax.chat_template import Message
from pretrain_jax.data.annotations import CONVERSATION, annotate_answers, encode_annotated
from pretrain_jax.data.conversations import answer_ends
from pretrain_jax.errors import ConfigError, DataError
from pretrain_jax.objectives import Objective
from pretrain_jax.tokenizers import Tokenizer


def encode(messages: Sequence[Message], objective: Objective, tokenizer: Tokenizer) -> np.ndarray:
    """int [n]: the ids of a conversation as training has them, up to the next answer.

    In one stream, earlier answers end with the end id. Raises ConfigError for a model without a
    chat template.
    """
    if not objective.template:
        raise ConfigError(
            "a conversation needs a model that was trained with objective.name=instruct, which has "
            "a chat template; this one has none. Give it a text instead"
        )
    if not messages or messages[-1]["role"] == "assistant":
        last = "it is empty" if not messages else "its last message is one of the assistant"
        raise ConfigError(f"a conversation must end with a message to answer; {last}")
    try:
        pieces = chat_template.render(objective.template, messages, add_generation_prompt=True)
    except DataError as error:
        raise ConfigError(f"{error}. Change the conversation") from error
    if "memory_tokens" in objective.fields:
        return tokenizer.encode(chat_template.join_pieces(pieces))
    text = annotate_answers(pieces)
    ids, marks = encode_annotated(text, tokenizer, CONVERSATION)
    ends = answer_ends(marks, np.array([0, len(ids)])).nonzero()[0]
    assert tokenizer.eos is not None  # one of the objective's special tokens
    return np.insert(ids, ends + 1, tokenizer.eos)
