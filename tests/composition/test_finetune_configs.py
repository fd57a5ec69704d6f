"""configs/finetune: each reads the architecture from a run, with the recipe of its paper."""

from typing import Any

import pytest

from pretrain_jax.composition import config
from pretrain_jax.errors import ConfigError, InputMissing
from pretrain_jax.workdir import run_config

FAMILIES = {"bert": "bert_nano", "electra": "electra_nano", "gpt": "gpt2_nano", "t5": "t5_nano"}
RATES = {"bert": 2e-5, "electra": 1e-4, "gpt": 6.25e-5, "t5": 1e-3}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Workdirs with a config.json alone, by family."""
    folder = tmp_path_factory.mktemp("runs")
    for family, name in FAMILIES.items():
        (folder / family).mkdir()
        run_config.write_config(folder / family, config.read(name).to_dict())
    return folder


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("name", ["classify", "regress", "tag"])
def test_the_model_and_the_tokenizer_are_those_of_the_run(runs, family, name):
    if (family, name) == ("t5", "tag"):
        return  # refused when the objective is built
    made: Any = config.read(f"finetune/{name}:{runs}/{family}")
    source: Any = config.read(FAMILIES[family])
    changed = {key for key in source.model if made.model[key] != source.model[key]}
    assert changed <= {"dropout"} and made.tokenizer == source.tokenizer
    assert (made.init_from, made.objective.name) == (f"{runs}/{family}", name)
    assert made.optimizer.learning_rate == RATES[family]
    assert made.train.batch_size * made.objective.per_row == 32


@pytest.mark.parametrize("name", ["classify", "tag"])
def test_the_encoder_of_a_t5_is_finetuned_alone(runs, name):
    made: Any = config.read(f"finetune/{name}:{runs}/t5,encoder")
    assert made.model.name == "t5_encoder" and made.optimizer.name == "adafactor"
    assert "shared" not in made.model
    with pytest.raises(ConfigError, match=r"received `,encoder` with model\.name=bert"):
        config.read(f"finetune/{name}:{runs}/bert,encoder")


@pytest.mark.parametrize("family, inputs", [("t5", "memory"), ("gpt", "stream")])
def test_text_to_text_is_answered_by_the_architecture(runs, family, inputs):
    made: Any = config.read(f"finetune/text_to_text:{runs}/{family}")
    assert (made.objective.inputs, made.objective.metric) == (inputs, "exact_match")
    assert made.model.width == 128 and made.init_from == f"{runs}/{family}"


@pytest.mark.parametrize("family, inputs", [("t5", "memory"), ("gpt", "stream")])
@pytest.mark.parametrize("name, rate", [("instruct", 2e-5), ("prefer", 1e-6)])
def test_answers_are_learned_with_the_rates_of_their_papers(runs, name, rate, family, inputs):
    made: Any = config.read(f"finetune/{name}:{runs}/{family}")
    assert (made.objective.name, made.objective.inputs) == (name, inputs)
    assert made.optimizer.learning_rate == rate and made.init_from == f"{runs}/{family}"


@pytest.mark.parametrize("family", FAMILIES)
def test_a_reward_model_is_made_from_every_architecture(runs, family):
    made: Any = config.read(f"finetune/reward:{runs}/{family}")
    assert (made.objective.name, made.optimizer.learning_rate) == ("reward", 9e-6)


@pytest.mark.parametrize("family, task", [("gpt", "causal_lm"), ("bert", "masked_lm")])
def test_a_student_has_every_second_layer_of_its_teacher(runs, family, task):
    made: Any = config.read(f"finetune/distill:{runs}/{family}")
    assert (made.objective.task, made.objective.teacher) == (task, f"{runs}/{family}")
    assert made.init_layers == (0, 2) and made.model.layers == 2  # of 4


@pytest.mark.parametrize(
    "task, objective, metric, steps",
    [
        ("cola", "classify", "matthews", 802),
        ("mrpc", "classify", "f1", 382),
        ("stsb", "regress", "pearson", 539),
        ("mnli", "classify", "accuracy", 36816),
    ],
)
def test_glue_has_its_tasks_with_their_metrics(runs, task, objective, metric, steps):
    """Three epochs of up to 32 examples an update: 3 x 8,551 / 32 = 802 updates for CoLA."""
    made: Any = config.read(f"finetune/glue:{task},{runs}/bert,data")
    assert (made.objective.name, made.objective.metric) == (objective, metric)
    assert made.train.steps == steps and made.data.source.startswith("text:data/")
    assert made.optimizer.warmup_steps == round(0.1 * steps)


def test_squad_has_windows_of_384_tokens_where_the_model_has_as_many(runs):
    made: Any = config.read(f"finetune/squad:{runs}/bert,data,2.0")
    assert made.objective.unanswerable and made.data.seq_len == 128  # bert_nano has 128 positions
    assert made.train.steps == round(2 * 130_319 / 32)


@pytest.mark.parametrize(
    "name, error, message",
    [
        ("classify", ConfigError, "needs the workdir of a trained run"),
        ("classify:nowhere", InputMissing, "nowhere has no config.json"),
        ("glue:sst3,runs/x", ConfigError, "did you mean sst2"),
        ("squad:runs/x,data,3", ConfigError, "the version"),
    ],
)
def test_a_wrong_argument_is_refused_in_one_sentence(name, error, message):
    with pytest.raises(error, match=message) as caught:
        config.read(f"finetune/{name}")
    assert "\n" not in str(caught.value)
