"""What looks like a session in a docstring is one."""

import doctest
import importlib
import pkgutil

import pytest

import pretrain_jax

MODULES = [module.name for module in pkgutil.walk_packages(pretrain_jax.__path__, "pretrain_jax.")]


@pytest.mark.parametrize("name", MODULES)
def test_examples_hold(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # some write into runs/
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE | doctest.IGNORE_EXCEPTION_DETAIL
    assert doctest.testmod(importlib.import_module(name), optionflags=flags).failed == 0
