"""Reads parameters that are stored with another run: those of `init_from`.

A run takes them once, at its start. A run with an adapter takes those that do not train each time,
because its checkpoints have only the others.
"""

import logging
from typing import Any

from etils import epath

from pretrain_jax.cluster.hosts import Hosts
from pretrain_jax.composition import init_from, source_params
from pretrain_jax.composition.build import Design
from pretrain_jax.composition.resume import check_code_version, read_fingerprints
from pretrain_jax.digest import digest_arrays
from pretrain_jax.errors import ConfigError, DataError, WorkdirMismatch
from pretrain_jax.optim.trees import join_trees
from pretrain_jax.tokenizers import Tokenizer
from pretrain_jax.workdir.checkpoint import Checkpoints

log = logging.getLogger(__name__)
BASE = "base"
"""The key of the digest of an adapter's base in the data state of a checkpoint."""


def first_params(design: Design, hosts: Hosts, tokenizer: Tokenizer) -> Any:
    """All parameters of step 0: those of `init_from`, if it is set, and otherwise new ones."""
    fresh = design.update.init_params()
    if not design.spec.init_from:
        return fresh
    return restore_source_params(design, fresh, hosts, tokenizer)


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
                if stored["tokenizer"] != known.fingerprint:
                    raise WorkdirMismatch(
                        f"init_from needs the tokenizer that {workdir} was trained with; the one "
                        "there, or that of tokenizer.path, is another one. Restore it, or add "
                        "--config.init_tokens=shared"
                    )
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
    taken = source_params.assemble(source.origins, restored, fresh, spec.init_layers)
    return init_from.map_vocabulary(design, taken, fresh, tokenizer)


def restore_params(
    design: Design, checkpoints: Checkpoints, step: int, hosts: Hosts, tokenizer: Tokenizer
) -> Any:
    """All parameters of a checkpoint: those that it stores, and the others from `init_from`.

    Raises ConfigError if a checkpoint adapts other parameters than those of `init_from`.
    """
    model, params = design.model, restore_trained(design, checkpoints, step)
    if model.adapter.trains_all:
        return params
    _, frozen = model.split(first_params(design, hosts, tokenizer))
    check_base(checkpoints, step, digest_arrays(frozen), design.spec.init_from)
    return join_trees(params, frozen)


def restore_trained(design: Design, checkpoints: Checkpoints, step: int) -> Any:
    """The parameters that a checkpoint stores: those that train."""
    trained, _ = design.model.split(design.placement.params)
    return checkpoints.restore(step, {"params": trained}, partial=True)["params"]


def check_base(checkpoints: Checkpoints, step: int, base: str, source: str) -> None:
    """Raises ConfigError unless the checkpoint of an adapter adapts the parameters with this
    digest. source: the run that has them."""
    stored = checkpoints.read_json(step, "data").get(BASE, "")
    if stored != base:
        raise ConfigError(
            "an adapter needs the parameters that it was trained on; step "
            f"{step} of {checkpoints.directory} has the digest {stored or 'of no base'}, those of "
            f"{source} have {base or 'none'}. Put that checkpoint back, or name its new place in "
            "the training command: --config.init_from=RUN/checkpoints/STEP"
        )
