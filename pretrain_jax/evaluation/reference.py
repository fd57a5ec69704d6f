"""The reference of preferences: the log-probabilities of the answers under the model of step 0.

They are computed once, before the first step, and stored in the workdir:

    WORKDIR/reference.npz    "train 128", "valid 128": float32 [N, 2], nats of the chosen and of the
                             rejected answer of each record, in rows of 128 tokens; "identity": the
                             fingerprints of the data; "params": the digest of the model of step 0
"""

import io
import json
import logging
from functools import partial
from typing import Any

import jax
import numpy as np
from etils import epath

from pretrain_jax.cluster.hosts import Hosts
from pretrain_jax.composition import restore_source
from pretrain_jax.composition.build import Design
from pretrain_jax.composition.feed import Feed
from pretrain_jax.digest import digest_arrays
from pretrain_jax.evaluation import examples
from pretrain_jax.files import outputs
from pretrain_jax.progress import progress
from pretrain_jax.step import predict_step

log = logging.getLogger(__name__)
FILE = "reference.npz"


def prepare(
    design: Design,
    feed: Feed,
    path: epath.Path,
    hosts: Hosts,
    params: Any = None,
    store: bool = True,
) -> None:
    """Gives the examples of the feed their reference, where the objective needs it.

    params: all parameters of step 0, for a run that begins; a stored reference of others is
    computed again. None = for a run that has checkpoints; those of `init_from` are read if the
    workdir does not have the reference of this data. store: whether it is written there then.
    """
    if not design.task.objective.needs_reference:
        return
    identity = json.dumps(feed.fingerprints, sort_keys=True)
    digest = "" if params is None else digest_arrays(params)
    with hosts.all_or_none("the reference"):
        found = read(path, identity, digest)
    # What process 0 finds counts: a disk may show a new file later to the others.
    if not hosts.broadcast("the reference", found is not None):
        found = None
    if found is None:
        with progress("computing the log-probabilities of the reference"):
            if params is None:
                params = restore_source.first_params(design, hosts, feed.tokenizer)
                digest = digest_arrays(params)
            found = compute(design, feed, params)
        with hosts.all_or_none("the reference"):
            if store and hosts.is_primary:
                write(path, identity, digest, found)
    for split, seq_len in feed.row_lengths:
        feed.add_reference(split, seq_len, found[key_of(split, seq_len)])


def key_of(split: str, seq_len: int) -> str:
    return f"{split} {seq_len}"


def compute(design: Design, feed: Feed, params: Any) -> dict[str, np.ndarray]:
    """The log-probabilities that the model gives the answers of each stream of the feed."""
    function = jax.jit(partial(predict_step, program=design.update.program))
    made = {}
    for split, seq_len in feed.row_lengths:
        stream = feed.stream(split, seq_len)
        _, predictions = examples.predict(design, feed, params, function, stream)
        made[key_of(split, seq_len)] = predictions["logprobs"]
    return made


def read(path: epath.Path, identity: str, digest: str) -> dict[str, np.ndarray] | None:
    """The stored reference; None without one for this data, and, unless `digest` is "", for the
    parameters with this digest."""
    content = outputs.read_bytes(path / FILE)
    if content is None:
        return None
    try:
        with np.load(io.BytesIO(content)) as arrays:
            stored = {name: arrays[name] for name in arrays.files}
        same = str(stored.pop("identity")) == identity
        params = str(stored.pop("params", ""))
    # Damage can raise any exception of the readers of zip and npy files.
    except Exception as error:
        log.warning("%s is damaged and will be computed again: %s", path / FILE, error)
        return None
    return stored if same and digest in ("", params) else None


def write(path: epath.Path, identity: str, digest: str, stored: dict[str, np.ndarray]) -> None:
    """Writes the reference. Raises UnwritableWorkdir."""
    content = io.BytesIO()
    arrays: Any = {"identity": np.array(identity), "params": np.array(digest), **stored}
    np.savez(content, **arrays)
    outputs.write_atomic(path / FILE, content.getvalue())
