"""The folders of choices: an incomplete module is refused with what it lacks."""

import importlib
import sys

import pytest

from pretrain_jax import registry
from pretrain_jax.errors import ConfigError


@pytest.mark.parametrize(
    ("folder", "content", "lacks"),
    [
        ("objectives", "", "lacks build"),
        ("tokenizers", "def load(path): ...", "lacks train"),
        ("tokenizers", "", "lacks load and train"),
        ("data.sources", "TAKES_NAME = ''", "lacks find"),
        ("models", "import nothing_of_this_name", "must be importable; it ended with ModuleNot"),
    ],
)
def test_an_incomplete_module_is_refused_with_what_it_lacks(
    tmp_path, monkeypatch, folder, content, lacks
):
    package = importlib.import_module(f"pretrain_jax.{folder}")
    monkeypatch.setattr(package, "__path__", [*package.__path__, str(tmp_path)])
    (tmp_path / "mine.py").write_text(content)
    try:
        with pytest.raises(ConfigError, match=rf"{folder.replace('.', '/')}/mine\.py .*{lacks}"):
            registry.load(folder, "mine", "its key")
    finally:
        sys.modules.pop(f"pretrain_jax.{folder}.mine", None)


@pytest.mark.parametrize("folder", registry.DEFINITIONS)
def test_every_module_is_complete(folder):
    for name in registry.names(folder):
        assert registry.load(folder, name, "its key")
