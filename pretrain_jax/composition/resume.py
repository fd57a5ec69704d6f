"""Compares the config, code and data of a command with those that a workdir stores."""

import logging
from typing import Any

from etils import epath

from pretrain_jax import code_version
from pretrain_jax.composition import init_from
from pretrain_jax.composition.build import fix_schedule
from pretrain_jax.composition.fix_labels import fix_labels
from pretrain_jax.composition.sections import with_defaults
from pretrain_jax.composition.spec import Spec
from pretrain_jax.errors import (
    ConfigError,
    DataError,
    InputMissing,
    WorkdirMismatch,
    short_repr,
)
from pretrain_jax.files.parsing import check_keys
from pretrain_jax.nested_diff import diff
from pretrain_jax.workdir import run_config
from pretrain_jax.workdir.checkpoint import Checkpoints
from pretrain_jax.workdir.step_folders import latest_config

log = logging.getLogger(__name__)


RESTORE = "restore it from the part `config` of a checkpoint"
MOVE = "move that step away"
TEXT_KEYS = (
    *("source", "validation", "mixture", "split"),
    *("text_key", "target_key", "spans_key", "fields", "label_key"),
)
"""Keys of the section `data` that determine the text."""


def config_to_resume(config: Any, path: epath.Path) -> tuple[Any, dict[str, Any] | None]:
    """The config with `optimizer.decay_steps` and `tokenizer.path` resolved, and the stored config.

    The stored config is None in a new workdir. Raises WorkdirMismatch if the workdir belongs to
    another config.
    """
    if config.data.split == "all":
        raise ConfigError(
            "training needs a training split; data.split=all holds out all of the text and is for "
            "--mode=eval. Choose another data.split"
        )
    stored = read_stored_config(path)
    fixed = init_from.fix_tokenizer(fix_schedule(config, stored), stored)
    fixed = fix_labels(fixed, stored)
    if stored is not None:
        moved = () if fixed.adapter.name == "none" else run_config.ADAPTED
        moved += run_config.DISTILLED if fixed.objective.name == "distill" else ()
        run_config.compare_configs(stored, fixed.to_dict(), (*run_config.FREE, *moved))
    return fixed, stored


def config_to_score(config: Any, path: epath.Path) -> tuple[Any, dict[str, Any]]:
    """The config to evaluate the model of a workdir with, and the stored config.

    If the text is not that of the run, the split becomes "all": evaluation scores all of it.
    Raises InputMissing if the workdir has no run, WorkdirMismatch if it has another model.
    """
    stored = read_stored_config(path)
    if stored is None:
        raise InputMissing(
            f"--mode=eval needs the workdir of a run; {path} has no config.json. Train first, or "
            "name another --workdir"
        )
    check_keys(dict.fromkeys(("data", "tokenizer"), dict), stored, f"{path}/config.json", RESTORE)
    fixed = fix_labels(fix_schedule(config, stored), stored)
    changed = changed_text_keys(stored, fixed.to_dict())
    with fixed.unlocked():
        fixed.tokenizer.path = fixed.tokenizer.path or stored["tokenizer"]["path"]
        if "source" in changed and "validation" not in changed:
            fixed.data.validation = ""
        if changed and "split" not in changed and not fixed.data.validation:
            fixed.data.split = "all"
    run_config.compare_configs(stored, fixed.to_dict(), run_config.SCORING)
    if fixed.data.split == "all":
        log.info(
            "evaluation scores all of the text, up to eval.tokens=%d tokens; none of it counts as "
            "training text",
            fixed.eval.tokens,
        )
    return fixed, stored


def read_stored_config(path: epath.Path) -> dict[str, Any] | None:
    """The config of the run in a workdir, with defaults for newer keys; None without a run.

    Reads it from the last checkpoint if config.json is missing.
    """
    stored = run_config.read_config(path)
    if stored is None:
        stored = latest_config(path / "checkpoints")
    return None if stored is None else with_defaults(stored)


def changed_text_keys(stored: dict[str, Any], now: dict[str, Any]) -> set[str]:
    """The keys of the section `data` that select other text than the stored config does."""
    old, new = ({key: config["data"].get(key) for key in TEXT_KEYS} for config in (stored, now))
    return set(diff(old, new))


def check_code_version(
    checkpoints: Checkpoints, step: int | None, spec: Spec, accept: bool
) -> None:
    """Compares the version of the code that wrote a checkpoint with the present one.

    If a change between them affects the run, logs a warning (accept) or raises WorkdirMismatch.
    """
    changes = [] if step is None else code_changes(read_data_state(checkpoints, step), spec)
    if not changes:
        return
    listed = "".join(f"\n  {change}" for change in changes)
    older = f"an earlier version of this code wrote the checkpoint of step {step}; changes since"
    if not accept:
        raise WorkdirMismatch(
            f"cannot resume: {older}:{listed}\nstart in another --workdir (add "
            "--config.init_from=WORKDIR to keep the parameters), or add --accept_changes to resume "
            "anyway"
        )
    log.warning("%s:%s", older, listed)


def code_changes(data: dict[str, Any], spec: Spec) -> list[str]:
    """Changes of the code since a checkpoint that affect a run of this config.

    data: the part `data` of the checkpoint. Older code stored its version, 1 or 2, among the
    fingerprints.
    """
    version = data.get("code", data["fingerprints"].get("rows", 1))
    return code_version.changes_since(version, spec.config_dict)


def read_fingerprints(
    checkpoints: Checkpoints, step: int | None, spec: Spec
) -> dict[str, Any] | None:
    """Fingerprints of the data of a checkpoint, for `open_corpora`; None if step is None.

    Call `check_code_version` first: it refuses or accepts the changes listed under "changed". Has
    no "sources" if this config selects other text.
    """
    if step is None:
        return None
    data = read_data_state(checkpoints, step)
    fingerprints = {**data["fingerprints"], "changed": code_changes(data, spec)}
    before = checkpoints.read_json(step, "config")
    check_keys({"data": dict}, before, f"the config of {checkpoints.directory / str(step)}", MOVE)
    if changed_text_keys(with_defaults(before), spec.config_dict):
        del fingerprints["sources"]
    return fingerprints


def read_data_state(checkpoints: Checkpoints, step: int) -> dict[str, Any]:
    """The part `data` of a checkpoint. Raises DataError if it has no fingerprints."""
    state = checkpoints.read_json(step, "data")
    what = f"the data state of {checkpoints.directory / str(step)}"
    check_keys({"fingerprints": dict}, state, what, MOVE)
    check_keys({"sources": list, "tokenizer": str}, state["fingerprints"], what, MOVE)
    return state


def read_totals(checkpoints: Checkpoints, step: int | None) -> dict[str, Any]:
    """Tokens and seconds of a run up to a checkpoint; None for values that older code did not
    count. Raises DataError for other values than numbers from 0."""
    if step is None:
        return {"tokens": 0, "seconds": 0.0}
    data = read_data_state(checkpoints, step)
    totals = {name: data.get(name) for name in ("tokens", "seconds")}
    for name, value in totals.items():
        if value is not None and not (isinstance(value, int | float) and value >= 0):
            raise DataError(
                f"the data of checkpoint {step} must have {name} as a number from 0; it has "
                f"{short_repr(value)}. Restore the checkpoint, or delete it to use an earlier one"
            )
    return totals
