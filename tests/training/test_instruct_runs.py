"""Instruction tuning end to end: the model learns the answers, and a conversation is answered."""

import io
import json
import random

import pytest
import tiny_job

import pretrain_jax
from pretrain_jax import generate, main
from pretrain_jax.errors import ConfigError, DataError
from pretrain_jax.inference import chat
from pretrain_jax.objectives import instruct
from pretrain_jax.tokenizers.bytes import Bytes

pytestmark = pytest.mark.usefixtures("one_device")

ANSWERS = {"sun": "bright", "moon": "pale", "sea": "calm", "hill": "high"}
TEMPLATE = (
    "{% for m in messages %}{% if m.role == 'assistant' %}>{% generation %}{{ m.content }}"
    "{{ eos_token }}{% endgeneration %}{% else %}{{ m.content }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}>{% endif %}"
)
MODELS = {
    "gpt": ["--config.model.max_length=48"],
    "t5": [
        "--config.objective.inputs=memory",
        "--config.objective.targets_length=32",
        "--config.train.steps=300",
        "--config.optimizer.decay_steps=300",
        "--config.eval.every=300",
    ],
}
T5 = """
decoder = get_config


def get_config():
    config = decoder()
    config.model = ConfigDict(dict(name="t5", vocab_size=262, layers=1, width=32, heads=2,
                                   head_width=16, feed_forward=64))
    return config
"""


def conversation(draw, turns):
    messages = []
    for _ in range(turns):
        word = draw.choice(list(ANSWERS))
        messages.append({"role": "user", "content": f"{draw.randint(0, 9)} {word}"})
        messages.append({"role": "assistant", "content": ANSWERS[word]})
    return {"messages": messages}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("instruct")
    tiny_job.write(root)
    (root / "t5.py").write_text((root / "tiny.py").read_text() + T5)
    draw = random.Random(0)
    lines = [json.dumps(conversation(draw, 1 + i % 2)) + "\n" for i in range(200)]
    (root / "chats.jsonl").write_text("".join(lines))
    return root


def train(folder, name, *options):
    config = "t5" if name == "t5" else "tiny"
    line = [
        f"--config={folder}/{config}.py",
        f"--workdir={folder}/{name}",
        f"--config.data.source=text:{folder}/chats.jsonl",
        "--config.objective.name=instruct",
        f"--config.objective.template={TEMPLATE}",
        "--config.data.seq_len=48",
        "--config.train.steps=150",
        "--config.optimizer.decay_steps=150",
        "--config.eval.every=150",
        *MODELS[name],
    ]
    return main.main([*line, *options])


@pytest.mark.parametrize("name", MODELS)
def test_conversations_are_answered(folder, name, capsys, monkeypatch):
    assert train(folder, name) == 0
    model = pretrain_jax.load(folder / name)
    asked = [
        [{"role": "user", "content": f"{number} {word}"}] for number, word in enumerate(ANSWERS)
    ]
    made = model.generate(asked, tokens=12, temperature=0)
    assert [one.text for one in made] == list(ANSWERS.values())
    assert {one.reason for one in made} == {"end token"}
    second = [*asked[0], {"role": "assistant", "content": "bright"}, *asked[2]]
    assert model.generate([second], tokens=12, temperature=0)[0].text == "calm"
    capsys.readouterr()
    line = [f"--workdir={folder / name}", "--chat", "--temperature=0", "--prompt=4 moon"]
    assert generate.main(line) == 0
    assert capsys.readouterr().out == "pale\n"
    assert converse(folder / name, monkeypatch) == [
        ["system", "user"],
        ["system", "user", "assistant", "user"],
    ]
    assert capsys.readouterr().out.count("\n") == 2


def converse(workdir, monkeypatch):
    """The roles of the messages that a model reads in a session with two questions."""
    read, encode = [], chat.encode

    def recorded(messages, *arguments):
        read.append([message["role"] for message in messages])
        return encode(messages, *arguments)

    monkeypatch.setattr(chat, "encode", recorded)
    monkeypatch.setattr("sys.stdin", io.StringIO("4 moon\n7 sun\n"))
    line = [f"--workdir={workdir}", "--chat", "--interactive", "--tokens=5", "--system=sun"]
    assert generate.main(line) == 0
    return read


def test_a_system_message_needs_a_conversation(folder):
    with pytest.raises(ConfigError, match="add --chat"):
        generate.main([f"--workdir={folder}/gpt", "--prompt=a", "--system=b"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "--chat answers a message"),
        (["--interactive", "--samples=3"], "leave out --samples"),
    ],
)
def test_options_that_do_not_go_together_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        generate.main(["--workdir=nowhere", "--chat", *options])


def test_input_that_is_not_text_ends_with_a_sentence(monkeypatch):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"\xff\xfe bad\n"), "utf-8"))
    with pytest.raises(DataError, match="must be utf-8; byte 0xff is not"):
        list(generate.ask())


def test_a_conversation_ends_with_a_question():
    for messages in ([], [{"role": "assistant", "content": "a"}]):
        with pytest.raises(ConfigError, match="must end with a message to answer"):
            chat.encode(messages, instruct.build(), Bytes(0))


def test_conversations_that_lose_all_answers_are_counted(folder, capsys):
    draw = random.Random(1)
    records = [conversation(draw, 1) for _ in range(40)]
    for record in records[:9]:
        record["messages"][0]["content"] = "cat " * 20
    text = "".join(json.dumps(record) + "\n" for record in records)
    (folder / "cut.jsonl").write_text(text)
    cut = [f"--config.data.source=text:{folder}/cut.jsonl", "--mode=preflight"]
    cut += [f"--config.data.validation=text:{folder}/chats.jsonl"]
    assert train(folder, "gpt", f"--workdir={folder}/new", *cut) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "9 of 40 records are longer than a row and lose their end" in shown
    assert "9 of them keep no answer, and teach nothing" in shown


def test_a_text_has_no_conversation(tmp_path):
    tiny_job.write(tmp_path)
    line = [f"--config={tmp_path}/tiny.py", f"--workdir={tmp_path}/run"]
    assert main.main([*line, "--config.train.steps=1", "--config.eval.every=0"]) == 0
    model = pretrain_jax.load(tmp_path / "run")
    with pytest.raises(ConfigError, match="needs a model that was trained with"):
        model.generate([[{"role": "user", "content": "a"}]])
    with pytest.raises(ConfigError, match="with a role of"):
        model.generate([[{"role": "robot", "content": "a"}]])
