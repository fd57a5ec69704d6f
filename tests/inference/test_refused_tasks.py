"""What evaluate refuses: the exit code, one line, and nothing stored."""

import json

import pytest

from pretrain_jax import command, evaluate
from pretrain_jax.errors import UserError

PAIR = {"sentence_good": "the cat sat", "sentence_bad": "cat the sat"}
CHOICE = {"query": "the cat", "choices": ["sat", "ran"], "gold": 0}
CASES = [
    # family, task, records, exit code, what the line says
    ("gpt", "blimp", [{"sentence_good": "a"}], 65, '"sentence_bad" in'),
    ("gpt", "multiple_choice", [{"query": "a", "gold": 0}], 65, '"choices" in'),
    ("gpt", "blimp", [], 65, "must have items"),
    ("t5", "multiple_choice", [], 65, "must have items"),
    ("gpt", "blimp", None, 66, "must exist"),
    ("gpt", "multiple_choice", [{**CHOICE, "choices": ["sat", "z" * 99]}], 65, "at most 32 tokens"),
    ("bert", "blimp", [{**PAIR, "sentence_bad": "z" * 99}], 65, "at most 32 tokens"),
    ("bert", "closed_book", [{"question": "a", "answer": ["b"]}], 64, "a model that generates"),
    ("electra", "translation", [{"source": "a", "target": "b"}], 64, "a model that generates"),
    ("bert", "patterns", None, 64, "a model that generates"),
]


@pytest.mark.parametrize("family, task, records, code, message", CASES)
def test_a_task_that_cannot_be_asked_ends_in_one_line(
    workdir, tmp_path, capsys, family, task, records, code, message
):
    run, data = workdir(family), tmp_path / "data.jsonl"
    if records is not None:
        data.write_text("".join(json.dumps(record) + "\n" for record in records))
    before = sorted(path for path in run.rglob("*"))
    words = [f"--workdir={run}", f"--tasks={task}", "--yardsticks=none"]
    words += [f"--data={data}"] * (task != "patterns")
    capsys.readouterr()
    with pytest.raises(UserError) as error:
        evaluate.main(words)
    assert command.report_error(error.value) == code
    shown = capsys.readouterr()
    assert shown.out == "" and shown.err.count("\n") == 1 and message in shown.err
    assert sorted(path for path in run.rglob("*")) == before
