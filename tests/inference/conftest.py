"""Trained models of every family, shared by the tests of a process."""

import functools

import pytest
import tiny_job
from tiny_families import FAMILIES, SHARED

import pretrain_jax
from pretrain_jax.composition import config
from pretrain_jax.training import loop


@pytest.fixture(scope="session")
def workdir(tmp_path_factory):
    """workdir(family) -> that of a run of 30 steps."""
    job = tiny_job.write(tmp_path_factory.mktemp("job"))

    @functools.cache
    def train(family):
        overrides = [(k, str(v)) for k, v in {**SHARED, **FAMILIES[family]}.items()]
        folder = tmp_path_factory.mktemp(family) / "run"
        loop.train(config.read(str(job), overrides), str(folder))
        return folder

    return train


@pytest.fixture(scope="session")
def load(workdir):
    return functools.cache(lambda family: pretrain_jax.load(workdir(family)))
