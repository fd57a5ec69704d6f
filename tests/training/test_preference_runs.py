"""Preferences end to end: the reference is computed once, the loss starts at ln 2, and training
raises the margin on held-out pairs."""

import json
import random
import shutil

import numpy as np
import pytest
import tiny_job

import pretrain_jax
from pretrain_jax import generate, main, predict
from pretrain_jax.errors import ConfigError
from pretrain_jax.evaluation.reference import FILE

pytestmark = pytest.mark.usefixtures("one_device")

WORDS = "sun moon star sky sea hill tree bird fish stone".split()
POLITE, RUDE = "please thanks", "never mind"
OPTIONS = [
    "--config.objective.name=prefer",
    "--config.data.seq_len=48",
    "--config.train.batch_size=8",
    "--config.eval.every=20",
    "--config.train.steps=40",
    "--config.optimizer.learning_rate=3e-3",
    "--config.optimizer.decay_steps=40",
]


def pair(draw):
    prompt = " ".join(draw.choices(WORDS, k=2))
    chosen, rejected = draw.choice(POLITE.split()), draw.choice(RUDE.split())
    return {"prompt": prompt, "chosen": chosen, "rejected": rejected}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A base and a run that prefers polite answers."""
    root = tmp_path_factory.mktemp("preferences")
    tiny_job.write(root)
    draw = random.Random(0)
    for name, count in (("train", 60), ("valid", 20)):
        lines = [json.dumps(pair(draw)) + "\n" for _ in range(count)]
        (root / f"{name}.jsonl").write_text("".join(lines))
    short = ["--config.train.steps=10", "--config.eval.every=0", "--config.model.max_length=48"]
    assert run(root, "base", *short) == 0
    assert run(root, "dpo", *sources(root), *OPTIONS) == 0
    return root


def sources(folder, run="base"):
    return [
        f"--config.init_from={folder}/{run}",
        f"--config.data.source=text:{folder}/train.jsonl",
        f"--config.data.validation=text:{folder}/valid.jsonl",
        "--config.model.max_length=48",
        "--config.model.dropout=0.0",
    ]


def run(folder, name, *options):
    return main.main([f"--config={folder}/tiny.py", f"--workdir={folder}/{name}", *options])


def evaluations(workdir):
    return [line for line in tiny_job.lines(workdir) if "valid/accuracy" in line]


def test_the_margin_rises_from_ln_2(folder):
    losses = tiny_job.losses(folder / "dpo")
    assert losses[1] == pytest.approx(np.log(2), rel=1e-5)
    first, last = evaluations(folder / "dpo")
    assert last["valid/margin"] > first["valid/margin"] > 0
    assert last["valid/accuracy"] > 0.9
    assert last["valid/items"] == 20
    assert last["valid/objective"] < np.log(2)


def test_the_reference_is_that_of_the_base(folder):
    with np.load(folder / "dpo" / FILE) as stored:
        train, valid = stored["train 48"], stored["valid 48"]
    assert train.shape == (60, 2) and valid.shape == (20, 2)
    assert np.isfinite(train).all() and (train < 0).all()
    predictions = [
        json.loads(line) for line in (folder / "dpo/predictions.jsonl").read_text().splitlines()
    ]
    logprobs = np.array([one["logprobs"] for one in predictions])
    rewards = np.array([one["rewards"] for one in predictions])
    np.testing.assert_allclose(rewards, 0.1 * (logprobs - valid), atol=1e-5)


def test_resuming_gives_the_same_bits(folder):
    options = [*sources(folder), *OPTIONS]
    assert run(folder, "resumed", *options, "--config.train.steps=20") == 0
    before = (folder / "resumed" / FILE).stat().st_mtime_ns
    assert run(folder, "resumed", *options) == 0
    assert (folder / "resumed" / FILE).stat().st_mtime_ns == before
    assert tiny_job.losses(folder / "resumed") == tiny_job.losses(folder / "dpo")
    # Without the file, it is computed again, from the base and not from the trained model.
    assert run(folder, "lost", *options, "--config.train.steps=20") == 0
    (folder / "lost" / FILE).unlink()
    assert run(folder, "lost", *options) == 0
    assert tiny_job.losses(folder / "lost") == tiny_job.losses(folder / "dpo")


def test_a_damaged_reference_is_computed_again(folder, caplog):
    options = [*sources(folder), *OPTIONS]
    assert run(folder, "damaged", *options, "--config.train.steps=20") == 0
    whole = (folder / "damaged" / FILE).read_bytes()
    (folder / "damaged" / FILE).write_bytes(whole[: len(whole) // 2])
    assert run(folder, "damaged", *options) == 0
    assert "is damaged and will be computed again" in caplog.text
    assert tiny_job.losses(folder / "damaged") == tiny_job.losses(folder / "dpo")


def test_the_reference_of_another_base_is_computed_again(folder):
    """A run that was killed before its first checkpoint may start again from another base."""
    other = ["--config.seed=9", "--config.train.steps=10", "--config.eval.every=0"]
    assert run(folder, "other", *other, "--config.model.max_length=48") == 0
    (folder / "begun").mkdir()
    shutil.copy(folder / "dpo" / FILE, folder / "begun" / FILE)
    options = [*sources(folder, "other"), *OPTIONS, "--config.train.steps=1"]
    assert run(folder, "begun", *options) == 0
    with np.load(folder / "begun" / FILE) as new, np.load(folder / "dpo" / FILE) as old:
        assert str(new["identity"]) == str(old["identity"])
        assert str(new["params"]) != str(old["params"])
        assert not np.allclose(new["train 48"], old["train 48"])
    assert tiny_job.losses(folder / "begun")[1] == pytest.approx(np.log(2), rel=1e-5)


def test_equal_answers_are_counted(folder, capsys):
    records = [json.loads(line) for line in (folder / "train.jsonl").read_text().splitlines()]
    for record in records[:7]:
        record["rejected"] = record["chosen"]
    text = "".join(json.dumps(record) + "\n" for record in records)
    (folder / "equal.jsonl").write_text(text)
    source = f"--config.data.source=text:{folder}/equal.jsonl"
    assert run(folder, "new", *sources(folder), *OPTIONS, source, "--mode=preflight") == 0
    assert "the two answers of 7 of 60 records are the same" in capsys.readouterr().out


def test_new_pairs_are_predicted(folder, tmp_path):
    out = tmp_path / "out.jsonl"
    line = [f"--workdir={folder}/dpo", f"--source=text:{folder}/valid.jsonl", f"--out={out}"]
    assert predict.main(line) == 0
    stored = (folder / "dpo/predictions.jsonl").read_text().splitlines()
    made = [json.loads(line) for line in out.read_text().splitlines()]
    for one, other in zip(made, map(json.loads, stored), strict=True):
        assert one["prediction"] == other["prediction"]
        np.testing.assert_allclose(one["rewards"], other["rewards"], atol=1e-5)


def test_a_reward_model_orders_held_out_pairs(folder):
    steps = ("train.steps=100", "optimizer.decay_steps=100", "eval.every=50")
    longer = [f"--config.{option}" for option in steps]
    options = ["--config.objective.name=reward", *OPTIONS[1:], *longer]
    assert run(folder, "reward", *sources(folder), *options) == 0
    assert evaluations(folder / "reward")[-1]["valid/accuracy"] > 0.9
    model = pretrain_jax.load(folder / "reward")
    pairs = [json.loads(line) for line in (folder / "valid.jsonl").read_text().splitlines()]
    stored = [
        json.loads(line)["rewards"]
        for line in (folder / "reward/predictions.jsonl").read_text().splitlines()
    ]
    prompts = [pair["prompt"] for pair in pairs]
    for number, name in enumerate(("chosen", "rejected")):
        made = model.rewards(prompts, [pair[name] for pair in pairs], batch_size=3)
        np.testing.assert_allclose(made, [one[number] for one in stored], atol=1e-5)
    assert model.rewards([], []).shape == (0,)
    with pytest.raises(ConfigError, match="one answer for each prompt"):
        model.rewards(prompts, [])
    with pytest.raises(ConfigError, match="rewards need a model"):
        pretrain_jax.load(folder / "base").rewards(["a"], ["b"])
    with pytest.raises(ConfigError, match="predicts labels"):
        generate.main([f"--workdir={folder}/reward", "--chat", "--prompt=a"])
