"""The setup of a run: claims the workdir, checks the config, opens the data; in all processes."""

import contextlib
import importlib.metadata
import logging
from collections.abc import Iterator
from typing import Any

import jax
from etils import epath

from pretrain_jax.cluster.hosts import ONE_DAY, Hosts
from pretrain_jax.composition import corpora, init_from, resume, source_params
from pretrain_jax.composition.build import Design, build_design
from pretrain_jax.composition.corpora import MemberCorpus
from pretrain_jax.composition.feed import Feed
from pretrain_jax.errors import ConfigError, DataError, UnwritableWorkdir
from pretrain_jax.estimates import mesh_proposal, sizes
from pretrain_jax.files import outputs
from pretrain_jax.training import schedule_preview
from pretrain_jax.workdir import claim, leftovers
from pretrain_jax.workdir.checkpoint import Checkpoints

log = logging.getLogger(__name__)
SAME_COMMAND = "start all processes with the same command, the same files and the same versions"
SHARED_WORKDIR = "--workdir must name a folder that all processes share: a network disk, or gs://"
SAME_DATA = "give every host the same files, or name the same bucket"


@contextlib.contextmanager
def claim_workdir(directory: str, hosts: Hosts) -> Iterator[epath.Path]:
    """Claims the workdir in process 0; checks that all processes see the same folder."""
    with contextlib.ExitStack() as stack:
        path = epath.Path(directory)
        with hosts.all_or_none("the workdir"):
            if hosts.is_primary:
                path = stack.enter_context(claim.claim(directory))
                leftovers.clear(path)
        hosts.require_equal("workdir", claim.owner(path), UnwritableWorkdir, SHARED_WORKDIR)
        yield path


def build_checked_design(
    config: Any, path: epath.Path, hosts: Hosts, scoring: bool = False
) -> tuple[Design, dict[str, Any] | None]:
    """The design of a run in a workdir, checked and the same on all hosts; and the stored config.

    The stored config is None in a new workdir. scoring: only evaluates the model, possibly on
    other text.
    """
    with hosts.all_or_none("the configuration"):
        prepare = resume.config_to_score if scoring else resume.config_to_resume
        fixed, stored_config = prepare(config, path)
        design = build_design(fixed, tuple(jax.devices()))
        mesh_proposal.check_design(design)
        sizes.check_memory(design)
    hosts.require_equal(
        "configuration", settings_to_compare(fixed.to_dict()), ConfigError, SAME_COMMAND
    )
    return design, stored_config


def last_step(checkpoints: Checkpoints, hosts: Hosts) -> int | None:
    """The step to resume from, as process 0 finds it; None without a checkpoint."""
    return hosts.broadcast("the last step", checkpoints.latest())


def report_schedule(
    design: Design, stored_config: dict[str, Any] | None, step: int | None, hosts: Hosts
) -> None:
    """Logs what the user may not expect of the schedule: a change, updates after its end, or a run
    that ends within the warm-up."""
    if not hosts.is_primary:
        return
    if stored_config is not None:
        table = schedule_preview.compare_schedules(stored_config, design.spec, step or 0)
        if table:
            log.info(table)
    tail = schedule_preview.after_decay(design.spec, step or 0)
    for warning in (tail.warning, schedule_preview.warn_of_warmup(design.spec)):
        if warning:
            log.warning(warning)


def open_corpora(
    design: Design, checkpoints: Checkpoints, step: int | None, hosts: Hosts
) -> tuple[tuple[MemberCorpus, ...], dict[str, Any] | None]:
    """The corpora, of which only fingerprints are read; and the fingerprints of the checkpoint.

    Raises WorkdirMismatch if they differ. Call this before starting threads: while TFDS is being
    imported it changes `import` in the process, and jax imports modules while it traces.
    """
    with hosts.all_or_none("the text", ONE_DAY):
        if step is None and design.spec.init_from:
            init_from.check(design.spec)
            init_from.check_rows(design)
            source_params.read_source(design)
        fingerprints = resume.read_fingerprints(checkpoints, step, design.spec)
        return corpora.open_corpora(design, fingerprints), fingerprints


def open_feed(
    design: Design,
    opened: tuple[MemberCorpus, ...],
    stored: dict[str, Any] | None,
    path: epath.Path,
    hosts: Hosts,
) -> Feed:
    """The data, the same in all processes; each host tokenizes it into its own cache.

    opened, stored: the corpora and fingerprints that `open_corpora` returned.
    """
    tokenizer = None
    writing = outputs.report_unwritable(path / "tokenizer", OSError)
    with hosts.all_or_none("the tokenizer", ONE_DAY), writing:
        if hosts.is_primary:  # trains it, if necessary; the others load it
            tokenizer = corpora.load_or_train_tokenizer(design, opened, path, stored)
    with hosts.all_or_none("the data", ONE_DAY):
        if tokenizer is None:
            tokenizer = corpora.load_or_train_tokenizer(design, opened, path, stored)
        feed = Feed.from_corpora(design, opened, tokenizer)
    hosts.require_equal("data", feed.fingerprints, DataError, SAME_DATA)
    return feed


def settings_to_compare(config: dict[str, Any]) -> dict[str, Any]:
    """Settings that all processes must share: the config without per-host keys, and versions of
    the libraries that affect results."""
    versions = {name: importlib.metadata.version(name) for name in ("jax", "jaxlib", "flax")}
    data = {k: v for k, v in config["data"].items() if k not in ("cache_dir", "workers")}
    return {**config, "data": data, "version of": versions}
