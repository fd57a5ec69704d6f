"""Checks that transformers computes the same logits as we do, on real text.

The text is source code of Python's standard library. Both sides compute in float32, from the
parameters as the folder stores them.
"""

import inspect
import logging
import tempfile
import textwrap
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pretrain_jax import losses
from pretrain_jax.composition.build import Design
from pretrain_jax.errors import DataError
from pretrain_jax.huggingface import _reference
from pretrain_jax.huggingface._heads import task_head
from pretrain_jax.huggingface._table import Folder
from pretrain_jax.inference.restore import Restored
from pretrain_jax.objectives._formats import Format, pick_format
from pretrain_jax.process import host_memory
from pretrain_jax.process.child import call_in_child
from pretrain_jax.tokenizers import Tokenizer

log = logging.getLogger(__name__)
Arrays = dict[str, np.ndarray]
TOLERANCE = 1e-4
"""Largest difference of logits of up to 10; of larger ones, float32 has fewer digits."""
ROWS, LENGTH = 2, 64


def check(trained: Restored, folders: Sequence[Folder], root: Path) -> None:
    """Compares the logits of the folders below `root` with ours; logs the largest difference.

    Only logs that it did not check if torch or transformers are not installed, or if the machine
    has too little memory. Raises DataError for a difference above TOLERANCE, and if transformers
    does not load a folder.
    """
    if lacking := [name for name in ("torch", "transformers") if not find_spec(name)]:
        log.info(
            "not checked against transformers: %s not installed. After pip install "
            "'pretrain_jax[hf]', this command checks",
            " and ".join(lacking) + (" are" if len(lacking) > 1 else " is"),
        )
        return
    size = sum(leaf.nbytes for leaf in jax.tree.leaves(trained.params))
    if 3 * size > host_memory.total_memory():
        log.info("not checked against transformers: two models in float32 do not fit into memory")
        return
    tokens = text_tokens(trained)
    for folder in folders:
        difference, largest = compare(trained, folder, root / folder.name, tokens)
        if not difference <= TOLERANCE * max(1, largest / 10):
            raise DataError(
                f"{folder.architecture} must compute the logits of our model; the largest "
                f"difference is {difference:.1e}, with logits of up to {largest:.3g}. Please "
                "report this, with config.json"
            )
        log.info(
            "checked: %s and our model compute the same logits; the largest difference is %.1e, "
            "with logits of up to %.3g",
            *(folder.architecture, difference, largest),
        )


def text_tokens(trained: Restored) -> np.ndarray:
    """int32 [ROWS, L]: the beginning of a text, in ids; L is odd if the model allows it."""
    ids = trained.tokenizer.encode(inspect.getsource(textwrap))
    model = trained.design.spec.model
    length = min(LENGTH - 1, len(ids) // ROWS, model.get("max_length", LENGTH))
    return ids[: ROWS * length].reshape(ROWS, length)


def compare(
    trained: Restored, folder: Folder, path: Path, tokens: np.ndarray
) -> tuple[float, float]:
    """(largest difference of two logits, largest logit) for tokens [B, L]."""
    batch = make_batch(trained, tokens)
    ours = compute_logits(trained.design, trained.params, folder, batch)
    with tempfile.TemporaryDirectory() as work:
        inputs, outputs = f"{work}/inputs.npz", f"{work}/outputs.npz"
        given = arguments(batch)
        if folder.takes_choices:
            given = {name: x[:, None] for name, x in given.items()}
        np.savez(inputs, **given)  # pyright: ignore[reportArgumentType]
        try:
            call_in_child(
                _reference.write_logits,
                folder=str(path),
                auto_class=folder.auto_class,
                inputs=inputs,
                outputs=outputs,
            )
        except RuntimeError as error:
            raise DataError(
                f"transformers must load {folder.architecture} from {path}; it ends with: {error}"
            ) from None
        with np.load(outputs) as stored:
            theirs = dict(stored)
    pairs = [(ours[name], theirs[name].reshape(ours[name].shape)) for name in ours]
    difference = max(float(np.max(np.abs(a - b))) for a, b in pairs)
    return difference, max(float(np.max(np.abs(b))) for _, b in pairs)


def make_batch(trained: Restored, tokens: np.ndarray) -> Arrays:
    """The batch of our model: rows of one example each, with all fields that the model reads.

    An encoder reads the tokens, and its decoder the same tokens after the id of padding. The first
    half of a row is the prefix, and the second half has type 1, where the objective has these.
    """
    rows, length = tokens.shape
    axes = {"L": length, "M": length}
    fields = trained.design.task.fields
    batch = {name: np.zeros((rows, axes.get(axis, 1)), np.int32) for name, axis in fields.items()}
    batch.pop("predict_at", None)
    order = np.broadcast_to(np.arange(length, dtype=np.int32), tokens.shape)
    if task_head(dict(trained.design.task.objective.heads)):
        format = pick_format(trained.design.model.architecture)
        tokens = between_specials(tokens, format, trained.tokenizer)
        batch["example_at"] = np.full((rows, 1), length - 1 if format.reads_last else 0, np.int32)
        batch["predict_at"] = order
    stream = {"tokens": tokens, "segments": np.ones_like(tokens), "positions": order}
    batch |= {f"memory_{name}": field for name, field in stream.items() if "memory_tokens" in batch}
    batch |= stream
    if "memory_tokens" in batch:
        start = np.full((rows, 1), trained.tokenizer.pad, np.int32)
        batch["tokens"] = np.concatenate([start, tokens[:, :-1]], axis=1)
    if "types" in batch:
        batch["types"] = (order >= length // 2).astype(np.int32)
    if "prefix" in batch:
        batch["prefix"] = order < length // 2
    return batch


def between_specials(tokens: np.ndarray, format: Format, tokenizer: Tokenizer) -> np.ndarray:
    """Tokens [B, L] whose first and last ones are the special ids of a format, as in its rows of
    one text."""
    before, after = (
        [tokenizer.special_ids[name] for name in names] for names in (format.before, format.after)
    )
    framed = tokens.copy()
    framed[:, : len(before)] = before
    framed[:, framed.shape[1] - len(after) :] = after
    return framed


def arguments(batch: Mapping[str, np.ndarray]) -> Arrays:
    """The arguments of forward in transformers for a batch of `make_batch`."""
    tokens = {name: batch[name].astype(np.int64) for name in ("tokens", "memory_tokens", "types")
              if name in batch}  # fmt: skip
    if "memory_tokens" in batch:
        return {"input_ids": tokens["memory_tokens"], "decoder_input_ids": tokens["tokens"]}
    result: dict[str, Any] = {"input_ids": tokens["tokens"]}
    if "types" in batch:
        result["token_type_ids"] = tokens["types"]
    if "prefix" in batch:
        order = batch["positions"]
        visible = (order[:, :, None] >= order[:, None, :]) | batch["prefix"][:, None, :]
        hidden = np.finfo(np.float32).min
        result["attention_mask"] = np.where(visible, 0, hidden).astype(np.float32)[:, None]
    return result


def compute_logits(design: Design, params: Any, folder: Folder, batch: Arrays) -> Arrays:
    """Our logits by the name of their output in the folder's class."""

    @jax.jit
    def run(params: Any, batch: Any) -> dict[str, jax.Array]:
        output = design.model.apply(params, batch, jax.random.key(0), False, folder.method)
        if isinstance(output, jax.Array):
            return {"logits": output}
        results = {folder.output: losses.output_logits(output)} if folder.output else {}
        for head, names in folder.heads.items():
            parts = jnp.split(output.heads[head], len(names), axis=-1)
            results |= dict(zip(names, parts, strict=True))
        return results

    with jax.default_matmul_precision("highest"):
        results = run(params, jax.tree.map(jnp.asarray, batch))
    return {name: np.asarray(x) for name, x in results.items()}
