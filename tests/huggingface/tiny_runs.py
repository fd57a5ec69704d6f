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
from pretrain_jax.composition.build import Design, build_design, fix_schedule
from pretrain_jax.inference import restore
from pretrain_jax.optim.trees import name_of, named_leaves
from pretrain_jax.tokenizers import bytes as byte_tokenizer
from pretrain_jax.workdir import run_config
from pretrain_jax.workdir.checkpoint import Checkpoints

LENGTH = 24
VOCAB = byte_tokenizer.Bytes(13)
SIZES = {"vocab_size": 275, "layers": 3, "width": 24, "heads": 4, "feed_forward": 44}
TABLE = {**SIZES, "max_length": LENGTH}
T5 = {**SIZES, "head_width": 5}
ELECTRA = {**TABLE, "width": 96, "embedding_width": 20, "generator_fraction": 2 / 3}
YARN = {"rope_scaling": "yarn", "rope_factor": 4.0, "rope_original_length": 8}
LLAMA_3 = {
    **YARN,
    "rope_scaling": "llama3",
    "rope_low_freq_factor": 0.5,
    "rope_high_freq_factor": 2.0,
}
CAUSAL, MASKED = {"name": "causal_lm"}, {"name": "masked_lm"}
RUNS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "gpt": (CAUSAL, {"name": "gpt", **TABLE}),
    "gpt_without_bias": (CAUSAL, {"name": "gpt", **TABLE, "bias": False}),
    "prefix_lm": ({"name": "prefix_lm", "inputs": "prefix"}, {"name": "gpt", **TABLE}),
    "gpt1": (CAUSAL, {"name": "gpt1", **TABLE, "feed_forward": 96}),
    "llama": (CAUSAL, {"name": "llama", **SIZES, "rope_base": 5000.0, "norm_epsilon": 1e-5}),
    "llama_grouped": (
        CAUSAL,
        {"name": "llama", **SIZES, "kv_heads": 2, "head_width": 10, "tied": True},
    ),
    "llama_3": (CAUSAL, {"name": "llama", **SIZES, "kv_heads": 1, **LLAMA_3}),
    "llama_yarn": (CAUSAL, {"name": "llama", **SIZES, **YARN}),
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
) -> Path:
    """Writes a workdir with this model and random parameters at a step."""
    design = design_of(objective, model)
    path = epath.Path(workdir)
    path.mkdir(parents=True)
    run_config.write_config(path, design.spec.config_dict)
    (path / "tokenizer").mkdir()
    byte_tokenizer.train([], path / "tokenizer", vocab_size=300, sentinels=13)
    with Checkpoints(path / "checkpoints", **design.spec.checkpoint) as checkpoints:
        data = {"seed": 0, "step": step, "code": code_version.VERSION,
                "fingerprints": {"sources": [], "tokenizer": VOCAB.fingerprint}}  # fmt: skip
        state = {"params": random_params(design, seed)}
        checkpoints.save(step, state, data, design.spec.config_dict, force=True)
    return Path(workdir)


def design_of(objective: dict[str, Any], model: dict[str, Any]) -> Design:
    """The design of a run on one device."""
    values = {
        "data": {"source": "stdlib", "seq_len": LENGTH},
        "tokenizer": {"name": "bytes", "sentinels": 13},
        "objective": objective,
        "model": model,
        "optimizer": {"name": "adamw", "schedule": "constant", "learning_rate": 1e-3},
        "train": {"steps": 10, "batch_size": 8},
    }
    return build_design(fix_schedule(configs.resolve(values, ())), (jax.devices("cpu")[0],))


def random_params(design: Design, seed: int = 0) -> Any:
    """Parameters from N(0, 0.1^2), gains from N(1, 0.1^2)."""
    rng = np.random.default_rng(seed)

    def draw(path: Any, leaf: Any) -> jax.Array:
        mean = 1.0 if name_of(path).endswith("scale") else 0.0
        return jax.numpy.asarray(rng.normal(mean, 0.1, leaf.shape), jax.numpy.float32)

    return jax.tree_util.tree_map_with_path(draw, design.model.param_shapes)


def params_of(workdir: Path) -> dict[str, np.ndarray]:
    """The parameters of the last checkpoint by path."""
    params = restore.restore_params(restore.load_design(workdir), workdir).params
    return {name: np.asarray(leaf) for name, leaf in named_leaves(params)}
