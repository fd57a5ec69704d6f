"""The contract of models/: what a module must define, and that nothing else is assumed of it."""

import json
import subprocess
import sys
from types import ModuleType
from typing import Any

import pytest
import tiny
import tiny_job

from pretrain_jax import describe, models, registry
from pretrain_jax.errors import ConfigError
from pretrain_jax.models import _base

RUNNING_MEAN = '''
"""Each position has the mean of the embeddings so far: no heads, layers, width or max_length."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from pretrain_jax.errors import ConfigError
from pretrain_jax.layers.embeddings import Embedding
from pretrain_jax.layers.initializers import Normal
from pretrain_jax.layers.stacks import read_out

ATTENTION = ("causal",)


def check(options, longest):
    if options["features"] % 2:
        raise ConfigError(f"model.features must be even; received {options['features']}")


class RunningMean(nn.Module):
    vocab_size: int
    features: int
    context: Any

    @nn.compact
    def __call__(self, batch, train):
        context = self.context
        rows = {"pad_vocab_to": context.pad_vocab_to, "dtype": context.dtype}
        embedding = Embedding(self.vocab_size, self.features, Normal(1.0), name="embedding", **rows)
        x = embedding(batch["tokens"], batch["positions"], train)
        segments = batch["segments"]
        same = jnp.tril(segments[:, :, None] == segments[:, None, :])
        mean = jnp.einsum("blm,bmd->bld", same / same.sum(-1, keepdims=True), x)
        x = x + nn.Dense(self.features, dtype=context.dtype)(nn.relu(mean))  # without axis names
        return read_out(context, None, x, batch, embedding.readout(), train)


def build(context, *, vocab_size: int, features: int = 16):
    return RunningMean(vocab_size, features, context)
'''
SECTION = 'model=dict(name="running_mean", vocab_size=262, features=16)'
IN_MODELS = """
import sys
from pretrain_jax import main, models
models.__path__.append(sys.argv[1])
sys.exit(main.main(sys.argv[2:]))
"""


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    """A folder with running_mean.py and tiny.py, a config that names it."""
    folder = tmp_path_factory.mktemp("running_mean")
    (folder / "models").mkdir()
    (folder / "models" / "running_mean.py").write_text(RUNNING_MEAN)
    path = tiny_job.write(folder)
    before, _, rest = path.read_text().partition("model=dict(")
    path.write_text(before + SECTION + "," + rest.partition("dropout=0.1),")[2])
    return folder


@pytest.fixture
def in_models(job, monkeypatch):
    monkeypatch.setattr(models, "__path__", [*models.__path__, str(job / "models")])
    yield
    sys.modules.pop("pretrain_jax.models.running_mean", None)


def test_a_model_that_is_no_transformer_is_described(job, in_models, capsys):
    assert describe.main([f"--config={job}/tiny.py", "--json"]) == 0
    described = json.loads(capsys.readouterr().out)
    assert described["parameters"] == 262 * 16 + 16 * 16 + 16


@pytest.mark.parametrize("mode", ["preflight", "train"])
def test_a_model_that_is_no_transformer_runs(job, mode):
    options = [f"--config={job}/tiny.py", f"--workdir={job}/{mode}", f"--mode={mode}"]
    steps = ["--config.train.steps=3", "--config.eval.tokens=100"]
    command = [sys.executable, "-c", IN_MODELS, str(job / "models"), *options, *steps]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    if mode == "train":
        assert list(tiny_job.losses(job / mode)) == [1, 2, 3]


def test_a_models_own_check_is_called(job, in_models, capsys):
    config = [f"--config={job}/tiny.py", "--config.model.features=15"]
    with pytest.raises(ConfigError, match=r"model\.features must be even; received 15"):
        describe.main(config)


@pytest.mark.parametrize("name", tiny.NAMES)
def test_every_architecture_is_complete(name):
    architecture = _base.load(name)
    assert architecture.name == name
    assert set(architecture.required_fields) <= set(architecture.fields)
    assert "vocab_size" in registry.options(architecture.build)


def module(**constants: Any) -> ModuleType:
    """A complete module but for `constants`; None removes one."""

    def build(context, *, vocab_size: int): ...

    made: Any = ModuleType("pretrain_jax.models.mine")
    for key, value in ({"build": build, "ATTENTION": ("causal",)} | constants).items():
        if value is not None:
            setattr(made, key, value)
    return made


def no_context(*, vocab_size: int): ...


def no_vocabulary(context, *, width: int): ...


def positional(context, vocab_size: int): ...


def untyped(context, *, vocab_size): ...


def test_a_complete_module_has_defaults():
    architecture = _base.from_module(module())
    assert architecture.attention == ("causal",)
    assert architecture.methods == ("__call__",)
    assert (architecture.fields, architecture.required_fields, architecture.parts) == ((), (), {})
    assert architecture.check({}, 10**9) is None


@pytest.mark.parametrize(
    "constants, message",
    [
        ({"build": None}, "must define a function build"),
        ({"build": no_context}, r"received build\(\*, vocab_size: int\)"),
        ({"build": no_vocabulary}, r"received build\(context, \*, width: int\)"),
        ({"build": positional}, r"received build\(context, vocab_size: int\)"),
        ({"build": untyped}, "with a type for every option"),
        ({"ATTENTION": None}, "must define ATTENTION"),
        ({"ATTENTION": "causal"}, r"ATTENTION as a tuple of names.*received 'causal'"),
        ({"ATTENTION": ("casual",)}, "every entry of ATTENTION.*did you mean causal"),
        ({"FIELDS": ("prefx",)}, "every entry of FIELDS.*did you mean prefix"),
        ({"REQUIRED_FIELDS": ("prefix",)}, "every entry of REQUIRED_FIELDS"),
        ({"METHODS": ["__call__"]}, "METHODS as a tuple"),
        ({"check": 3}, "check as a function"),
    ],
)
def test_an_incomplete_module_is_refused_by_name(constants, message):
    with pytest.raises(ConfigError, match=message) as refused:
        _base.from_module(module(**constants))
    assert "models/mine.py" in str(refused.value)


def test_a_model_that_returns_something_else_is_refused_by_name(job, in_models, capsys):
    file = job / "models" / "bare.py"
    file.write_text(RUNNING_MEAN.replace("return read_out(context, None, x, batch", "return (x, 0"))
    try:
        with pytest.raises(ConfigError, match=r"models/bare\.py must define a module that returns"):
            describe.main([f"--config={job}/tiny.py", "--config.model.name=bare"])
    finally:
        file.unlink()
        sys.modules.pop("pretrain_jax.models.bare", None)
