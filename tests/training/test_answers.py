"""Text to text, scored by generation: every record once, with the text that the model writes."""

import json

import numpy as np
import pytest
import tiny_job

import pretrain_jax
from pretrain_jax import main, predict
from pretrain_jax.errors import ConfigError
from pretrain_jax.scores.texts import score_texts

pytestmark = pytest.mark.usefixtures("one_device")

MODELS = {
    "memory": """model=dict(name="t5", vocab_size=300, layers=1, width=32, heads=2, head_width=16,
                   feed_forward=64, dropout=0.0)""",
    "stream": """model=dict(name="gpt", vocab_size=300, layers=2, width=32, heads=2,
                   feed_forward=64, max_length=64, dropout=0.0)""",
}
TASK = """
from ml_collections import ConfigDict


def get_config():
    return ConfigDict(dict(
        seed=1,
        data=dict(source="text:{folder}/train.jsonl", validation="text:{folder}/valid.jsonl",
                  target_key="target", seq_len=32, cache_dir="{folder}/cache"),
        tokenizer=dict(name="bytes"),
        objective=dict(name="text_to_text", prefix="say: ", targets_length=8, inputs="{inputs}",
                       metric="exact_match"),
        {model},
        optimizer=dict(name="adamw", learning_rate=1e-2, schedule="constant"),
        train=dict(steps=60, batch_size=16),
        checkpoint=dict(every=30, keep=1),
        eval=dict(every=30, tokens=100, sample_tokens=8),
    ))
"""
COUNT = 21


def records(count, seed):
    """Texts that end in a digit, and the German word for it; the third record has no target."""
    draw, words = np.random.default_rng(seed), ("null", "eins", "zwei")
    made = []
    for _ in range(count):
        digit = int(draw.integers(3))
        text = "x" * int(draw.integers(1, 12)) + str(digit)
        made.append({"text": text, "target": words[digit]})
    made[2]["target"] = ""
    return "".join(json.dumps(record) + "\n" for record in made)


def run(folder, name, workdir, *options):
    return main.main([f"--config={folder}/{name}.py", f"--workdir={workdir}", *options])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("answers")
    (root / "train.jsonl").write_text(records(300, 1))
    (root / "valid.jsonl").write_text(records(COUNT, 2))
    for inputs, model in MODELS.items():
        text = TASK.format(folder=root, inputs=inputs, model=model)
        (root / f"{inputs}.py").write_text(text)
    return root


@pytest.fixture(scope="module", params=MODELS)
def trained(folder, request):
    """(the name of the layout, the workdir of a trained run)."""
    assert run(folder, request.param, folder / f"run-{request.param}") == 0
    return request.param, folder / f"run-{request.param}"


def objects(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_every_record_is_answered_once_as_the_trained_model_answers(folder, trained):
    """The record without a target is left out; the others keep the numbers of the file."""
    _, workdir = trained
    given = objects(folder / "valid.jsonl")
    reports = objects(workdir / "predictions.jsonl")
    assert [x["number"] for x in reports] == [i for i in range(COUNT) if i != 2]
    assert [x["label"] for x in reports] == [given[x["number"]]["target"] for x in reports]
    model = pretrain_jax.load(workdir)
    asked = [given[x["number"]]["text"] for x in reports]
    made = model.generate(asked, tokens=8, temperature=0)
    assert [x["prediction"] for x in reports] == [x.text for x in made]


def test_the_metrics_are_those_of_the_answers(trained):
    _, workdir = trained
    reports = objects(workdir / "predictions.jsonl")
    line = [x for x in tiny_job.lines(workdir) if "valid/exact_match" in x][-1]
    scores = score_texts([x["label"] for x in reports], [x["prediction"] for x in reports])
    assert {name: line[f"valid/{name}"] for name in scores} == scores
    assert line["valid/items"] == COUNT - 1 and line["valid/loss"] > 0
    assert line["valid/exact_match"] >= 60  # three words that the last digit tells apart
    assert len({x["prediction"] for x in reports}) > 1


@pytest.mark.usefixtures("all_devices")
@pytest.mark.parametrize("options", [[], ["--config.mesh.data=4", "--config.mesh.fsdp=2"]])
def test_eval_mode_gives_the_same_answers(trained, capsys, options):
    _, workdir = trained
    assert main.main(["--mode=eval", f"--workdir={workdir}", *options]) == 0
    values = json.loads(capsys.readouterr().out)
    line = [x for x in tiny_job.lines(workdir) if "valid/exact_match" in x][-1]
    for name in ("exact_match", "f1", "bleu", "chrf", "items"):
        assert values[f"valid/{name}"] == pytest.approx(line[f"valid/{name}"])


def test_the_best_checkpoint_by_the_metric_stays(folder, tmp_path, capfd):
    """A learning rate of 0 never improves: the first evaluation stays the best one."""
    options = ["--config.optimizer.learning_rate=0", "--config.checkpoint.every=1",
               "--config.eval.every=1", "--config.eval.patience=2"]  # fmt: skip
    assert run(folder, "memory", tmp_path / "w", *options) == 0
    kept = sorted(int(path.name) for path in (tmp_path / "w" / "checkpoints").iterdir())
    assert kept == [1, 3]
    shown = capfd.readouterr().err
    assert "best:          valid/exact_match 0.0000" in shown and "generate:" in shown


@pytest.mark.parametrize("options, message", [
    (["--config.data.text_key=target"], "must be in another field than the text"),
    (["--config.objective.metric=blue"], "did you mean bleu"),
    (["--config.objective.metric=", "--config.eval.patience=2"], "or choose objective.metric"),
    (["--config.data.validation=",
      "--config.data.mixture=(('text:{folder}/train.jsonl', 'text_to_text', 1.0),)"],
     "objective text_to_text with metric=exact_match is for one source"),
])  # fmt: skip
def test_what_does_not_fit_is_refused(folder, tmp_path, options, message):
    with pytest.raises(ConfigError, match=message):
        run(folder, "memory", tmp_path / "w", *(x.format(folder=folder) for x in options))
    assert not (tmp_path / "w" / "config.json").exists()


def test_predicting_names_the_command_that_generates(trained, tmp_path):
    _, workdir = trained
    line = [f"--workdir={workdir}", "--source=text:x.jsonl", f"--out={tmp_path}/out.jsonl"]
    with pytest.raises(ConfigError, match=r"generate --prompts=FILE"):
        predict.main(line)
