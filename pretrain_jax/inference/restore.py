"""Restores a trained model from its workdir, without the data: for commands that use models."""

from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from etils import epath
from ml_collections import ConfigDict

from pretrain_jax import tokenizers
from pretrain_jax.composition import resume, tokenizer
from pretrain_jax.composition.build import Design, build_design
from pretrain_jax.composition.sections import SECTIONS, with_defaults
from pretrain_jax.errors import InputMissing
from pretrain_jax.files.parsing import check_keys
from pretrain_jax.workdir import run_config
from pretrain_jax.workdir.checkpoint import Checkpoints


@dataclass(frozen=True)
class TrainedModel:
    """Parameters on one device, with the tokenizer of their training."""

    design: Design
    tokenizer: tokenizers.Tokenizer
    params: Any
    step: int
    """Updates of the checkpoint."""

    def encode(self, prompt: str) -> np.ndarray:
        """int32 [n]: the id that begins a document, if any, then the prompt."""
        bos = [] if self.tokenizer.bos is None else [self.tokenizer.bos]
        return np.concatenate([np.array(bos, np.int32), self.tokenizer.encode(prompt)])


def restore_model(directory: epath.PathLike) -> TrainedModel:
    """The model in a workdir's last checkpoint. Raises InputMissing without a checkpoint."""
    return restore_params(load_design(directory), directory)


def restore_params(
    design: Design, directory: epath.PathLike, step: int | None = None
) -> TrainedModel:
    """The model of a design, with the parameters of a step in a workdir; None = the last one.

    Raises InputMissing without that checkpoint.
    """
    path = epath.Path(directory)
    with Checkpoints(path / "checkpoints", read_only=True) as checkpoints:
        step = checkpoints.latest() if step is None else step
        if step is None:
            raise InputMissing(f"--workdir must have a checkpoint; {path}/checkpoints has none yet")
        resume.check_code_version(checkpoints, step, design.spec, accept=True)
        shapes = {"params": design.placement.params}
        params = checkpoints.restore(step, shapes, partial=True)["params"]
    return TrainedModel(design, tokenizer.load_trained(design.spec, path), params, step)


def load_design(directory: epath.PathLike, device: Any = None, dtype: str = "") -> Design:
    """The design of the run in a workdir, on one device.

    device: None = the first one. dtype: of matrix products; "" = that of the run.
    """
    stored = run_config.read_config(directory)
    if stored is None:
        raise InputMissing(
            f"--workdir must be the workdir of a run; {directory} has no config.json"
        )
    check_keys(dict.fromkeys(SECTIONS, dict), stored, f"{directory}/config.json", resume.RESTORE)
    values = with_defaults(stored)
    values["train"] = {**values["train"], **({"dtype": dtype} if dtype else {})}
    config = ConfigDict(values)
    with config.unlocked():
        config.mesh = ConfigDict({"data": 1, "fsdp": 1, "tensor": 1})
    return build_design(config, (device or jax.devices()[0],))
