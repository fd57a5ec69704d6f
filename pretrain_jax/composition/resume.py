"""What a workdir holds against what a command asks for: configuration, code and data."""

import logging
from typing import Any

from etils import epath

from pretrain_jax import code_version
from pretrain_jax.composition import init_from
from pretrain_jax.composition.build import fix_schedule
from pretrain_jax.composition.sections import completed
from pretrain_jax.composition.spec import Spec
from pretrain_jax.differences import diff
from pretrain_jax.errors import ConfigError, InputMissing, WorkdirMismatch
from pretrain_jax.files.parsing import check_keys
from pretrain_jax.workdir import run_config
from pretrain_jax.workdir.checkpoint import Checkpoints, latest_config

log = logging.getLogger(__name__)


RESTORE = "restore it from the part `config` of a checkpoint"


MOVE = "move that step away"


TEXT = ("source", "mixture", "split", "text_key", "target_key", "spans_key")
"""Keys of the section `data` that say what text there is."""


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
        run_config.compare_configs(stored, fixed.to_dict())
    return fixed, stored is not None


def to_score(config: Any, path: epath.Path) -> tuple[Any, bool]:
    """The config to evaluate the model of a workdir by, as `against_stored` has it.

    Text that is not the run's own is scored from its beginning to its end, none of it held out.
    Raises InputMissing where no run has begun, WorkdirMismatch where the model is another.
    """
    stored = stored_config(path)
    if stored is None:
        raise InputMissing(f"--mode=eval needs a workdir that a run has begun in; {path} has none")
    check_keys(dict.fromkeys(("data", "tokenizer"), dict), stored, f"{path}/config.json", RESTORE)
    fixed = fix_schedule(config, stored)
    changed = other_text(stored, fixed.to_dict())
    with fixed.unlocked():
        fixed.tokenizer.path = fixed.tokenizer.path or stored["tokenizer"]["path"]
        if changed and "split" not in changed:
            fixed.data.split = "all"
    run_config.compare_configs(stored, fixed.to_dict(), run_config.SCORING)
    if fixed.data.split == "all":
        log.info(
            "all of the text is scored, up to eval.tokens=%d tokens, and none is left out as text "
            "that a run was trained on",
            fixed.eval.tokens,
        )
    return fixed, True


def stored_config(path: epath.Path) -> dict[str, Any] | None:
    """The config of the run in a workdir, with the keys that are newer than it; None before it."""
    stored = run_config.read_config(path)
    if stored is None:
        stored = latest_config(path / "checkpoints")
    return None if stored is None else completed(stored)


def other_text(stored: dict[str, Any], now: dict[str, Any]) -> set[str]:
    """The keys of the section `data` by which the text is not that of a stored config."""
    old, new = ({key: plain["data"].get(key) for key in TEXT} for plain in (stored, now))
    return set(diff(old, new))


def check_code(checkpoints: Checkpoints, step: int | None, spec: Spec, accept: bool) -> None:
    """Compares the code that wrote a checkpoint with this one.

    Where a change concerns the run, logs it (accept), or raises WorkdirMismatch.
    """
    changed = [] if step is None else changes(data_state(checkpoints, step), spec)
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


def changes(data: dict[str, Any], spec: Spec) -> list[str]:
    """What changed for a run of this config after the part `data` of its checkpoint was written.

    The code that numbered only what makes rows left its number, 1 or 2, among the fingerprints.
    """
    version = data.get("code", data["fingerprints"].get("rows", 1))
    return code_version.changes_since(version, spec.document)


def fingerprints(checkpoints: Checkpoints, step: int | None, spec: Spec) -> dict[str, Any] | None:
    """Of the data that a checkpoint was trained on, as `open_sources` takes them; None before the
    first. To be called after `check_code`, which refuses or accepts what the code has changed.
    """
    if step is None:
        return None
    data = data_state(checkpoints, step)
    found = {**data["fingerprints"], "changed": changes(data, spec)}
    before = checkpoints.read_json(step, "config")
    check_keys({"data": dict}, before, f"the config of {checkpoints.directory / str(step)}", MOVE)
    if other_text(completed(before), spec.document):
        del found["sources"]
    return found


def data_state(checkpoints: Checkpoints, step: int) -> dict[str, Any]:
    """The part `data` of a checkpoint. Raises DataError where it has no fingerprints."""
    found = checkpoints.read_json(step, "data")
    what = f"the data state of {checkpoints.directory / str(step)}"
    check_keys({"fingerprints": dict}, found, what, MOVE)
    check_keys({"sources": list, "tokenizer": str}, found["fingerprints"], what, MOVE)
    return found


def totals(checkpoints: Checkpoints, step: int | None) -> dict[str, Any]:
    """Tokens and seconds of a run up to its checkpoint; None where it did not count them."""
    if step is None:
        return {"tokens": 0, "seconds": 0.0}
    data = data_state(checkpoints, step)
    return {name: data.get(name) for name in ("tokens", "seconds")}
