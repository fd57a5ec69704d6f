"""Instructions: the loss is on the answers alone, and conversations are read exactly."""

import json

import numpy as np
import pytest

from pretrain_jax import chat_template
from pretrain_jax.data.cache import open_token_cache
from pretrain_jax.data.conversations import Conversations
from pretrain_jax.data.corpus import open_corpus
from pretrain_jax.data.examples import TextPairs
from pretrain_jax.data.sources import Columns
from pretrain_jax.errors import ConfigError, DataError
from pretrain_jax.objectives import instruct
from pretrain_jax.tokenizers.bytes import Bytes

VOCAB = Bytes(0)
GENERATED = "{% generation %}{{ m.content }}{{ eos_token }}{% endgeneration %}"
SHORT = (
    "{% for m in messages %}{% if m.role == 'assistant' %}>"
    + GENERATED
    + "{% else %}{{ m.content }}{% endif %}{% endfor %}{% if add_generation_prompt %}>{% endif %}"
)
TWO_TURNS = [
    {"role": "system", "content": "S"},
    {"role": "user", "content": "ab"},
    {"role": "assistant", "content": "cd"},
    {"role": "user", "content": "e"},
    {"role": "assistant", "content": "f"},
]


def cache_of(folder, records, kind="conversation", name="a.jsonl", template=SHORT):
    lines = "".join(json.dumps(record) + "\n" for record in records)
    (folder / name).write_text(json.dumps(records) if name.endswith(".json") else lines)
    columns = Columns(required=False, kind=kind, template=template)
    corpus = open_corpus(f"text:{folder}/{name}", columns=columns, split="all")
    return open_token_cache(corpus, "valid", VOCAB, folder / "cache")


def show(ids):
    """Ids as text: ^ begins and | ends."""
    special = {VOCAB.bos: "^", VOCAB.eos: "|"}
    return "".join(special.get(i) or chr(i) for i in ids.tolist())


def rows(cache, tokens=100):
    examples = Conversations(cache, tokens=tokens)
    raw = examples.take(np.arange(len(examples)))
    assert raw["tokens"].splits.sizes.tolist() == examples.length.tolist()
    made = instruct.build(template=SHORT).corrupt(raw, None, VOCAB)
    return [
        (show(tokens), show(targets), "".join(str(int(w)) for w in weights))
        for tokens, targets, weights in zip(
            *(made[name].split() for name in ("tokens", "targets", "weights")), strict=True
        )
    ]


def test_the_loss_is_on_answers_and_their_ends(tmp_path):
    cache = cache_of(tmp_path, [{"messages": TWO_TURNS}, {"messages": TWO_TURNS[1:3]}])
    assert rows(cache) == [
        ("^Sab>cd|e>f", "Sab>cd|e>f|", "00001110011"),
        ("^ab>cd", "ab>cd|", "000111"),
    ]


def test_a_long_conversation_is_cut_at_its_end(tmp_path):
    cache = cache_of(tmp_path, [{"messages": TWO_TURNS}])
    assert rows(cache, tokens=5) == [("^Sab>", "Sab>c", "00001")]
    assert Conversations(cache, tokens=5).cut == 1
    assert Conversations(cache, tokens=11).cut == 0


def test_answers_without_a_text_between_them_each_have_an_end(tmp_path):
    bare = "{% for m in messages %}" + GENERATED + "{% endfor %}"
    answers = [{"role": "assistant", "content": text} for text in ("a", "b", "c")]
    cache = cache_of(tmp_path, [{"messages": answers}, {"messages": answers[:1]}], template=bare)
    assert [row[1:] for row in rows(cache)] == [("a|b|c|", "111111"), ("a|", "11")]


def test_an_encoder_decoder_has_an_example_for_each_answer(tmp_path):
    cache = cache_of(tmp_path, [{"messages": TWO_TURNS}], kind="targets")
    examples = TextPairs(cache, inputs=50, targets=50)
    taken = examples.take(np.arange(len(examples)))
    assert [show(x) for x in taken["inputs"].split()] == ["Sab>", "Sab>cde>"]
    assert [show(x) for x in taken["targets"].split()] == ["cd", "f"]


@pytest.mark.parametrize("name", ["a.jsonl", "a.json"])
def test_alpacas_fields(tmp_path, name):
    records = [
        {"instruction": "x", "input": "y", "output": "z"},
        {"instruction": "x", "input": "", "output": "z"},
    ]
    cache = cache_of(tmp_path, records, name=name)
    assert [row[1] for row in rows(cache)] == ["x\n\ny>z|", "x>z|"]


WRONG = {
    "no answer": ({"messages": TWO_TURNS[:2]}, "must have an answer"),
    "no messages": ({"text": "a"}, "has the keys 'text'"),
    "an unknown role": ({"messages": [{"role": "bot", "content": "a"}]}, "must have a role"),
    "no text": ({"messages": [{"role": "user", "content": None}]}, "must have a role"),
    "an empty answer": (
        {"messages": [TWO_TURNS[1], {"role": "assistant", "content": " "}]},
        "must not be empty",
    ),
    "a number": ({"instruction": 1, "output": "a"}, "must be strings"),
}


@pytest.mark.parametrize("what", WRONG)
def test_wrong_records_are_named(tmp_path, what):
    record, message = WRONG[what]
    with pytest.raises(DataError, match=message) as error:
        cache_of(tmp_path, [{"messages": TWO_TURNS}, record])
    assert "line 2" in str(error.value)


def test_texts_cannot_mark_themselves_as_answers():
    """A user's text that has the noncharacters of the marks, or Jinja, stays the user's text."""
    text = "\ufdd1a\ufdd3{% generation %}b"
    pieces = chat_template.render(SHORT, [{"role": "user", "content": text}, TWO_TURNS[2]])
    assert pieces == [("a{% generation %}b>", False), ("cd", True)]


@pytest.mark.parametrize(
    "template, message",
    [
        ("{% for m in messages %}{{ m.content }}{% endfor %}", "must mark the answers"),
        ("{% generation %}{% if %}", "must be a Jinja template"),
        ("{% generation %}a{% endgeneration %}", "must end each answer"),
    ],
)
def test_wrong_templates_are_refused(template, message):
    with pytest.raises(ConfigError, match=message):
        chat_template.render(template, TWO_TURNS)


def test_the_default_template_announces_the_answer():
    asked = chat_template.render(chat_template.DEFAULT, TWO_TURNS[:2], add_generation_prompt=True)
    answered = chat_template.render(chat_template.DEFAULT, TWO_TURNS[:3])
    assert asked == [("### System\nS\n\n### User\nab\n\n### Assistant\n", False)]
    assert answered[:2] == [*asked, ("cd", True)]
