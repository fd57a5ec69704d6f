"""Small vocabularies, trained once for each choice of options."""

import functools
from pathlib import Path

import pytest
from text_samples import CORPUS, NASTY

from pretrain_jax import registry


@pytest.fixture(scope="session")
def vocabulary(tmp_path_factory):
    """vocabulary(name, **options): the folder of a trained vocabulary of at most 600 ids."""

    @functools.cache
    def train(name: str, **options) -> Path:
        folder = tmp_path_factory.mktemp(name)
        module = registry.load("tokenizers", name, "tokenizer.name")
        module.train([CORPUS, NASTY], folder, vocab_size=600, **options)
        return folder

    return train


@pytest.fixture(scope="session")
def trained(vocabulary):
    """trained(name, **options): the tokenizer of that vocabulary."""

    @functools.cache
    def load(name: str, **options):
        module = registry.load("tokenizers", name, "tokenizer.name")
        read = registry.accepted_kwargs(module.load, options)
        return module.load(vocabulary(name, **options), **read)

    return load
