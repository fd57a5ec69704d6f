"""Loads a model from a workdir, from one of its checkpoints, or from a folder of transformers."""

from collections.abc import Mapping
from pathlib import Path

from etils import epath

from pretrain_jax.errors import ConfigError, InputMissing
from pretrain_jax.files import parsing, paths
from pretrain_jax.huggingface._families import CONFIG, family_of_subfolders
from pretrain_jax.inference.arguments import check_checkpoint
from pretrain_jax.inference.restore import pick_checkpoint, restore_model
from pretrain_jax.inference.trained_model import TrainedModel


def load(
    path: epath.PathLike,
    step: int | None = None,
    dtype: str = "auto",
    mesh: Mapping[str, int] | None = None,
) -> TrainedModel:
    """The model at a path. See `pretrain_jax.load`."""
    check_checkpoint(path, step)
    folder = epath.Path(paths.expand_user(str(path), "path"))
    if not folder.exists():
        raise InputMissing(f"a model needs a folder that exists; received {str(path)!r}")
    if is_foreign(folder):
        if step is not None:
            raise ConfigError(f"{folder} has no steps; received step={step}. Leave it out")
        from pretrain_jax.huggingface import _import  # a workdir needs none of it

        return _import.load_folder(folder, dtype, mesh)
    return restore_model(*pick_checkpoint(folder, step), dtype, mesh)


def is_foreign(folder: epath.Path) -> bool:
    """Whether a folder is one of transformers: its config.json names a model_type, or it holds the
    folders of a family with several."""
    file = folder / CONFIG
    if not file.exists():
        return family_of_subfolders(Path(folder)) is not None
    values = parsing.read_json(file, "name the folder of a run, or of a model of transformers")
    return "model_type" in values
