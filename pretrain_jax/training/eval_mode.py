"""--mode=eval: evaluates a trained model, on its held-out text or on another text."""

import json
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from etils import epath

from pretrain_jax.cluster.hosts import SINGLE_PROCESS, Hosts
from pretrain_jax.composition import resume
from pretrain_jax.composition.build import Design
from pretrain_jax.composition.feed import Feed
from pretrain_jax.errors import DataError, InputMissing
from pretrain_jax.evaluation import answers, examples, heldout, pseudo_perplexity, reference
from pretrain_jax.inference.generation import build_generator
from pretrain_jax.step import eval_step, predict_step
from pretrain_jax.training import restore_or_init, setup
from pretrain_jax.workdir.checkpoint import Checkpoints

Metrics = dict[str, float | None]


def evaluate(config: Any, directory: str, hosts: Hosts = SINGLE_PROCESS) -> None:
    """Evaluates the last checkpoint of a workdir and prints one line of JSON; writes no files.

    The text may differ from that of the run (resume.config_to_score).
    """
    path = epath.Path(directory)
    design, _ = setup.build_checked_design(config, path, hosts, scoring=True)
    with Checkpoints(path / "checkpoints", read_only=True) as checkpoints:
        last = setup.last_step(checkpoints, hosts)
        if last is None:
            raise InputMissing(
                f"--mode=eval needs a checkpoint; {path}/checkpoints has none. Train first, or "
                "name another --workdir"
            )
        resume.check_code_version(checkpoints, last, design.spec, accept=True)
        corpora, fingerprints = setup.open_corpora(design, checkpoints, last, hosts)
        feed = setup.open_feed(design, corpora, fingerprints, path, hosts)
        params = restore_or_init.restore_params(design, checkpoints, last, hosts, feed.tokenizer)
        reference.prepare(design, feed, path, hosts, store=False)
    score = score_text if design.task.objective.example_task is None else score_examples
    values = score(design, feed, params)
    if hosts.is_primary:
        print(json.dumps({"step": last, **values}))


def score_text(design: Design, feed: Feed, params: Any) -> Metrics:
    """The metrics of an objective that predicts tokens."""
    function = jax.jit(partial(eval_step, program=design.update.program))
    special = jnp.asarray(feed.tokenizer.unscored)
    values = heldout.evaluate(design, feed, params, function, special)
    values |= pseudo_perplexity.evaluate(design, feed, params, special)
    if design.task.objective.answer_metric:
        values |= answers.evaluate(feed, build_generator(design, params, feed.tokenizer))[0]
    return values


def score_examples(design: Design, feed: Feed, params: Any) -> Metrics:
    """The metrics of an objective with labels. Raises DataError if the records have none."""
    function = jax.jit(partial(predict_step, program=design.update.program))
    values, _ = examples.evaluate(design, feed, params, function, examples.majority(feed))
    if not values["valid/items"]:
        raise DataError(
            f"--mode=eval needs records with labels; those of {design.spec.data.source} have none. "
            "Name their column with data.label_key, or predict them with "
            "python -m pretrain_jax.predict"
        )
    return values
