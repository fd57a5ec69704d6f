"""What a run takes over from the one that `init_from` names: the tokenizer and the parameters.

`init_tokens` says whose tokens it has:

    same     (the default) those of the old run: its tokenizer is copied into the new workdir
    shared   its own. The rows of tokens that both spell alike are carried over, in the embedding
             and in the read-out; those of the others are fresh
"""

import logging
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath
from ml_collections import ConfigDict

from pretrain_jax import registry, tokenizers
from pretrain_jax.composition.build import Design
from pretrain_jax.composition.model import is_box
from pretrain_jax.composition.sections import completed
from pretrain_jax.composition.spec import Spec
from pretrain_jax.composition.tokenizer import load_trained
from pretrain_jax.differences import diff
from pretrain_jax.errors import ConfigError, InputMissing, WorkdirMismatch
from pretrain_jax.files import paths
from pretrain_jax.optim.trees import name_of, named_leaves
from pretrain_jax.sharding import rules
from pretrain_jax.workdir import run_config
from pretrain_jax.workdir.checkpoint import Checkpoints

log = logging.getLogger(__name__)
VOCABULARY = "vocabulary"
"""The logical axis of a parameter that has a row for each token."""


# --- the tokenizer --------------------------------------------------------------------------------


def takes_tokenizer(config: Any) -> bool:
    """Whether a run has the tokenizer that lies in the workdir of `init_from`."""
    same = config.init_from and config.init_tokens == "same"
    return bool(same and not config.tokenizer.path)


def fix_tokenizer(config: Any, stored: Mapping[str, Any] | None) -> Any:
    """The config with the `tokenizer.path` of the old run, where it has one and this one has none.

    stored: the config that the workdir already belongs to, which has it.
    """
    registry.check_name(config.init_tokens, ("same", "shared"), "init_tokens")
    if config.init_tokens != "same" and not config.init_from:
        raise ConfigError(
            "init_tokens says whose tokens a run has that begins from another one; received "
            f"init_tokens={config.init_tokens} without init_from"
        )
    if not takes_tokenizer(config):
        return config
    given = completed(stored) if stored is not None else config_of(workdir_of(config))
    fixed = config.copy_and_resolve_references()
    with fixed.unlocked():
        fixed.tokenizer.path = given["tokenizer"]["path"]
    return fixed


def workdir_of(config: Any) -> str:
    """The workdir that `init_from` names."""
    return paths.expand_user(config.init_from, "init_from")


def config_of(source: epath.PathLike) -> dict[str, Any]:
    """The config of the run to begin from. Raises InputMissing."""
    found = run_config.read_config(source)
    if found is None:
        raise InputMissing(f"init_from must be the workdir of a run; {source} has none")
    return completed(found)


def check(spec: Spec) -> None:
    """Raises WorkdirMismatch unless the parameters of `init_from` mean the same in this config."""
    source, new = workdir_of(spec), spec.document
    old = config_of(source)
    free = {*(key.removeprefix("model.") for key in run_config.SPEED), "max_length", "vocab_size"}
    lines = unlike("model", old, new, free)
    if lines:
        raise WorkdirMismatch(
            f"parameters mean something only in the model that they were trained in; that of "
            f"{source} differs:{lines}\nSet these keys as they were"
        )
    if spec.init_tokens == "shared":
        return
    lines = unlike("tokenizer", old, new, {"path"})
    lines += unlike("model", old, new, new["model"].keys() - {"vocab_size"})
    if not lines and spec.tokenizer.path != old["tokenizer"]["path"]:
        one, other = tokenizer_of(source), load_trained(spec, epath.Path(source))
        if one.fingerprint != other.fingerprint:
            lines = f"\n  the vocabulary in tokenizer.path={spec.tokenizer.path} is another one"
    if lines:
        raise WorkdirMismatch(
            f"the parameters of a run belong to its own tokens; those of {source} are not those of "
            f"this configuration:{lines}\nLeave tokenizer.* and model.vocab_size as they were: the "
            "tokenizer of that run is copied. Or add --spec.init_tokens=shared to carry over the "
            "rows of tokens that are spelled alike and to learn the others"
        )


def unlike(section: str, old: Mapping[str, Any], new: Mapping[str, Any], free: set[str]) -> str:
    """A line for each key of a section that differs, but for those that are free to."""
    pairs = diff(old[section], new[section])
    return "".join(
        f"\n  {section}.{key}: {before} there, {now} here"
        for key, (before, now) in pairs.items()
        if key not in free
    )


def tokenizer_of(source: epath.PathLike) -> tokenizers.Tokenizer:
    """The tokenizer of the run in a workdir."""
    return load_trained(ConfigDict(config_of(source)), epath.Path(source))


# --- the parameters -------------------------------------------------------------------------------


def wanted(design: Design, checkpoints: Checkpoints, step: int) -> Any:
    """What to restore of a step of the old run: {"params": shapes}, with its own rows of tokens."""
    params = design.placement.params
    if design.spec.init_tokens == "shared":
        params = with_old_rows(design, params, checkpoints.metadata(step))
    return {"params": params}


def for_tokens(design: Design, restored: Any, fresh: Any, tokenizer: tokenizers.Tokenizer) -> Any:
    """The parameters of the old run, each token of this one in its row.

    fresh: parameters as a run begins with them; tokenizer: of this run.
    """
    if design.spec.init_tokens == "same":
        return restored
    axes = vocabulary_axes(design)
    source = workdir_of(design.spec)
    ids = spelled_alike(tokenizer_of(source), tokenizer)
    kept = int(np.count_nonzero(ids >= 0))
    log.info(
        "init_from: %d of %d tokens are spelled alike in %s and keep their rows in %s; the others, "
        "%d, have fresh ones",
        *(kept, tokenizer.size, source, ", ".join(axes), tokenizer.size - kept),
    )

    def carried(path: Any, new: jax.Array, stored: jax.Array) -> jax.Array:
        axis = axes.get(name_of(path))
        return stored if axis is None else carry(new, stored, ids, axis)

    return jax.tree_util.tree_map_with_path(carried, fresh, restored)


def vocabulary_axes(design: Design) -> dict[str, int]:
    """By name, which axis of a parameter is the vocabulary; {"embedding/tokens": 0}."""
    leaves = named_leaves(design.model.boxed_params, is_leaf=is_box)
    return {name: box.names.index(VOCABULARY) for name, box in leaves if VOCABULARY in box.names}


def with_old_rows(design: Design, params: Any, stored: Mapping[str, Any]) -> Any:
    """The shapes `params` with as many rows as the old vocabulary has, these not split.

    stored: shapes by path, as `Checkpoints.metadata` has them.
    """
    axes = vocabulary_axes(design)

    def shape(path: Any, leaf: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
        name = name_of(path)
        there = stored.get(f"params/{name}")
        if name not in axes or there is None or len(there.shape) != len(leaf.shape):
            return leaf
        sizes = list(leaf.shape)
        sizes[axes[name]] = there.shape[axes[name]]
        return jax.ShapeDtypeStruct(
            tuple(sizes), leaf.dtype, sharding=rules.replicated(design.placement.mesh)
        )

    return jax.tree_util.tree_map_with_path(shape, params)


def carry(new: jax.Array, stored: jax.Array, ids: np.ndarray, axis: int) -> jax.Array:
    """`new`, with the rows of `stored` where `ids` int32 [n] names one; -1 keeps the new row.

    Rows from n on, spare ids and padding, stay those of `new`.
    """
    mine = np.flatnonzero(ids >= 0)
    place = (slice(None),) * axis + (mine,)
    rows = jnp.take(stored, ids[mine], axis=axis)
    return jax.device_put(new.at[place].set(rows), new.sharding)


def spelled_alike(old: tokenizers.Tokenizer, new: tokenizers.Tokenizer) -> np.ndarray:
    """int32 [new.size]: for each id of `new` the id of `old` that is spelled alike, -1 for none.

    Special ids go by what they are for, not by how they are spelled.
    """
    apart = {*old.special_ids.values(), *old.sentinels}
    known = {old.id_to_token(i): i for i in reversed(range(old.size)) if i not in apart}
    found = np.array([known.get(new.id_to_token(i), -1) for i in range(new.size)], np.int32)
    for name, i in new.special_ids.items():
        found[i] = old.special_ids.get(name, -1)
    for number, i in enumerate(new.sentinels):
        found[i] = old.sentinels[number] if number < len(old.sentinels) else -1
    return found
