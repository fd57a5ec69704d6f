"""How a run begins: the workdir, the data and the state, the same for all its processes."""

import contextlib
import importlib.metadata
import json
import logging
from collections.abc import Iterator
from typing import Any

import jax
from etils import epath

from pretrain_jax.cluster.hosts import ONE_DAY, Hosts
from pretrain_jax.composition import init_from, resume
from pretrain_jax.composition.build import Design, build_design
from pretrain_jax.composition.corpora import Source, obtain_tokenizer, open_sources
from pretrain_jax.composition.feed import Feed
from pretrain_jax.errors import (
    ConfigError,
    DataError,
    UnwritableWorkdir,
)
from pretrain_jax.estimates import mesh_proposal, sizes
from pretrain_jax.files import outputs
from pretrain_jax.training import schedule_preview
from pretrain_jax.workdir import claim, leftovers
from pretrain_jax.workdir.checkpoint import Checkpoints

log = logging.getLogger(__name__)
SAME_COMMAND = "start all of them with the same command, from the same files and versions"
SHARED_WORKDIR = "--workdir must name one folder that all of them see: a network disk, or gs://"
SAME_DATA = "give every host the same files, or name the same bucket"


@contextlib.contextmanager
def claimed(directory: str, hosts: Hosts) -> Iterator[epath.Path]:
    """The workdir, held by process 0, and seen by all of them."""
    with contextlib.ExitStack() as stack:
        path = epath.Path(directory)
        with hosts.all_or_none("the workdir"):
            if hosts.is_primary:
                path = stack.enter_context(claim.claim(directory))
                leftovers.clear(path)
        hosts.require_equal("workdir", claim.owner(path), UnwritableWorkdir, SHARED_WORKDIR)
        yield path


def designed(config: Any, path: epath.Path, hosts: Hosts, scoring: bool = False) -> Design:
    """The design of a run in a workdir, checked, and the same on all hosts.

    scoring: its model is only evaluated, perhaps on other text.
    """
    with hosts.all_or_none("the configuration"):
        fixed, _ = (resume.to_score if scoring else resume.against_stored)(config, path)
        design = build_design(fixed, tuple(jax.devices()))
        mesh_proposal.check_design(design)
        sizes.check_memory(design)
    hosts.require_equal(
        "configuration", own_choices_aside(fixed.to_dict()), ConfigError, SAME_COMMAND
    )
    return design


def last_step(checkpoints: Checkpoints, hosts: Hosts) -> int | None:
    """The step to go on from, as process 0 sees it; None at the beginning."""
    said = hosts.broadcast("the last step", json.dumps(checkpoints.latest()))
    return json.loads(said)


def tell_schedule(design: Design, path: epath.Path, step: int | None, hosts: Hosts) -> None:
    """Says where the rest of the run has another learning rate than one may think."""
    if not hosts.is_primary:
        return
    stored = resume.stored_config(path)
    if stored is not None and (table := schedule_preview.moved(stored, design.spec, step or 0)):
        log.info(table)
    if behind := schedule_preview.tail(design.spec, step or 0).said:
        log.warning(behind)


def open_texts(
    design: Design, checkpoints: Checkpoints, step: int | None, hosts: Hosts
) -> tuple[tuple[Source, ...], dict[str, Any] | None]:
    """The sources of the data, before anything is read of them but what tells one from another;
    and the fingerprints of the data that the checkpoint was trained on, which they have.

    To be called before anything else is done in another thread: TFDS changes what `import` does in
    the whole process while it is imported, and jax imports while it traces.
    """
    with hosts.all_or_none("the text", ONE_DAY):
        if step is None and design.spec.init_from:
            init_from.check(design.spec)
        stored = resume.fingerprints(checkpoints, step, design.spec)
        return open_sources(design, stored), stored


def open_feed(
    design: Design,
    sources: tuple[Source, ...],
    stored: dict[str, Any] | None,
    path: epath.Path,
    hosts: Hosts,
) -> Feed:
    """The data, the same for all processes; each tokenizes it into its own cache."""
    writing = outputs.report_unwritable(path / "tokenizer", OSError)
    with hosts.all_or_none("the tokenizer", ONE_DAY), writing:
        # Process 0 may train it; the others find it.
        tokenizer = obtain_tokenizer(design, sources, path, stored) if hosts.is_primary else None
    with hosts.all_or_none("the data", ONE_DAY):
        if tokenizer is None:
            tokenizer = obtain_tokenizer(design, sources, path, stored)
        feed = Feed.over(design, sources, tokenizer)
    hosts.require_equal("data", feed.fingerprints, DataError, SAME_DATA)
    return feed


def own_choices_aside(plain: dict[str, Any]) -> dict[str, Any]:
    """What all processes must have alike: the config without what is each one's own, and the
    versions that decide what is computed."""
    versions = {name: importlib.metadata.version(name) for name in ("jax", "jaxlib", "flax")}
    data = {k: v for k, v in plain["data"].items() if k not in ("cache_dir", "workers")}
    return {**plain, "data": data, "version of": versions}
