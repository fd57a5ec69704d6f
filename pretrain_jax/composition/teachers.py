"""Reads the parameters of the teacher of objective distill."""

from typing import Any

from pretrain_jax.cluster.hosts import Hosts
from pretrain_jax.composition import init_from, restore_source
from pretrain_jax.composition.build import Design
from pretrain_jax.composition.resume import check_code_version, read_fingerprints
from pretrain_jax.errors import ConfigError, InputMissing
from pretrain_jax.tokenizers import Tokenizer
from pretrain_jax.workdir.checkpoint import Checkpoints

DIGEST = "teacher"
"""The key of the digest of the teacher's parameters in the data state of a checkpoint."""


def restore_teacher(design: Design, hosts: Hosts, tokenizer: Tokenizer) -> Any:
    """The parameters of the teacher of a design. Raises InputMissing without its checkpoint, and
    ConfigError for another tokenizer."""
    teacher = design.teacher
    assert teacher is not None
    path, step = init_from.split_source(design.task.objective.teacher)
    with Checkpoints(path / "checkpoints", read_only=True) as checkpoints:
        with hosts.all_or_none("the teacher"):
            step = checkpoints.latest() if step is None else step
            if step is None:
                raise InputMissing(
                    f"objective.teacher must be a workdir with a checkpoint; {path} has none. Name "
                    "another one"
                )
            check_code_version(checkpoints, step, teacher.spec, accept=True)
            stored = read_fingerprints(checkpoints, step, teacher.spec) or {}
            if stored.get("tokenizer", tokenizer.fingerprint) != tokenizer.fingerprint:
                raise ConfigError(
                    f"a student needs the tokenizer of its teacher; that of {path} is another one. "
                    f"Set tokenizer.path={path}/tokenizer and tokenizer.name to its name"
                )
        step = hosts.broadcast("the step of the teacher", step)
        return restore_source.restore_params(teacher, checkpoints, step, hosts, tokenizer)


def check_teacher(checkpoints: Checkpoints, step: int, digest: str, teacher: str) -> None:
    """Raises ConfigError unless a student was trained with the teacher of this digest.

    teacher: the run that has it now."""
    stored = checkpoints.read_json(step, "data").get(DIGEST, digest)
    if stored != digest:
        raise ConfigError(
            f"a student keeps its teacher; step {step} of {checkpoints.directory} was trained with "
            f"the parameters of digest {stored}, and those of {teacher} have {digest}. Name the "
            "checkpoint that it began with: --config.objective.teacher=RUN/checkpoints/STEP"
        )
