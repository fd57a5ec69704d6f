"""What an unknown option or key may have meant."""

import pytest

from pretrain_jax import command, main
from pretrain_jax.composition import sections
from pretrain_jax.composition.synonyms import SYNONYMS
from pretrain_jax.errors import ConfigError


def test_every_synonym_stands_for_a_key_and_is_none():
    known = sections.every_key()
    assert set(SYNONYMS.values()) <= set(known)
    names = {key.rpartition(".")[2] for key in known}
    assert not names & SYNONYMS.keys()


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("--steps=10", "--config.train.steps?"),
        ("--train.steps=10", "--config.train.steps?"),
        ("--batch-size=10", "--config.train.batch_size?"),
        ("--lr=1", "--config.optimizer.learning_rate?"),
        ("--learning-rate=1", "--config.optimizer.learning_rate?"),
        ("--epochs=1", "--config.train.steps?"),
        ("--wrkdir=x", "workdir?"),
        ("--config.lr=1", "config.optimizer.learning_rate?"),
        ("--config.optimizer.lr=1", "config.optimizer.learning_rate?"),
        ("--config.steps=1", "config.train.steps?"),
        ("--config.model.d_model=1", "config.model.width?"),
        ("--config.train.learning_rate=1", "config.optimizer.learning_rate?"),
        ("--config.n-layer=1", "config.model.layers?"),
        ("--config.vocab=1", "config.model.vocab_size?"),
        ("--config.train.stepz=1", "steps?"),
    ],
)
def test_the_key_is_named(word, meant):
    with pytest.raises(ConfigError) as refused:
        main.main(["--config=configs/gpt2_nano.py", word])
    assert f"did you mean {meant}" in str(refused.value)


def test_dashes_are_underscores():
    line = command.parse(["--config=x", "--top-k=5", "--config.train.log-every=7"], {"top_k": ""})
    assert line.flags["top_k"] == "5" and line.overrides == (("train.log_every", "7"),)


@pytest.mark.parametrize("option", ["--config.model.dropout", "--workdir", "--config"])
def test_an_option_without_its_value_does_not_take_the_next_option(option):
    with pytest.raises(ConfigError, match=f"{option} needs a value"):
        command.parse(["--config=x", option, "--config.train.steps=5"], {"workdir": ""})


def test_negative_numbers_are_values():
    line = command.parse(["--config=x", "--config.mesh.data", "-1"], {})
    assert line.overrides == (("mesh.data", "-1"),)
