"""Bad input of adapters, instructions, preferences and distillation ends early, in one sentence."""

import json

import pytest
import tiny_job

from pretrain_jax import main
from pretrain_jax.errors import ConfigError, DataError, UserError

pytestmark = pytest.mark.usefixtures("one_device")

SHORT = ["--config.train.steps=4", "--config.eval.every=0"]
FROM_BASE = "--config.init_from={folder}/base"
LORA = [FROM_BASE, "--config.adapter.name=lora"]
INSTRUCT = "--config.objective.name=instruct"
PREFER = "--config.objective.name=prefer"
DISTILL = [
    "--config.objective.name=distill",
    "--config.objective.teacher={folder}/base",
    "--config.model.dropout=0.0",
]
QUESTION = {"role": "user", "content": "2 + 2?"}
ANSWER = {"role": "assistant", "content": "4"}
CHATS = "--config.data.source=text:{folder}/%s.jsonl"
RECORDS = {
    "chats": {"messages": [QUESTION, ANSWER]},
    "questions": {"messages": [QUESTION]},
    "pairs": {"prompt": "a", "chosen": "b", "rejected": "c"},
    "texts": {"text": "a"},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A base, and files of records."""
    root = tmp_path_factory.mktemp("errors")
    tiny_job.write(root)
    for name, record in RECORDS.items():
        (root / f"{name}.jsonl").write_text((json.dumps(record) + "\n") * 40)
    assert run(root, "base") == 0
    return root


def run(folder, name, *options):
    line = [f"--config={folder}/tiny.py", f"--workdir={folder}/{name}", *SHORT, *options]
    return main.main([option.replace("{folder}", str(folder)) for option in line])


REFUSED = {
    "a rank of 0": ([*LORA, "--config.adapter.rank=0"], ConfigError, "adapter.rank"),
    "targets that match nothing": (
        [*LORA, "--config.adapter.targets=('nothing',)"],
        ConfigError,
        "linear maps are .*query",
    ),
    "an adapter without a base": (
        ["--config.adapter.name=lora"],
        ConfigError,
        "init_from",
    ),
    **{
        f"a {name} that leaves no room": (
            [FROM_BASE, f"--config.adapter.name={name}", "--config.adapter.tokens=15"],
            ConfigError,
            "must leave room for text",
        )
        for name in ("prefix", "prompt")
    },
    "a conversation without an answer": (
        [INSTRUCT, CHATS % "questions"],
        DataError,
        "questions.jsonl line 1 has none",
    ),
    "a text instead of a conversation": (
        [INSTRUCT, CHATS % "texts"],
        DataError,
        "must have a list .messages.",
    ),
    "a template that marks no answers": (
        [INSTRUCT, CHATS % "chats", "--config.objective.template=x"],
        ConfigError,
        "must mark the answers",
    ),
    "a preference without its answers": (
        [PREFER, CHATS % "texts"],
        DataError,
        "prompt",
    ),
    "an unknown loss of preferences": (
        [PREFER, CHATS % "pairs", "--config.objective.loss=ppo"],
        ConfigError,
        "objective.loss must be one of",
    ),
    "a teacher with another tokenizer": (
        [*DISTILL, "--config.tokenizer.name=chars", "--config.model.vocab_size=128"],
        ConfigError,
        "needs the tokenizer of its teacher",
    ),
    "hidden states of two widths": (
        [*DISTILL, "--config.objective.cosine_weight=1", "--config.model.width=32"],
        ConfigError,
        "hidden states of one width",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_run_does_not_start(folder, case):
    options, error, message = REFUSED[case]
    with pytest.raises(error, match=message) as caught:
        run(folder, "new", *options)
    assert isinstance(caught.value, UserError) and caught.value.exit_code in (64, 65, 66)
    assert not any((folder / "new" / name).exists() for name in ("config.json", "metrics.jsonl"))
