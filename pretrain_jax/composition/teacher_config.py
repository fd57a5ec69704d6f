"""The config of the teacher of objective distill, for the mesh and the batches of a run."""

from ml_collections import ConfigDict

from pretrain_jax.composition.sections import with_defaults
from pretrain_jax.composition.spec import Spec
from pretrain_jax.errors import ConfigError, InputMissing
from pretrain_jax.files import paths
from pretrain_jax.objectives import Objective
from pretrain_jax.workdir import run_config, step_folders

OWN = ("model", "tokenizer", "adapter", "init_from")
"""What the teacher has from its own run; the rest is that of the student's."""


def teacher_config(spec: Spec, objective: Objective) -> ConfigDict:
    """The config of the teacher of an objective. Raises InputMissing without its config.json, and
    ConfigError if the objective compares hidden states of two widths."""
    path, _ = step_folders.split_checkpoint(paths.expand_user(objective.teacher, "teacher"))
    stored = run_config.read_config(path)
    if stored is None:
        raise InputMissing(
            f"objective.teacher must be the workdir of a run; {path} has no config.json. Name "
            "another folder; python -m pretrain_jax.convert --from_hf=FOLDER --workdir=RUN makes "
            "one of a model of Hugging Face"
        )
    stored = with_defaults(stored)
    widths = spec.model.width, stored["model"]["width"]
    if "cosine" in objective.coefficients and len(set(widths)) > 1:
        raise ConfigError(
            "objective.cosine_weight compares hidden states of one width; the student's is "
            f"{widths[0]}, the teacher's {widths[1]}. Set it to 0"
        )
    own = {name: stored[name] for name in OWN}
    return ConfigDict({**spec.config_dict, **own, "objective": dict(objective.teacher_objective)})
