"""--mode=eval: the numbers of a trained model, on its own held-out text or on another text."""

import json
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from etils import epath

from pretrain_jax.errors import InputMissing
from pretrain_jax.parallel.hosts import ALONE, Hosts
from pretrain_jax.train import begin, evaluation, origin, pseudo
from pretrain_jax.train.checkpoint import Checkpoints
from pretrain_jax.train.step import eval_step


def evaluate(config: Any, directory: str, hosts: Hosts = ALONE) -> None:
    """Evaluates the last checkpoint of a workdir and prints the line; writes nothing.

    The text may be other text than the run's own (begin.to_score).
    """
    path = epath.Path(directory)
    design = begin.designed(config, path, hosts, scoring=True)
    with Checkpoints(path / "checkpoints", read_only=True) as checkpoints:
        last = begin.last_step(checkpoints, hosts)
        if last is None:
            raise InputMissing(f"--mode=eval needs a checkpoint; {path}/checkpoints has none")
        begin.check_code(checkpoints, last, design.config, accept=True)
        sources, stored = begin.open_texts(design, checkpoints, last, hosts)
        feed = begin.open_feed(design, sources, stored, path, hosts)
        params = origin.params(design, checkpoints, last, hosts)
    function = jax.jit(partial(eval_step, program=design.program))
    special = jnp.asarray(feed.tokenizer.unscored)
    values = evaluation.numbers(design, feed, params, function, special)
    values |= pseudo.perplexity(design, feed, params, special)
    if hosts.first:
        print(json.dumps({"step": last, **values}))
