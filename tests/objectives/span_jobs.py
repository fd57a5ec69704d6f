"""Small runs of objectives whose labels have places: their feeds, models and predictions."""

import functools
import importlib
import json
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
from etils import epath

from pretrain_jax.composition import config, fix_labels
from pretrain_jax.composition.build import Design, build_design, fix_schedule
from pretrain_jax.composition.feed import Feed
from pretrain_jax.evaluation import examples
from pretrain_jax.step import predict_step

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))
spans: Any = importlib.import_module("spans")
SMALL = {"model.width": 16, "model.heads": 2, "model.feed_forward": 16, "model.vocab_size": 330}


def settings(path: Path, **changes: Any) -> Any:
    """A config with these values: `settings(path, objective__stride=4)`."""
    given = {key.replace("__", "."): value for key, value in changes.items()}
    read = config.read(str(path), [(key, str(value)) for key, value in given.items()])
    return fix_labels.fix_labels(fix_schedule(read))


def opened(path: Path, devices: int = 1, **changes: Any) -> tuple[Design, Feed]:
    """The design and the feed of a small model on a config's records."""
    small = {key.replace(".", "__"): value for key, value in SMALL.items()}
    made = settings(path, **{**small, **changes})
    design = build_design(made, tuple(jax.devices()[:devices]))
    design.check()
    workdir = epath.Path(path.parent / "feed")
    workdir.mkdir(exist_ok=True)
    return design, Feed.open(design, workdir)


def random_params(design: Design) -> Any:
    """Parameters of which every part matters, biases included."""
    params = design.update.init_state().params
    rng = np.random.default_rng(0)
    leaves, structure = jax.tree.flatten(params)
    drawn = [np.asarray(x) + rng.normal(0, 0.2, x.shape).astype(np.float32) for x in leaves]
    return jax.tree.unflatten(structure, drawn)


def evaluated(design: Design, feed: Feed, params: Any) -> tuple[dict[str, Any], list[Any]]:
    """Metrics and reports of an evaluation."""
    placed_params = jax.device_put(
        params, jax.tree.map(lambda x: x.sharding, design.placement.params)
    )
    function = jax.jit(functools.partial(predict_step, program=design.update.program))
    return examples.evaluate(design, feed, placed_params, function, examples.majority(feed))


def lines(path: Path) -> list[dict[str, Any]]:
    """The objects of a file of JSON lines."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def write(folder: Path, objective: str, share: float = 0.0) -> Path:
    """The records and the config of benchmarks/spans.py."""
    return spans.write(folder, objective, share)
