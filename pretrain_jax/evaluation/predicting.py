"""Predicts the labels of a source with the model of a workdir."""

import logging
import os
from functools import partial

import jax
from etils import epath
from ml_collections import ConfigDict

from pretrain_jax.cluster.hosts import SINGLE_PROCESS
from pretrain_jax.composition import corpora
from pretrain_jax.composition.build import Design, build_design
from pretrain_jax.composition.feed import Feed
from pretrain_jax.composition.fix_labels import fix_labels
from pretrain_jax.errors import ConfigError, DataError
from pretrain_jax.evaluation import examples, reference
from pretrain_jax.files import outputs
from pretrain_jax.inference import restore
from pretrain_jax.step import predict_step

log = logging.getLogger(__name__)


def predict_to_file(
    workdir: str,
    source: str,
    out: str,
    *,
    step: int | None = None,
    fields: tuple[str, ...] = (),
    label_key: str = "",
    batch_size: int = 8,
) -> dict[str, float | None] | None:
    """Writes predictions.jsonl of a source to `out`; returns the metrics if all records have
    labels, otherwise None.

    workdir: of a run, or one of its checkpoints. step: that of the checkpoint; None = the last one.
    fields, label_key: the columns; empty = those of the run. batch_size: rows that run together.

    Raises ConfigError for a model without labels, InputMissing, DataError, UnwritableWorkdir.
    """
    if os.path.exists(out):
        raise ConfigError(f"--out must be a new file; {out} exists. Name another one")
    if os.path.exists(f"{out}.tmp"):
        raise ConfigError(f"--out is first written to {out}.tmp, which exists. Move it away")
    outputs.check_writable(epath.Path(out))
    folder, step = restore.pick_checkpoint(workdir, step)
    workdir = os.fspath(folder)
    design = design_for(workdir, source, fields, label_key, batch_size)
    restored = restore.restore_params(design, workdir, step)
    feed = Feed.from_corpora(design, corpora.open_corpora(design, None), restored.tokenizer)
    if label_key and not any(feed.cache(feed.sources[0], "valid").labels):
        raise DataError(
            f"a column that is named must exist; {source} has no labels in {label_key!r}. Name "
            "another one with --label_key, or leave it out"
        )
    reference.prepare(design, feed, folder, SINGLE_PROCESS, store=False)
    function = jax.jit(partial(predict_step, program=design.update.program))
    values, reports = examples.evaluate(design, feed, restored.params, function, None)
    outputs.write_atomic(epath.Path(out), examples.to_lines(reports).encode())
    log.info("wrote %d predictions of step %d to %s", len(reports), restored.step, out)
    return values if values["valid/items"] == len(reports) else None


def design_for(
    workdir: str, source: str, fields: tuple[str, ...], label_key: str, batch_size: int
) -> Design:
    """The design of the run in a workdir, with all of another source as its validation text."""
    stored = restore.load_design(workdir).spec.config_dict
    data = {**stored["data"], "source": source, "validation": "", "split": "all"}
    data["fields"] = fields or data["fields"]
    data["label_key"] = label_key or data["label_key"]
    train = {**stored["train"], "batch_size": batch_size, "accumulate": 1, "phases": ()}
    config = ConfigDict({**stored, "data": data, "train": train, "mesh": restore.ONE_DEVICE})
    design = build_design(fix_labels(config, stored), tuple(jax.devices()[:1]))
    if design.task.objective.example_task is None:
        generates = design.task.objective.generates
        raise ConfigError(
            "predicting needs a model that was finetuned with an objective with labels; "
            f"objective.name of {workdir} is {design.spec.objective.name}"
            + (". Use python -m pretrain_jax.generate --prompts=FILE" if generates else "")
        )
    design.check()
    return design
