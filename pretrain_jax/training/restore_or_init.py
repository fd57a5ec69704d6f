"""The state that a run starts with: from its last checkpoint, from another run, or new.

With an adapter, the parameters that do not train are always those of `init_from`.
"""

import logging
from dataclasses import dataclass
from typing import Any

from pretrain_jax.cluster.hosts import Hosts
from pretrain_jax.composition import restore_source, teachers
from pretrain_jax.composition.build import Design
from pretrain_jax.digest import digest_arrays
from pretrain_jax.errors import DataError, list_names
from pretrain_jax.objectives.distill import TEACHER
from pretrain_jax.progress import progress
from pretrain_jax.step import TrainState
from pretrain_jax.tokenizers import Tokenizer
from pretrain_jax.training import finite
from pretrain_jax.workdir.checkpoint import Checkpoints

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Start:
    """What a run starts from."""

    step: int
    """The number of updates done."""
    state: TrainState
    frozen: Any
    """The parameters that do not train; {} without an adapter."""
    digests: dict[str, str]
    """The digests of an adapter's base and of a teacher, where there are any, by their key in the
    data state of a checkpoint."""


def restore_or_init(
    design: Design,
    checkpoints: Checkpoints,
    step: int | None,
    hosts: Hosts,
    tokenizer: Tokenizer,
) -> Start:
    """The start of a run: the checkpoint of `step`, or a new state.

    A new state has the parameters of `init_from`, if that is set. Raises ConfigError if a
    checkpoint adapts other parameters than those of `init_from`.
    """
    model, taken, frozen = design.model, None, {}
    if design.spec.init_from and (step is None or not model.adapter.trains_all):
        with progress("initializing the parameters"):
            first = restore_source.first_params(design, hosts, tokenizer)
        taken, frozen = model.split(first)
    digests = {restore_source.BASE: digest_arrays(frozen)} if frozen else {}
    if design.teacher is not None:
        with progress("reading the teacher"):
            params = teachers.restore_teacher(design, hosts, tokenizer)
        frozen = {**frozen, TEACHER: params}
        digests[teachers.DIGEST] = digest_arrays(params)
    if step is None:
        with progress("initializing the state"):
            state = design.update.init_state()
        state = state if taken is None else state.replace(params=taken)
        return Start(0, state, frozen, digests)
    with hosts.all_or_none("the checkpoint"):  # before reading, which waits for all processes
        checkpoints.check_arrays(step, design.update.abstract_state)
        base = digests.get(restore_source.BASE, "")
        restore_source.check_base(checkpoints, step, base, design.spec.init_from)
        if teacher := digests.get(teachers.DIGEST):
            named = design.task.objective.teacher
            teachers.check_teacher(checkpoints, step, teacher, named)
    log.info("resuming from step %d", step)
    with progress("reading the checkpoint"):
        restored = checkpoints.restore(step, design.update.abstract_state)
    check_finite(checkpoints, step, restored)
    return Start(step, restored, frozen, digests)


def restore_params(
    design: Design, checkpoints: Checkpoints, step: int, hosts: Hosts, tokenizer: Tokenizer
) -> Any:
    """The parameters of a checkpoint, without the optimizer's state."""
    abstract = {"params": design.model.split(design.placement.params)[0]}
    with hosts.all_or_none("the checkpoint"):
        checkpoints.check_arrays(step, abstract, partial=True)
    params = restore_source.restore_params(design, checkpoints, step, hosts, tokenizer)
    check_finite(checkpoints, step, params)
    return params


def check_finite(checkpoints: Checkpoints, step: int, restored: Any) -> None:
    """Raises DataError if restored arrays are not finite: a run saves only finite ones."""
    if arrays := finite.non_finite_arrays(restored):
        raise DataError(
            f"arrays of a checkpoint must be finite; in {checkpoints.directory / str(step)}, which "
            f"must be damaged, {list_names(arrays)} are not. Move that directory away and "
            "add --go_back, or restore it from a copy"
        )
