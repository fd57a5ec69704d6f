"""The state that a run starts with: from its last checkpoint, from another run, or new."""

import logging
from typing import Any

from etils import epath

from pretrain_jax.cluster.hosts import Hosts
from pretrain_jax.composition import init_from, source_params
from pretrain_jax.composition.build import Design
from pretrain_jax.composition.corpora import check_same_data
from pretrain_jax.composition.resume import check_code_version, read_fingerprints
from pretrain_jax.errors import DataError, list_names
from pretrain_jax.progress import progress
from pretrain_jax.step import TrainState
from pretrain_jax.tokenizers import Tokenizer
from pretrain_jax.training import finite
from pretrain_jax.workdir.checkpoint import Checkpoints

log = logging.getLogger(__name__)


def restore_or_init(
    design: Design,
    checkpoints: Checkpoints,
    step: int | None,
    hosts: Hosts,
    tokenizer: Tokenizer,
) -> tuple[int, TrainState]:
    """The number of updates done, and the state: that of the checkpoint of `step`, or a new one.

    A new state has the parameters of `init_from`, if that is set.
    """
    if step is None:
        with progress("initializing the state"):
            fresh = design.update.init_state()
        if design.spec.init_from:
            params = restore_source_params(design, fresh.params, hosts, tokenizer)
            fresh = fresh.replace(params=params)
        return 0, fresh
    with hosts.all_or_none("the checkpoint"):  # before reading, which waits for all processes
        checkpoints.check_arrays(step, design.update.abstract_state)
    log.info("resuming from step %d", step)
    with progress("reading the checkpoint"):
        restored = checkpoints.restore(step, design.update.abstract_state)
    check_finite(checkpoints, step, restored)
    return step, restored


def restore_params(design: Design, checkpoints: Checkpoints, step: int, hosts: Hosts) -> Any:
    """The parameters of a checkpoint, without the optimizer's state."""
    abstract = {"params": design.placement.params}
    with hosts.all_or_none("the checkpoint"):
        checkpoints.check_arrays(step, abstract, partial=True)
    params = checkpoints.restore(step, abstract, partial=True)["params"]
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


def restore_source_params(design: Design, fresh: Any, hosts: Hosts, tokenizer: Tokenizer) -> Any:
    """The parameters of a checkpoint of `init_from`, for the objective and the tokens of this run.

    Raises WorkdirMismatch if it is missing, or if its tokenizer or arrays differ.
    """
    spec = design.spec
    with hosts.all_or_none("init_from"):
        source = source_params.read_source(design)
    step, workdir = hosts.broadcast("the step of init_from", source.step), source.workdir
    with Checkpoints(epath.Path(workdir) / "checkpoints", read_only=True) as checkpoints:
        with hosts.all_or_none("init_from"):
            check_code_version(checkpoints, step, spec, accept=True)
            stored = read_fingerprints(checkpoints, step, spec)
            if stored and spec.init_tokens == "same":
                known = tokenizer
                if spec.tokenizer.get("added"):
                    known = init_from.load_source_tokenizer(workdir)
                check_same_data("tokenizer", stored, "tokenizer", known.fingerprint)
        abstract = source_params.abstract_params(design, source.origins, source.shapes)
        try:
            restored = checkpoints.restore(step, abstract, partial=True)["params"]
        except DataError as error:
            raise DataError(
                f"init_from needs a checkpoint that can be read; step {step} of {workdir} is "
                f"damaged. Name another one: init_from={workdir}/checkpoints/STEP"
            ) from error
    if hosts.is_primary:
        log.info("init_from: %s", source.describe())
    return init_from.map_vocabulary(
        design, source_params.assemble(source.origins, restored, fresh), fresh, tokenizer
    )
