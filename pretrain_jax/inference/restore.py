"""Restores a trained model from its workdir, without the data: for commands that use models."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
from etils import epath
from ml_collections import ConfigDict

from pretrain_jax import registry
from pretrain_jax.cluster.hosts import SINGLE_PROCESS
from pretrain_jax.composition import restore_source, resume, tokenizer
from pretrain_jax.composition.build import Design, build_design
from pretrain_jax.composition.sections import SECTIONS, with_defaults
from pretrain_jax.devices.target import DTYPES
from pretrain_jax.errors import ConfigError, InputMissing
from pretrain_jax.files.parsing import check_keys
from pretrain_jax.inference.generation import build_generator
from pretrain_jax.inference.trained_model import TrainedModel
from pretrain_jax.layers.stacks import separate
from pretrain_jax.step import cast_kernels
from pretrain_jax.tokenizers import Tokenizer
from pretrain_jax.workdir import run_config
from pretrain_jax.workdir.checkpoint import Checkpoints
from pretrain_jax.workdir.step_folders import split_checkpoint

ONE_DEVICE = {"data": 1}


@dataclass(frozen=True)
class Restored:
    """The model of a checkpoint as training has it, with stacked layers."""

    design: Design
    tokenizer: Tokenizer
    params: Any
    step: int
    """Updates of the checkpoint."""


def restore_model(
    directory: epath.PathLike,
    step: int | None = None,
    dtype: str = "auto",
    mesh: Mapping[str, int] | None = None,
) -> TrainedModel:
    """The model of a checkpoint, to use. See `pretrain_jax.load`."""
    design = load_design(directory, devices_of(mesh), dtype, mesh)
    return use(restore_params(design, directory, step), epath.Path(directory))


def pick_checkpoint(folder: epath.PathLike, step: int | None) -> tuple[epath.Path, int | None]:
    """(workdir, step) of a workdir or of one of its checkpoints. Raises ConfigError for two steps.

    >>> pick_checkpoint("runs/xl", 1000)
    (PosixGPath('runs/xl'), 1000)
    """
    workdir, named = split_checkpoint(folder)
    if named is not None and step not in (None, named):
        raise ConfigError(f"{folder} is one checkpoint; received step={step} too. Leave it out")
    return workdir, step if named is None else named


def use(restored: Restored, source: epath.Path | None = None) -> TrainedModel:
    """A restored model, to use; its parameters can be freed. source: its workdir, if it has one."""
    design, params = for_inference(restored.design, restored.params)
    generator = build_generator(design, params, restored.tokenizer)
    return TrainedModel(design, restored.tokenizer, restored.step, generator, source)


def restore_params(design: Design, directory: epath.PathLike, step: int | None = None) -> Restored:
    """The model of a design, with the parameters of a step in a workdir; None = the last one.

    Raises InputMissing without that checkpoint.
    """
    path = epath.Path(directory)
    with Checkpoints(path / "checkpoints", read_only=True) as checkpoints:
        step = pick_step(checkpoints, step)
        resume.check_code_version(checkpoints, step, design.spec, accept=True)
        vocab = tokenizer.load_trained(design.spec, path)
        params = restore_source.restore_params(design, checkpoints, step, SINGLE_PROCESS, vocab)
    return Restored(design, vocab, params, step)


def pick_step(checkpoints: Checkpoints, step: int | None) -> int:
    """The step, or the last one for None. Raises InputMissing without any."""
    step = checkpoints.latest() if step is None else step
    if step is None:
        folder = checkpoints.directory
        raise InputMissing(f"--workdir must have a checkpoint; {folder} has none yet")
    return step


def merge_adapter(restored: Restored) -> Restored:
    """A model without an adapter that computes the same. Raises ConfigError if the base has no
    parameters for it."""
    design = restored.design
    adapter = design.model.adapter
    if adapter.trains_all:
        return restored
    if not adapter.can_merge:
        raise ConfigError(
            "an adapter must fit into the parameters of its base to be merged; that of "
            f"adapter.name={design.spec.adapter.name} does not. Train one with adapter.name=lora"
        )
    config = ConfigDict({**design.spec.config_dict, "adapter": {"name": "none"}})
    params = adapter.merge(restored.params) if adapter.merge else restored.params
    return replace(restored, design=build_design(config, design.target.devices), params=params)


def for_inference(design: Design, params: Any) -> tuple[Design, Any]:
    """The design and the parameters with separate layers and kernels in the compute dtype.

    The given parameters can be freed.
    """
    served = replace(design, separate_layers=True)
    cast = partial(cast_kernels, dtype=design.model.dtype)
    # A layer keeps the sharding of the stack, so that no initialisation of it needs to be traced.
    return served, jax.jit(lambda params: separate(cast(params)))(params)


def load_design(
    directory: epath.PathLike,
    devices: Sequence[Any] = (),
    dtype: str = "auto",
    mesh: Mapping[str, int] | None = None,
) -> Design:
    """The design of the run in a workdir, for these devices.

    devices: none is the first one. dtype: of matrix products: "float32", "bfloat16", or "auto",
    which is that of the run. mesh: sizes of mesh axes; None is one device.
    """
    stored = run_config.read_config(directory)
    if stored is None:
        raise InputMissing(
            f"--workdir must be the workdir of a run; {directory} has no config.json"
        )
    stored = with_defaults(stored)
    check_keys(dict.fromkeys(SECTIONS, dict), stored, f"{directory}/config.json", resume.RESTORE)
    config = adapt_config(stored, dtype, mesh)
    return build_design(config, tuple(devices or jax.devices()[:1]))


def adapt_config(
    sections: Mapping[str, Any], dtype: str, mesh: Mapping[str, int] | None
) -> ConfigDict:
    """The config of a run with another dtype and mesh; see `load_design`. Raises ConfigError."""
    registry.check_name(dtype, ("auto", *DTYPES), "dtype")
    train = sections["train"] if dtype == "auto" else {**sections["train"], "dtype": dtype}
    return ConfigDict({**sections, "train": train, "mesh": dict(mesh or ONE_DEVICE)})


def devices_of(mesh: Mapping[str, int] | None) -> tuple[Any, ...]:
    """All devices for a mesh; the first one without a mesh."""
    return tuple(jax.devices() if mesh else jax.devices()[:1])
