"""Instruction tuning end to end: the model learns the answers, and a conversation is answered."""

import io
import json
import random

import pytest
import tiny_job

import pretrain_jax
from pretrain_jax import generate, main
from pretrain_jax.errors import ConfigError
from pretrain_jax.inference import chat

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


def test_a_text_has_no_conversation(tmp_path):
    tiny_job.write(tmp_path)
    line = [f"--config={tmp_path}/tiny.py", f"--workdir={tmp_path}/run"]
    assert main.main([*line, "--config.train.steps=1", "--config.eval.every=0"]) == 0
    model = pretrain_jax.load(tmp_path / "run")
    with pytest.raises(ConfigError, match="needs a model that was trained with"):
        model.generate([[{"role": "user", "content": "a"}]])
    with pytest.raises(ConfigError, match="with a role of"):
        model.generate([[{"role": "robot", "content": "a"}]])
