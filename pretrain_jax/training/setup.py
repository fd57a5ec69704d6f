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
from pretrain_jax.cluster.hosts import A_DAY, Hosts
from pretrain_jax.composition import init_from
from pretrain_jax.composition.build import Design, fix_schedule
from pretrain_jax.composition.corpora import Source, obtain_tokenizer, open_sources
from pretrain_jax.composition.feed import Feed
from pretrain_jax.composition.sections import completed
from pretrain_jax.differences import differing
from pretrain_jax.errors import (
    ConfigError,
    DataError,
    InputMissing,
    UnwritableWorkdir,
    WorkdirMismatch,
)
from pretrain_jax.estimates import mesh_proposal, sizes
from pretrain_jax.files.parsing import having
from pretrain_jax.training import schedule_preview
from pretrain_jax.workdir import claim, leftovers
from pretrain_jax.workdir.checkpoint import Checkpoints, latest_config

log = logging.getLogger(__name__)
SAME_COMMAND = "start all of them with the same command, from the same files and versions"
SHARED_WORKDIR = "--workdir must name one folder that all of them see: a network disk, or gs://"
SAME_DATA = "give every host the same files, or name the same bucket"
RESTORE = "restore it from the part `config` of a checkpoint"
MOVE = "move that step away"
TEXT = ("source", "mixture", "split", "text_key", "target_key", "spans_key")
"""Keys of the section `data` that say what text there is."""


@contextlib.contextmanager
def claimed(directory: str, hosts: Hosts) -> Iterator[epath.Path]:
    """The workdir, held by process 0, and seen by all of them."""
    with contextlib.ExitStack() as stack:
        path = epath.Path(directory)
        with hosts.together("the workdir"):
            if hosts.first:
                path = stack.enter_context(claim.claim(directory))
                leftovers.clear(path)
        hosts.agree("workdir", claim.owner(path), UnwritableWorkdir, SHARED_WORKDIR)
        yield path


def designed(config: Any, path: epath.Path, hosts: Hosts, scoring: bool = False) -> Design:
    """The design of a run in a workdir, checked, and the same on all hosts.

    scoring: its model is only evaluated, perhaps on other text.
    """
    with hosts.together("the configuration"):
        fixed, _ = (to_score if scoring else against_stored)(config, path)
        design = Design(fixed, tuple(jax.devices()))
        mesh_proposal.check(design)
        sizes.check_room(design)
    hosts.agree("configuration", own_choices_aside(fixed.to_dict()), ConfigError, SAME_COMMAND)
    return design


def against_stored(config: Any, path: epath.Path) -> tuple[Any, bool]:
    """The config with its schedule fixed, and whether the workdir already belongs to it.

    Raises WorkdirMismatch where it belongs to another.
    """
    if config.data.split == "all":
        raise ConfigError(
            "training needs held-out text to evaluate with; data.split=all, which holds all of it "
            "out, is for --mode=eval. Choose another data.split"
        )
    stored = stored_config(path)
    fixed = init_from.fix_tokenizer(fix_schedule(config, stored), stored)
    if stored is not None:
        claim.compare_configs(stored, fixed.to_dict())
    return fixed, stored is not None


def to_score(config: Any, path: epath.Path) -> tuple[Any, bool]:
    """The config to evaluate the model of a workdir by, as `against_stored` has it.

    Text that is not the run's own is scored from its beginning to its end, none of it held out.
    Raises InputMissing where no run has begun, WorkdirMismatch where the model is another.
    """
    stored = stored_config(path)
    if stored is None:
        raise InputMissing(f"--mode=eval needs a workdir that a run has begun in; {path} has none")
    having(dict.fromkeys(("data", "tokenizer"), dict), stored, f"{path}/config.json", RESTORE)
    fixed = fix_schedule(config, stored)
    changed = other_text(stored, fixed.to_dict())
    with fixed.unlocked():
        fixed.tokenizer.path = fixed.tokenizer.path or stored["tokenizer"]["path"]
        if changed and "split" not in changed:
            fixed.data.split = "all"
    claim.compare_configs(stored, fixed.to_dict(), claim.SCORING)
    if fixed.data.split == "all":
        log.info(
            "all of the text is scored, up to eval.tokens=%d tokens, and none is left out as text "
            "that a run was trained on",
            fixed.eval.tokens,
        )
    return fixed, True


def stored_config(path: epath.Path) -> dict[str, Any] | None:
    """The config of the run in a workdir, with the keys that are newer than it; None before it."""
    stored = claim.read_config(path)
    if stored is None:
        stored = latest_config(path / "checkpoints")
    return None if stored is None else completed(stored)


def other_text(stored: dict[str, Any], now: dict[str, Any]) -> set[str]:
    """The keys of the section `data` by which the text is not that of a stored config."""
    old, new = ({key: plain["data"].get(key) for key in TEXT} for plain in (stored, now))
    return set(differing(old, new))


def last_step(checkpoints: Checkpoints, hosts: Hosts) -> int | None:
    """The step to go on from, as process 0 sees it; None at the beginning."""
    said = hosts.of_first("the last step", json.dumps(checkpoints.latest()))
    return json.loads(said)


def check_code(checkpoints: Checkpoints, step: int | None, config: Any, accept: bool) -> None:
    """Compares the code that wrote a checkpoint with this one.

    Where a change concerns the run, logs it (accept), or raises WorkdirMismatch.
    """
    changed = [] if step is None else changes(data_state(checkpoints, step), config)
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
    """What changed for a run of this config after the part `data` of its checkpoint was written.

    The code that numbered only what makes rows left its number, 1 or 2, among the fingerprints.
    """
    version = data.get("code", data["fingerprints"].get("rows", 1))
    return code_version.since(version, config.to_dict())


def tell_schedule(design: Design, path: epath.Path, step: int | None, hosts: Hosts) -> None:
    """Says where the rest of the run has another learning rate than one may think."""
    if not hosts.first:
        return
    stored = stored_config(path)
    if stored is not None and (table := schedule_preview.moved(stored, design.config, step or 0)):
        log.info(table)
    if behind := schedule_preview.tail(design.config, step or 0).said:
        log.warning(behind)


def open_texts(
    design: Design, checkpoints: Checkpoints, step: int | None, hosts: Hosts
) -> tuple[tuple[Source, ...], dict[str, Any] | None]:
    """The sources of the data, before anything is read of them but what tells one from another;
    and the fingerprints of the data that the checkpoint was trained on, which they have.

    To be called before anything else is done in another thread: TFDS changes what `import` does in
    the whole process while it is imported, and jax imports while it traces.
    """
    with hosts.together("the text", A_DAY):
        if step is None and design.config.init_from:
            init_from.check(design.config)
        stored = fingerprints(checkpoints, step, design.config)
        return open_sources(design, stored), stored


def open_feed(
    design: Design,
    sources: tuple[Source, ...],
    stored: dict[str, Any] | None,
    path: epath.Path,
    hosts: Hosts,
) -> Feed:
    """The data, the same for all processes; each tokenizes it into its own cache."""
    writing = claim.writing(path / "tokenizer", OSError)
    with hosts.together("the tokenizer", A_DAY), writing:
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


def fingerprints(checkpoints: Checkpoints, step: int | None, config: Any) -> dict[str, Any] | None:
    """Of the data that a checkpoint was trained on, as `open_sources` takes them; None before the
    first. To be called after `check_code`, which refuses or accepts what the code has changed.
    """
    if step is None:
        return None
    data = data_state(checkpoints, step)
    found = {**data["fingerprints"], "changed": changes(data, config)}
    before = checkpoints.read_json(step, "config")
    having({"data": dict}, before, f"the config of {checkpoints.directory / str(step)}", MOVE)
    if other_text(completed(before), config.to_dict()):
        del found["sources"]
    return found


def data_state(checkpoints: Checkpoints, step: int) -> dict[str, Any]:
    """The part `data` of a checkpoint. Raises DataError where it has no fingerprints."""
    found = checkpoints.read_json(step, "data")
    what = f"the data state of {checkpoints.directory / str(step)}"
    having({"fingerprints": dict}, found, what, MOVE)
    having({"sources": list, "tokenizer": str}, found["fingerprints"], what, MOVE)
    return found
