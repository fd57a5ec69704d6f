"""A small job that takes seconds: corpus and config, and readers of its results."""

import hashlib
import json
import random
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np

from pretrain_jax.composition.build import build_design, fix_schedule
from pretrain_jax.workdir.checkpoint import Checkpoints

CONFIG = """
from ml_collections import ConfigDict


def get_config():
    return ConfigDict(dict(
        seed=3,
        data=dict(source="text:{corpus}", seq_len=16, cache_dir="{cache}"),
        tokenizer=dict(name="bytes"),
        objective=dict(name="causal_lm"),
        model=dict(name="gpt", vocab_size=262, layers=2, width=16, heads=2, feed_forward=32,
                   max_length=16, dropout=0.1),
        optimizer=dict(name="adamw", learning_rate=1e-2, schedule="cosine", warmup_steps=5,
                       decay_steps=60),
        train=dict(steps=60, batch_size=8, log_every=1),
        checkpoint=dict(every=25),
        eval=dict(every=30, tokens=500, sample_tokens={sample_tokens}),
    ))
"""

WORDS = "the cat sat on a mat and saw dogs run over green hills under blue skies".split()


def write(folder: Path, sample_tokens: int = 0) -> Path:
    """Writes a corpus of 150 documents and a config for it; returns the path of the config.

    Without samples, whose programs take longer to compile than the steps to run.
    """
    draw = random.Random(0)
    lines = [" ".join(draw.choices(WORDS, k=draw.randint(3, 40))) for _ in range(150)]
    corpus = folder / "corpus.jsonl"
    corpus.write_text("".join(json.dumps({"text": line}) + "\n" for line in lines))
    config = folder / "tiny.py"
    text = CONFIG.format(corpus=corpus, cache=folder / "cache", sample_tokens=sample_tokens)
    config.write_text(text)
    return config


def run(config: Path, workdir: Path, *options: str, **kwargs) -> subprocess.CompletedProcess:
    """Runs the command in its own process."""
    command = [sys.executable, "-m", "pretrain_jax.main", f"--config={config}"]
    command += [f"--workdir={workdir}", *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, **kwargs)


def lines(workdir: Path) -> list[dict]:
    """The lines of metrics.jsonl, without values that depend on the clock."""
    clock = ("tokens_per_second", "mfu", "seconds")
    rows = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in row.items() if k not in clock} for row in rows]


def losses(workdir: Path) -> dict[int, float]:
    """train/loss by step."""
    return {row["step"]: row["train/loss"] for row in lines(workdir) if "train/loss" in row}


def digest(settings, workdir: Path) -> str:
    """SHA-256 over every array of the last checkpoint."""
    design = build_design(fix_schedule(settings), (jax.devices()[0],))
    with Checkpoints(workdir / "checkpoints", read_only=True) as checkpoints:
        state = checkpoints.restore(checkpoints.steps()[-1], design.update.abstract_state)
    hasher = hashlib.sha256()
    for leaf in jax.tree.leaves(state):
        hasher.update(np.asarray(leaf).tobytes())
    return hasher.hexdigest()
