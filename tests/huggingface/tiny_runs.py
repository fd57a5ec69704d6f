"""Workdirs with tiny random models of every family, and what they hold.

Sizes are odd on purpose: 3 layers, a vocabulary of 275 (padded to 384), and heads whose width is
not width / heads where the architecture allows it.
"""

from pathlib import Path
from typing import Any

import jax
import numpy as np
from etils import epath

from pretrain_jax import code_version
from pretrain_jax.composition import config as configs
from pretrain_jax.composition.build import build_design, fix_schedule
from pretrain_jax.inference import restore
from pretrain_jax.optim.trees import name_of, named_leaves
from pretrain_jax.tokenizers import bytes as byte_tokenizer
from pretrain_jax.workdir import run_config
from pretrain_jax.workdir.checkpoint import Checkpoints

LENGTH = 24
SIZES = {"vocab_size": 275, "layers": 3, "width": 24, "heads": 4, "feed_forward": 44}
TABLE = {**SIZES, "max_length": LENGTH}
T5 = {**SIZES, "head_width": 5}
ELECTRA = {**TABLE, "width": 96, "embedding_width": 20, "generator_fraction": 2 / 3}
CAUSAL, MASKED = {"name": "causal_lm"}, {"name": "masked_lm"}
RUNS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "gpt": (CAUSAL, {"name": "gpt", **TABLE}),
    "gpt_without_bias": (CAUSAL, {"name": "gpt", **TABLE, "bias": False}),
    "prefix_lm": ({"name": "prefix_lm", "inputs": "prefix"}, {"name": "gpt", **TABLE}),
    "gpt1": (CAUSAL, {"name": "gpt1", **TABLE, "feed_forward": 96}),
    "llama": (CAUSAL, {"name": "llama", **SIZES, "rope_base": 5000.0, "norm_epsilon": 1e-5}),
    "bert": ({"name": "next_sentence"}, {"name": "bert", **TABLE}),
    "bert_masked": (MASKED, {"name": "bert", **TABLE, "types": 3}),
    "spanbert": ({"name": "span_boundary"}, {"name": "bert", **TABLE}),
    "roberta": (MASKED, {"name": "roberta", **TABLE}),
    "roberta_types": (MASKED, {"name": "roberta", **TABLE, "types": 1}),
    "electra": ({"name": "replaced_token"}, {"name": "electra", **ELECTRA}),
    "electra_equal": (
        {"name": "replaced_token"},
        {"name": "electra", **TABLE, "generator_fraction": 1.0},
    ),
    "t5": ({"name": "span_corruption"}, {"name": "t5", **T5}),
    "t5_shared": ({"name": "span_corruption"}, {"name": "t5", **T5, "shared": True}),
    "t5_1_1": ({"name": "span_corruption"}, {"name": "t5_1_1", **T5}),
}
"""(objective, model) by name."""


def write(folder: Path, name: str, seed: int = 0, step: int = 7) -> Path:
    """Writes the workdir folder/NAME with random parameters at a step; returns its path."""
    objective, model = RUNS[name]
    return write_run(folder / name, objective, model, seed=seed, step=step)


def write_run(
    workdir: Path,
    objective: dict[str, Any],
    model: dict[str, Any],
    *,
    seed: int = 0,
    step: int = 7,
    scale: float = 0.2,
) -> Path:
    """Writes a workdir with this model and parameters from N(0, scale), gains from N(1, scale)."""
    values = {
        "data": {"source": "stdlib", "seq_len": LENGTH},
        "tokenizer": {"name": "bytes", "sentinels": 13},
        "objective": objective,
        "model": model,
        "optimizer": {"name": "adamw", "schedule": "constant", "learning_rate": 1e-3},
        "train": {"steps": 10, "batch_size": 8},
    }
    config = fix_schedule(configs.resolve(values, ()))
    design = build_design(config, (jax.devices("cpu")[0],))
    rng = np.random.default_rng(seed)

    def draw(path: Any, leaf: Any) -> jax.Array:
        mean = 1.0 if name_of(path).endswith("scale") else 0.0
        return jax.numpy.asarray(rng.normal(mean, scale, leaf.shape), jax.numpy.float32)

    params = jax.tree_util.tree_map_with_path(draw, design.model.param_shapes)
    path = epath.Path(workdir)
    path.mkdir(parents=True)
    run_config.write_config(path, design.spec.config_dict)
    (path / "tokenizer").mkdir()
    byte_tokenizer.train([], path / "tokenizer", vocab_size=300, sentinels=13)
    with Checkpoints(path / "checkpoints", **design.spec.checkpoint) as checkpoints:
        data = {"seed": 0, "step": step, "code": code_version.VERSION,
                "fingerprints": {"sources": [], "tokenizer": ""}}  # fmt: skip
        state = {"params": params}
        checkpoints.save(step, state, data, design.spec.config_dict, force=True)
    return Path(workdir)


def params_of(workdir: Path) -> dict[str, np.ndarray]:
    """The parameters of the last checkpoint by path."""
    params = restore.restore_model(workdir).params
    return {name: np.asarray(leaf) for name, leaf in named_leaves(params)}
