"""The families that can be exchanged: the modules of this folder, by model_type."""

from pathlib import Path
from types import ModuleType

from pretrain_jax import registry

CONFIG = "config.json"


def load_families() -> dict[str, ModuleType]:
    """The module of each family: {"gpt2": gpt2.py, "openai-gpt": openai_gpt.py, ...}."""
    names = registry.names("huggingface")
    modules = (registry.load("huggingface", name, "model_type") for name in names)
    return {model_type(module): module for module in modules}


def model_type(family: ModuleType) -> str:
    """The model_type of a family: "openai-gpt" for openai_gpt.py."""
    return family.__name__.rpartition(".")[2].replace("_", "-")


def family_of_subfolders(root: Path) -> ModuleType | None:
    """The family whose model consists of several folders, if all of them are in `root`."""
    for module in load_families().values():
        if "" not in module.FOLDERS and all((root / n / CONFIG).exists() for n in module.FOLDERS):
            return module
    return None
