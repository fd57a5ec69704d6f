"""The encoder of a T5, finetuned without its decoder: classes, tags and answers."""

import json

import numpy as np
import pytest
import tiny_job
from etils import epath
from flax.traverse_util import unflatten_dict

from pretrain_jax import main
from pretrain_jax.optim.trees import named_leaves
from pretrain_jax.workdir.checkpoint import Checkpoints

CONFIG = """
from ml_collections import ConfigDict


def get_config():
    return ConfigDict(dict(
        seed=1,
        data=dict(source="text:{folder}/{file}", seq_len=96, cache_dir="{folder}/cache"),
        tokenizer=dict(name="bytes"),
        objective=dict(name="{objective}"),
        model=dict(name="{model}", vocab_size=300, layers=2, width=16, heads=2, head_width=8,
                   feed_forward=32, dropout=0.0),
        optimizer=dict(name="adamw", learning_rate=3e-3, schedule="constant"),
        train=dict(steps=2, batch_size=8),
        checkpoint=dict(every=1),
        eval=dict(every=2),
    ))
"""
TASKS = {
    "classify": ("class.jsonl", {"text": "a cat {n} {i}", "label": "{n}"}, "accuracy"),
    "tag": ("tags.jsonl", {"tokens": ["a{i}", "cat"], "tags": ["{n}", "O"]}, "accuracy"),
    "extract_span": (
        "answers.jsonl",
        {"question": "who ?", "context": "a cat {n} {i}",
         "answers": {"text": ["cat"], "answer_start": [2]}},
        "exact_match",
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A pretrained T5 and the configs of all tasks."""
    root = tmp_path_factory.mktemp("t5")
    records = [json.dumps({"text": "the cat sat on a mat " * 4})] * 120
    (root / "corpus.jsonl").write_text("\n".join(records))
    tasks = {"source": ("corpus.jsonl", "t5", "span_corruption")}
    for objective, (file, record, _) in TASKS.items():
        text = json.dumps(record)
        lines = [text.replace("{n}", "yn"[i % 2]).replace("{i}", str(i)) for i in range(200)]
        (root / file).write_text("\n".join(lines))
        tasks[objective] = (file, "t5_encoder", objective)
    for name, (file, model, objective) in tasks.items():
        text = CONFIG.format(folder=root, file=file, model=model, objective=objective)
        text = text.replace('name="bytes"', 'name="bytes", sentinels=32')
        (root / f"{name}.py").write_text(text)
    assert run(root, "source") == 0
    return root


def run(folder, name, *options):
    return main.main([f"--config={folder}/{name}.py", f"--workdir={folder}/run-{name}", *options])


def arrays(workdir):
    """The parameters of the last checkpoint, by path."""
    with Checkpoints(epath.Path(workdir) / "checkpoints", read_only=True) as checkpoints:
        shapes = checkpoints.metadata(2)
        wanted = {tuple(k.split("/")): v for k, v in shapes.items() if k.startswith("params/")}
        state = checkpoints.restore(2, unflatten_dict(wanted), partial=True)
    return dict(named_leaves(state["params"]))


@pytest.mark.parametrize("objective", TASKS)
def test_it_starts_from_the_t5_and_leaves_the_decoder(folder, objective):
    source = f"--config.init_from={folder}/run-source"
    frozen = f"--config.optimizer.unfreeze=(('^(?!{objective})', -1),)"
    assert run(folder, objective, source, frozen) == 0
    line = tiny_job.lines(folder / f"run-{objective}")[-1]
    assert line[f"valid/{TASKS[objective][2]}"] >= 0 and line["valid/items"] > 0
    old, new = arrays(folder / "run-source"), arrays(folder / f"run-{objective}")
    body = {name for name in new if not name.startswith(objective)}
    assert body and not any("decoder" in name for name in body)
    for name in body:
        np.testing.assert_array_equal(new[name], old[name], err_msg=name)
