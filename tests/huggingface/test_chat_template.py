"""Exported chat templates: transformers gives the ids and the answers that training has."""

import json

import numpy as np
import pytest
from etils import epath
from vocabularies import KINDS

from pretrain_jax.data.cache import open_token_cache
from pretrain_jax.data.conversations import Conversations
from pretrain_jax.data.corpus import open_corpus
from pretrain_jax.data.sources import Columns
from pretrain_jax.huggingface import _export, _tokenizer_files
from pretrain_jax.inference import chat
from pretrain_jax.objectives import instruct

pytestmark = pytest.mark.filterwarnings("ignore")  # of transformers
MESSAGES = [
    {"role": "system", "content": "Answer in one word."},
    {"role": "user", "content": "The river runs past the old ..."},
    {"role": "assistant", "content": "mill"},
    {"role": "user", "content": "And past?"},
    {"role": "assistant", "content": "farms"},
]
STREAM = instruct.build()
STREAMS = [kind for kind in KINDS if "wordpiece" not in kind]
"""Those with `bos` and `eos`."""


@pytest.fixture
def exported(learned, tmp_path):
    """exported(kind) -> our tokenizer and that of transformers with the chat template."""
    transformers = pytest.importorskip("transformers")

    def load(kind, objective=STREAM):
        _, tokenizer = learned(kind)
        _tokenizer_files.write(tokenizer, epath.Path(tmp_path), model_type="gpt2", max_length=512)
        _export.write_chat_template(tmp_path, objective)
        return tokenizer, transformers.AutoTokenizer.from_pretrained(tmp_path)

    return load


def stream(folder, tokenizer):
    """(targets, weights) of the conversation in a row."""
    (folder / "a.jsonl").write_text(json.dumps({"messages": MESSAGES}) + "\n")
    columns = Columns(required=False, kind="conversation", template=STREAM.template)
    corpus = open_corpus(f"text:{folder}/a.jsonl", columns=columns, split="all")
    cache = open_token_cache(corpus, "valid", tokenizer, folder / "cache")
    raw = Conversations(cache, tokens=512).take(np.arange(1))
    made = STREAM.corrupt(raw, None, tokenizer)
    return made["targets"].values, made["weights"].values.astype(int)


@pytest.mark.parametrize("kind", STREAMS)
def test_a_question_has_our_ids(exported, kind):
    tokenizer, theirs = exported(kind)
    for count in (1, 2, 4):
        asked = MESSAGES[:count]
        ours = chat.encode(asked, STREAM, tokenizer).tolist()
        given = theirs.apply_chat_template(asked, add_generation_prompt=True, return_dict=True)
        assert given["input_ids"] == [tokenizer.bos, *ours]


@pytest.mark.parametrize("kind", STREAMS)
def test_a_conversation_has_our_ids(exported, tmp_path, kind):
    tokenizer, theirs = exported(kind)
    targets, weights = stream(tmp_path, tokenizer)
    given = theirs.apply_chat_template(MESSAGES, return_dict=True)
    assert given["input_ids"] == [tokenizer.bos, *targets.tolist()]
    answers = np.split(targets, np.flatnonzero(np.diff(weights)) + 1)[1::2]
    assert [tokenizer.decode(ids[:-1]).strip() for ids in answers] == ["mill", "farms"]
    assert all(ids[-1] == tokenizer.eos for ids in answers)


def test_the_answers_are_those_of_transformers(exported, tmp_path):
    tokenizer, theirs = exported("byte_bpe")
    _, weights = stream(tmp_path, tokenizer)
    given = theirs.apply_chat_template(
        MESSAGES, return_dict=True, return_assistant_tokens_mask=True
    )
    assert given["assistant_masks"] == [0, *weights.tolist()]


def test_an_encoder_reads_one_text(exported):
    tokenizer, theirs = exported("sentencepiece unigram", instruct.build(inputs="memory"))
    ours = chat.encode(MESSAGES[:4], instruct.build(inputs="memory"), tokenizer).tolist()
    given = theirs.apply_chat_template(MESSAGES[:4], add_generation_prompt=True, return_dict=True)
    assert given["input_ids"] == [*ours, tokenizer.eos]
