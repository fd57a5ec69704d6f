"""How a run begins: the workdir, the data and the state, the same for all its processes."""

import contextlib
import importlib.metadata
import json
import logging
from collections.abc import Iterator
from typing import Any

import jax
from etils import epath

from pretrain_jax import code_version
from pretrain_jax.errors import ConfigError, DataError, UnwritableWorkdir, WorkdirMismatch
from pretrain_jax.parallel.hosts import A_DAY, Hosts
from pretrain_jax.train import sizes, workdir
from pretrain_jax.train.checkpoint import Checkpoints
from pretrain_jax.train.compose import Design, fix_schedule
from pretrain_jax.train.feed import Feed
from pretrain_jax.train.sources import Source, obtain_tokenizer, open_sources
from pretrain_jax.train.step import TrainState

log = logging.getLogger(__name__)
SAME_COMMAND = "start all of them with the same command, from the same files and versions"
SHARED_WORKDIR = "--workdir must name one folder that all of them see: a network disk, or gs://"
SAME_DATA = "give every host the same files, or name the same bucket"


@contextlib.contextmanager
def claimed(directory: str, hosts: Hosts) -> Iterator[epath.Path]:
    """The workdir, held by process 0, and seen by all of them."""
    with contextlib.ExitStack() as stack:
        path = epath.Path(directory)
        with hosts.together("the workdir"):
            if hosts.first:
                path = stack.enter_context(workdir.claim(directory))
        hosts.agree("workdir", workdir.owner(path), UnwritableWorkdir, SHARED_WORKDIR)
        yield path


def designed(config: Any, path: epath.Path, hosts: Hosts) -> Design:
    """The design of a run in a workdir, checked, and the same on all hosts."""
    with hosts.together("the configuration"):
        fixed, _ = against_stored(config, path)
        design = Design(fixed, tuple(jax.devices()))
        design.check()
        sizes.check_room(design)
    hosts.agree("configuration", own_choices_aside(fixed.to_dict()), ConfigError, SAME_COMMAND)
    return design


def against_stored(config: Any, path: epath.Path) -> tuple[Any, bool]:
    """The config with its schedule fixed, and whether the workdir already belongs to it.

    Raises WorkdirMismatch where it belongs to another.
    """
    stored = workdir.read_config(path)
    fixed = fix_schedule(config, stored)
    if stored is not None:
        workdir.compare_configs(stored, fixed.to_dict())
    return fixed, stored is not None


def last_step(checkpoints: Checkpoints, hosts: Hosts) -> int | None:
    """The step to go on from, as process 0 sees it; None at the beginning."""
    said = hosts.of_first("the last step", json.dumps(checkpoints.latest()))
    return json.loads(said)


def check_code(checkpoints: Checkpoints, step: int | None, config: Any, accept: bool) -> None:
    """Compares the code that wrote a checkpoint with this one.

    Where a change concerns the run, logs it (accept), or raises WorkdirMismatch.
    """
    changed = [] if step is None else changes(checkpoints.read_json(step, "data"), config)
    if not changed:
        return
    listed = "".join(f"\n  {what}" for what in changed)
    said = f"the checkpoint of step {step} was written by an earlier version of this code; since "
    if not accept:
        raise WorkdirMismatch(
            f"a run goes on only with the code it began with, but {said}then:{listed}\nstart in "
            "another --workdir (with --config.init_from=WORKDIR to keep the parameters), or add "
            "--accept_changes to go on all the same"
        )
    log.warning("%sthen:%s", said, listed)


def changes(data: dict[str, Any], config: Any) -> list[str]:
    """What changed for a run of this config after the part `data` of its checkpoint was written."""
    version = data.get("code", data["fingerprints"].get("rows", 1))
    return code_version.since(version, config.to_dict())


def open_texts(
    design: Design, checkpoints: Checkpoints, step: int | None, hosts: Hosts
) -> tuple[tuple[Source, ...], dict[str, Any] | None]:
    """The sources of the data, before anything is read of them but what tells one from another;
    and the fingerprints of the data that the checkpoint was trained on, which they have.

    To be called before anything else is done in another thread: TFDS changes what `import` does in
    the whole process while it is imported, and jax imports while it traces.
    """
    with hosts.together("the text", A_DAY):
        stored = fingerprints(checkpoints, step)
        return open_sources(design, stored), stored


def open_feed(
    design: Design,
    sources: tuple[Source, ...],
    stored: dict[str, Any] | None,
    path: epath.Path,
    hosts: Hosts,
) -> Feed:
    """The data, the same for all processes; each tokenizes it into its own cache."""
    with hosts.together("the tokenizer", A_DAY):
        # Process 0 may train it; the others find it.
        tokenizer = obtain_tokenizer(design, sources, path, stored) if hosts.first else None
    with hosts.together("the data", A_DAY):
        if tokenizer is None:
            tokenizer = obtain_tokenizer(design, sources, path, stored)
        feed = Feed.over(design, sources, tokenizer)
    hosts.agree("data", feed.fingerprints, DataError, SAME_DATA)
    return feed


def own_choices_aside(plain: dict[str, Any]) -> dict[str, Any]:
    """What all processes must have alike: the config without what is each one's own, and the
    versions that decide what is computed."""
    versions = {name: importlib.metadata.version(name) for name in ("jax", "jaxlib", "flax")}
    data = {k: v for k, v in plain["data"].items() if k not in ("cache_dir", "workers")}
    return {**plain, "data": data, "version of": versions}


def fingerprints(checkpoints: Checkpoints, step: int | None) -> dict[str, Any] | None:
    """Of the data that a checkpoint was trained on; None before the first."""
    return None if step is None else checkpoints.read_json(step, "data")["fingerprints"]


def start(
    design: Design, checkpoints: Checkpoints, step: int | None, hosts: Hosts
) -> tuple[int, TrainState]:
    """The state of a checkpoint, or a fresh one (from `init_from`, where it is set)."""
    if step is None:
        state = design.init_state()
        if design.config.init_from:
            state = state.replace(params=params_of(design, design.config.init_from, hosts))
        return 0, state
    with hosts.together("the checkpoint"):  # before any of them reads, for reading waits for all
        checkpoints.compare(step, design.abstract_state)
    log.info("going on from step %d", step)
    return step, checkpoints.restore(step, design.abstract_state)


def params_of(design: Design, source: str, hosts: Hosts) -> Any:
    """The parameters of another run's last checkpoint."""
    wanted = {"params": design.abstract_state.params}
    with Checkpoints(epath.Path(source) / "checkpoints", read_only=True) as checkpoints:
        step = last_step(checkpoints, hosts)
        with hosts.together("init_from"):
            if step is None:
                raise WorkdirMismatch(
                    f"init_from must be a workdir with a checkpoint; {source} has none"
                )
            check_code(checkpoints, step, design.config, accept=True)
            checkpoints.compare(step, wanted, partial=True)
        return checkpoints.restore(step, wanted, partial=True)["params"]
