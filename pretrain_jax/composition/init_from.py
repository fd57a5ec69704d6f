"""`init_from`: a run starts with the tokenizer and the parameters of another run (the source run).

source_params.py says which parameters come from it.

`init_tokens` chooses the tokenizer:

    same     (the default) that of the source run, copied into the new workdir
    shared   the new run's own. Tokens with the same spelling in both keep their rows of the
             embedding and of the output layer; the others get fresh rows
"""

import logging
import os
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath
from ml_collections import ConfigDict

from pretrain_jax import registry, tokenizers
from pretrain_jax.composition.adaptation import build_adapter
from pretrain_jax.composition.build import Design
from pretrain_jax.composition.sections import with_defaults
from pretrain_jax.composition.spec import Spec
from pretrain_jax.composition.tokenizer import load_trained
from pretrain_jax.errors import ConfigError, InputMissing, WorkdirMismatch
from pretrain_jax.files import paths
from pretrain_jax.layers.axes import is_box
from pretrain_jax.models import _base
from pretrain_jax.nested_diff import diff
from pretrain_jax.optim.trees import name_of, named_leaves
from pretrain_jax.workdir import run_config, step_folders

log = logging.getLogger(__name__)
VOCABULARY = "vocabulary"
"""The logical axis of parameters with one row per token."""


# --- the tokenizer --------------------------------------------------------------------------------


def inherits_tokenizer(config: Any) -> bool:
    """Whether the run copies its tokenizer from the workdir of `init_from`."""
    same = config.init_from and config.init_tokens == "same"
    return bool(same and not config.tokenizer.path)


def fix_tokenizer(config: Any, stored: Mapping[str, Any] | None) -> Any:
    """The config with the `tokenizer.path` of the source run, if only that run has one.

    stored: the config of the workdir, if it has one; it then has the path already.
    Raises ConfigError for `init_tokens` or `init_layers` without `init_from`.
    """
    registry.check_name(config.init_tokens, ("same", "shared"), "init_tokens")
    useless = {"init_tokens": config.init_tokens != "same", "init_layers": config.init_layers}
    for name in [name for name, is_set in useless.items() if is_set and not config.init_from]:
        raise ConfigError(
            f"{name} chooses what a run takes from its init_from; received {name}={config[name]} "
            f"without init_from. Set init_from, or leave out {name}"
        )
    if not inherits_tokenizer(config):
        return config
    source = stored if stored is not None else read_source_config(source_workdir(config))
    fixed = config.copy_and_resolve_references()
    with fixed.unlocked():
        fixed.tokenizer.path = with_defaults(source)["tokenizer"]["path"]
    return fixed


def source_workdir(config: Any) -> str:
    """The workdir that `init_from` names."""
    return os.fspath(split_source(config.init_from)[0])


def split_source(init_from: str) -> tuple[epath.Path, int | None]:
    """(workdir, step) of an `init_from`, RUN or RUN/checkpoints/STEP; None = the last step."""
    return step_folders.split_checkpoint(paths.expand_user(init_from, "init_from"))


def read_source_config(source: epath.PathLike) -> dict[str, Any]:
    """The config of the source run, with defaults for newer keys. Raises InputMissing."""
    stored = run_config.read_config(source)
    if stored is None:
        raise InputMissing(
            f"init_from must be the workdir of a run; {source} has no config.json. Name another "
            "folder"
        )
    return with_defaults(stored)


def check(spec: Spec) -> None:
    """Raises WorkdirMismatch unless the model and the tokens of `init_from` fit this config."""
    source, new = source_workdir(spec), spec.config_dict
    old = read_source_config(source)
    if old["adapter"]["name"] != "none":
        fix = f"Name its base, {old['init_from']}"
        if build_adapter(ConfigDict(old["adapter"])).can_merge:
            fix = (
                "Merge it into its base: python -m pretrain_jax.convert "
                f"--workdir={source} --to_hf=DIR, then --from_hf=DIR --workdir=NEW, and name NEW"
            )
        raise WorkdirMismatch(
            f"init_from must be a run with all parameters; {source} has only those of its adapter, "
            f"{old['adapter']['name']}. {fix}"
        )
    free = {*(key.removeprefix("model.") for key in run_config.SPEED), "max_length", "vocab_size"}
    free |= {"layers"} if spec.init_layers else set()
    # Rotary positions have no parameters, and longer rows may need others.
    free |= {key for key in new["model"] if key.startswith("rope_")}
    if _base.load(spec.model.name).part_of == old["model"]["name"]:
        free |= {"name", *(old["model"].keys() - new["model"].keys())}
    lines = describe_differences("model", old, new, free)
    if lines:
        raise WorkdirMismatch(
            f"init_from needs the same model; that of {source} differs:{lines}\n"
            "Set these keys to the stored values"
        )
    if spec.init_tokens == "shared":
        return
    lines = describe_differences("tokenizer", old, new, {"path", "added"})
    if new["model"]["vocab_size"] < old["model"]["vocab_size"]:
        lines += describe_differences("model", old, new, new["model"].keys() - {"vocab_size"})
    if not lines and spec.tokenizer.path != old["tokenizer"]["path"]:
        stored, current = load_source_tokenizer(source), load_trained(spec, epath.Path(source))
        if stored.fingerprint != current.fingerprint:
            lines = f"\n  tokenizer.path={spec.tokenizer.path} has another vocabulary"
    if lines:
        raise WorkdirMismatch(
            f"init_from with init_tokens=same needs the same tokens; those of {source} differ:"
            f"{lines}\nSet tokenizer.* and model.vocab_size to the stored values: the tokenizer of "
            "that run is copied. Or add --config.init_tokens=shared: tokens with the same spelling "
            "keep their rows, the others are learned"
        )


def check_rows(design: Design) -> None:
    """Raises ConfigError if rows of new tokens stay as they are drawn, because an adapter trains
    none."""
    model, spec = design.model, design.spec
    frozen = vocabulary_axes(design).keys() - model.trained
    if spec.init_tokens == "shared" and not model.adapter.trains_all and frozen:
        raise ConfigError(
            "init_tokens=shared gives tokens that the source run lacks new rows, which must train; "
            f"the adapter leaves {', '.join(sorted(frozen))} as they are. Add them to adapter.train"
        )


def describe_differences(
    section: str, old: Mapping[str, Any], new: Mapping[str, Any], free: set[str]
) -> str:
    """A line per key of a section that differs, except keys in `free`; "" if none does."""
    pairs = diff(old[section], new[section])
    return "".join(
        f"\n  {section}.{key}: stored {before}, now {now}"
        for key, (before, now) in pairs.items()
        if key not in free
    )


def load_source_tokenizer(source: epath.PathLike) -> tokenizers.Tokenizer:
    """The tokenizer of the run in a workdir."""
    return load_trained(ConfigDict(read_source_config(source)), epath.Path(source))


# --- the parameters -------------------------------------------------------------------------------


def map_vocabulary(
    design: Design, restored: Any, fresh: Any, tokenizer: tokenizers.Tokenizer
) -> Any:
    """The parameters of the source run, with their rows in the order of this run's tokens.

    fresh: initial parameters of this run, for tokens that the source run does not have;
    tokenizer: that of this run.
    """
    source = source_workdir(design.spec)
    if design.spec.init_tokens == "shared":
        ids, size = match_tokens(load_source_tokenizer(source), tokenizer), tokenizer.size
    else:
        size = design.spec.model.vocab_size
        before = read_source_config(source)["model"]["vocab_size"]
        if before == size:
            return restored
        ids = np.where(np.arange(size) < before, np.arange(size), -1)
    axes = vocabulary_axes(design)
    kept = int(np.count_nonzero(ids >= 0))
    log.info(
        "init_from: %d of %d tokens are those of %s and keep their rows of %s; the other %d get "
        "fresh rows",
        *(kept, size, source, ", ".join(axes), size - kept),
    )

    def map_rows(path: Any, new: jax.Array, stored: jax.Array) -> jax.Array:
        axis = axes.get(name_of(path))
        return stored if axis is None else copy_rows(new, stored, ids, axis)

    return jax.tree_util.tree_map_with_path(map_rows, fresh, restored)


def vocabulary_axes(design: Design) -> dict[str, int]:
    """The index of the vocabulary axis of each parameter with one: {"embedding/tokens": 0}."""
    leaves = named_leaves(design.model.boxed_params, is_leaf=is_box)
    return {name: box.names.index(VOCABULARY) for name, box in leaves if VOCABULARY in box.names}


def copy_rows(new: jax.Array, stored: jax.Array, ids: np.ndarray, axis: int) -> jax.Array:
    """`new`, with row i replaced by row ids[i] of `stored`.

    ids: int32 [n]; -1 keeps the row of `new`, and so do rows from n on (spare ids and padding).
    """
    matched = np.flatnonzero(ids >= 0)
    index = (slice(None),) * axis + (matched,)
    rows = jnp.take(stored, ids[matched], axis=axis)
    return jax.device_put(new.at[index].set(rows), new.sharding)


def match_tokens(old: tokenizers.Tokenizer, new: tokenizers.Tokenizer) -> np.ndarray:
    """int32 [new.size]: the id in `old` with the spelling of each id of `new`, or -1.

    Special ids match by their purpose, not by their spelling.
    """
    special = {*old.special_ids.values(), *old.sentinels}
    old_ids = {old.id_to_token(i): i for i in reversed(range(old.size)) if i not in special}
    matches = np.array([old_ids.get(new.id_to_token(i), -1) for i in range(new.size)], np.int32)
    for name, i in new.special_ids.items():
        matches[i] = old.special_ids.get(name, -1)
    for number, i in enumerate(new.sentinels):
        matches[i] = old.sentinels[number] if number < len(old.sentinels) else -1
    return matches
