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
    "alpaca": {"instruction": "a", "input": 0, "output": "b"},
    "switches": {"prompt": "a", "chosen": "\ufdd1\ufdd0", "rejected": "c"},
}
TEMPLATE = "--config.objective.template={%% generation %%}%s{{ eos_token }}{%% endgeneration %%}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A base, and files of records."""
    root = tmp_path_factory.mktemp("errors")
    tiny_job.write(root)
    for name, record in RECORDS.items():
        (root / f"{name}.jsonl").write_text((json.dumps(record) + "\n") * 40)
    long = [{"role": "user", "content": "cat " * 20 + str(number)} for number in range(40)]
    lines = [{"messages": [question, ANSWER]} for question in long]
    (root / "long.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (root / "nested.json").write_text("[" * 5000 + "]" * 5000)
    assert run(root, "base") == 0
    prompt = ["--config.adapter.name=prompt", "--config.adapter.tokens=4"]
    assert run(root, "prompt", FROM_BASE, *prompt) == 0
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
    "a target that is misspelt": (
        [*LORA, "--config.adapter.targets=('query','bogus')"],
        ConfigError,
        "none of the name bogus",
    ),
    "an option of another adapter": (
        [FROM_BASE, "--config.adapter.rank=4"],
        ConfigError,
        "adapter.rank is an option of adapter.name=lora",
    ),
    "an alpha that float32 does not have": (
        [*LORA, "--config.adapter.alpha=1e300"],
        ConfigError,
        "adapter.alpha",
    ),
    "new tokens that do not train": (
        [
            *(*LORA, "--config.init_tokens=shared", "--config.tokenizer.name=chars"),
            "--config.model.vocab_size=128",
        ],
        ConfigError,
        "new rows, which must train; the adapter leaves embedding",
    ),
    "a margin for DPO": (
        [PREFER, CHATS % "pairs", "--config.objective.gamma=3"],
        ConfigError,
        "objective.gamma is for loss=simpo, not dpo",
    ),
    "a label of pairs": (
        [PREFER, CHATS % "pairs", "--config.data.label_key=best"],
        ConfigError,
        "always its chosen one",
    ),
    "an answer of noncharacters": (
        [PREFER, CHATS % "switches"],
        DataError,
        "text 2 of .*switches.jsonl line 1 must not be empty",
    ),
    "a share of masks for a language model": (
        [*DISTILL, "--config.objective.rate=0.5"],
        ConfigError,
        "objective.rate is for objective.task=masked_lm",
    ),
    "a student with a prompt": (
        [*DISTILL, FROM_BASE, "--config.adapter.name=prompt", "--config.adapter.tokens=4"],
        ConfigError,
        "adds places to those of the student",
    ),
    "a teacher with a prompt": (
        [*DISTILL, "--config.objective.teacher={folder}/prompt"],
        ConfigError,
        "adds places to those of the teacher",
    ),
    "a length of answers in one stream": (
        [INSTRUCT, CHATS % "chats", "--config.objective.targets_length=32"],
        ConfigError,
        "targets_length is for encoder-decoders",
    ),
    "a template that fails": (
        [INSTRUCT, CHATS % "chats", TEMPLATE % "{{ 1 / 0 }}"],
        ConfigError,
        "fails with ZeroDivisionError",
    ),
    "a template that refuses the messages": (
        [INSTRUCT, CHATS % "chats", TEMPLATE % "{{ raise_exception('no turn') }}"],
        DataError,
        "does not take these messages: no turn; .*chats.jsonl line 1 has them",
    ),
    "a file that is nested too deeply": (
        [INSTRUCT, "--config.data.source=text:{folder}/nested.json"],
        DataError,
        "nested.json must .* list",
    ),
    "a number instead of a text": (
        [INSTRUCT, CHATS % "alpaca"],
        DataError,
        "must be strings",
    ),
    "conversations without room for an answer": (
        [INSTRUCT, CHATS % "long"],
        DataError,
        "an answer within 16 tokens; none of these",
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
