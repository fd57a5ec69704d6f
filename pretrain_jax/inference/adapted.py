"""Several adapters over one base: each model shares the arrays of the base."""

from functools import lru_cache
from typing import Any

import jax
from etils import epath

from pretrain_jax.composition import restore_source
from pretrain_jax.composition.build import Design
from pretrain_jax.digest import combine, digest_leaves
from pretrain_jax.errors import ConfigError
from pretrain_jax.inference import restore
from pretrain_jax.inference.arguments import check_checkpoint
from pretrain_jax.inference.generation import build_generator
from pretrain_jax.inference.trained_model import TrainedModel
from pretrain_jax.layers.stacks import separate
from pretrain_jax.optim.trees import join_trees, named_leaves, split_tree
from pretrain_jax.workdir.checkpoint import Checkpoints


def adapt(model: TrainedModel, path: epath.PathLike, step: int | None) -> TrainedModel:
    """See `TrainedModel.with_adapter`."""
    if model.source is None:
        raise ConfigError(
            "with_adapter needs a base that was loaded from a workdir. Write one with "
            "python -m pretrain_jax.convert --from_hf=FOLDER --workdir=RUN"
        )
    if not model.design.model.adapter.trains_all:
        raise ConfigError(
            "with_adapter needs a model without an adapter; this one has adapter.name="
            f"{model.design.spec.adapter.name}. Load its base, {model.design.spec.init_from}"
        )
    check_checkpoint(path, step)
    workdir, step = restore.pick_checkpoint(path, step)
    spec = model.design.spec
    devices = model.design.target.devices
    design = restore.load_design(workdir, devices, str(spec.train.dtype), dict(spec.mesh))
    if design.model.adapter.trains_all:
        raise ConfigError(
            f"with_adapter needs the run of an adapter; {workdir} has adapter.name=none. Load it "
            "with pretrain_jax.load"
        )
    with Checkpoints(workdir / "checkpoints", read_only=True) as checkpoints:
        step = restore.pick_step(checkpoints, step)
        names = [name for name, _ in named_leaves(design.model.split(design.model.param_shapes)[1])]
        leaves = read_leaves(str(model.source), model.step)
        base = combine({name: leaves[name] for name in names if name in leaves})
        restore_source.check_base(checkpoints, step, base, str(model.source))
        params = restore_source.restore_trained(design, checkpoints, step)
    served, small = restore.for_inference(design, params)
    params = override(model.generator.params, small, design)
    generator = build_generator(served, params, model.tokenizer)
    return TrainedModel(served, model.tokenizer, step, generator, workdir)


def override(base: Any, small: Any, design: Design) -> Any:
    """The parameters of a design with separate layers: those of `small`, and the others of
    `base`."""
    shapes = jax.eval_shape(separate, design.model.param_shapes)
    own = {name for name, _ in named_leaves(small)}
    wanted = {name for name, _ in named_leaves(shapes)} - own
    kept, _ = split_tree(base, wanted)
    return join_trees(kept, small)


@lru_cache(maxsize=8)
def read_leaves(workdir: str, step: int) -> dict[str, str]:
    """The digests of the parameters of a checkpoint (digest.py), which is read once for all
    adapters."""
    return digest_leaves(restore.restore_params(restore.load_design(workdir), workdir, step).params)
