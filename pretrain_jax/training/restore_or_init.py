"""Where the state of a run comes from: its last checkpoint, another run, or nothing."""

import logging
from typing import Any

from etils import epath

from pretrain_jax.cluster.hosts import Hosts
from pretrain_jax.composition import init_from
from pretrain_jax.composition.build import Design
from pretrain_jax.composition.corpora import same_data
from pretrain_jax.composition.resume import check_code, fingerprints
from pretrain_jax.errors import DataError, WorkdirMismatch
from pretrain_jax.progress import progress
from pretrain_jax.step import TrainState
from pretrain_jax.tokenizers import Tokenizer
from pretrain_jax.training import finite
from pretrain_jax.training.setup import last_step
from pretrain_jax.workdir.checkpoint import Checkpoints

log = logging.getLogger(__name__)


def state(
    design: Design,
    checkpoints: Checkpoints,
    step: int | None,
    hosts: Hosts,
    tokenizer: Tokenizer,
) -> tuple[int, TrainState]:
    """The state of a checkpoint, or a fresh one (from `init_from`, where it is set)."""
    if step is None:
        with progress("making the first state"):
            fresh = design.update.init_state()
        if design.spec.init_from:
            fresh = fresh.replace(params=inherited(design, fresh.params, hosts, tokenizer))
        return 0, fresh
    with hosts.all_or_none("the checkpoint"):  # before any of them reads, for reading waits for all
        checkpoints.compare(step, design.update.abstract_state)
    log.info("resuming from step %d", step)
    with progress("reading the checkpoint"):
        restored = checkpoints.restore(step, design.update.abstract_state)
    check_finite(checkpoints, step, restored)
    return step, restored


def params(design: Design, checkpoints: Checkpoints, step: int, hosts: Hosts) -> Any:
    """The parameters of a checkpoint, without the optimizer."""
    wanted = {"params": design.placement.params}
    with hosts.all_or_none("the checkpoint"):
        checkpoints.compare(step, wanted, partial=True)
    found = checkpoints.restore(step, wanted, partial=True)["params"]
    check_finite(checkpoints, step, found)
    return found


def check_finite(checkpoints: Checkpoints, step: int, found: Any) -> None:
    """Raises DataError where what was read of a checkpoint is not finite: none such is saved."""
    if arrays := finite.not_finite(found):
        raise DataError(
            f"the checkpoint {checkpoints.directory / str(step)} is damaged: it was saved with "
            f"finite numbers, and {finite.named(arrays)} are not. Move that directory away and "
            "add --go_back, or restore it from a copy"
        )


def inherited(design: Design, fresh: Any, hosts: Hosts, tokenizer: Tokenizer) -> Any:
    """The parameters of the last checkpoint of `init_from`, for the tokens of this run."""
    source = init_from.workdir_of(design.spec)
    with Checkpoints(epath.Path(source) / "checkpoints", read_only=True) as checkpoints:
        step = last_step(checkpoints, hosts)
        with hosts.all_or_none("init_from"):
            if step is None:
                raise WorkdirMismatch(
                    f"init_from must be a workdir with a checkpoint; {source} has none"
                )
            check_code(checkpoints, step, design.spec, accept=True)
            stored = fingerprints(checkpoints, step, design.spec)
            if stored and design.spec.init_tokens == "same":
                same_data("tokenizer", stored, "tokenizer", tokenizer.fingerprint)
            wanted = init_from.wanted(design, checkpoints, step)
            checkpoints.compare(step, wanted, partial=True)
        restored = checkpoints.restore(step, wanted, partial=True)["params"]
        return init_from.for_tokens(design, restored, fresh, tokenizer)
