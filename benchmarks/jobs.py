"""Runs the commands in separate processes; used by the other scripts in this folder."""

import argparse
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

TINY = """
from ml_collections import ConfigDict


def get_config():
    return ConfigDict(dict(
        data=dict(source="text:{folder}/corpus.jsonl", seq_len=16, cache_dir="{folder}/cache"),
        tokenizer=dict(name="bytes"),
        objective=dict(name="causal_lm"),
        model=dict(name="gpt", vocab_size=262, layers=2, width=16, heads=2, feed_forward=32,
                   max_length=16),
        optimizer=dict(name="adamw", learning_rate=1e-2, schedule="constant"),
        train=dict(steps=40, batch_size=8, log_every=1),
        checkpoint=dict(every=10),
        eval=dict(every=10, tokens=200, sample_tokens=4),
    ))
"""


def overrides(changes: Mapping[str, Any]) -> list[str]:
    """{"train.steps": 10} -> ["--config.train.steps=10"]."""
    return [f"--config.{key}={value}" for key, value in changes.items()]


def write_tiny(folder: Path) -> Path:
    """Writes a corpus of 150 documents and the config of a run of seconds; returns its path."""
    draw = random.Random(0)
    words = "the cat sat on a mat and saw dogs run over green hills".split()
    texts = (" ".join(draw.choices(words, k=20)) for _ in range(150))
    lines = "".join(json.dumps({"text": text}) + "\n" for text in texts)
    (folder / "corpus.jsonl").write_text(lines)
    (folder / "tiny.py").write_text(TINY.format(folder=folder))
    return folder / "tiny.py"


def train(config: str, workdir: Path, changes: Mapping[str, Any]) -> tuple[list[dict], float]:
    """Runs a config to its end; returns its evaluation lines and its seconds.

    A finished run in `workdir` is not trained again.
    """
    command = [sys.executable, "-m", "pretrain_jax.main", f"--config={config}"]
    start = time.monotonic()
    done = subprocess.run(
        [*command, f"--workdir={workdir}", *overrides(changes)], capture_output=True, text=True
    )
    seconds = time.monotonic() - start
    if done.returncode:
        raise SystemExit(f"{config} in {workdir} ended with {done.returncode}:\n{done.stderr}")
    rows = read_lines(workdir / "metrics.jsonl")
    return [row for row in rows if "valid/objective" in row], seconds


def run(command: list[str], text: str = "", environment: Mapping[str, str] | None = None) -> str:
    """Runs a command that must succeed, with `text` as its input; returns the last line that it
    prints."""
    variables = {**os.environ, **(environment or {})}
    done = subprocess.run(command, input=text, capture_output=True, text=True, env=variables)
    if done.returncode:
        raise SystemExit(f"{command} ended with {done.returncode}:\n{done.stderr[-4000:]}")
    return (done.stdout.splitlines() or [""])[-1]


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The objects of a .jsonl file; none without it."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().splitlines()]


def append_line(path: Path, row: Mapping[str, Any]) -> None:
    """Adds an object to a .jsonl file."""
    with path.open("a") as file:
        file.write(json.dumps(row) + "\n")


def checkpoints(run: Path, shares: str) -> list[tuple[int, int]]:
    """(step, tokens read until then) of each share of the steps of a pretrained run.

    "0,1/4,1" of 19,520 steps are the steps 0, 4,880 and 19,520.
    """
    total = json.loads((run / "config.json").read_text())["train"]["steps"]
    lines = read_lines(run / "metrics.jsonl")
    tokens = {line["step"]: line["tokens"] for line in lines if "tokens" in line}
    steps = [int(total * Fraction(share)) for share in shares.split(",")]
    return [(step, tokens[step] if step else 0) for step in steps]


def study_options(doc: str | None, **defaults: str) -> argparse.ArgumentParser:
    """A parser with the options of all scripts that measure pretrained runs, one line of --out
    each, for `parse_study`; `defaults` are those of further options."""
    parser = argparse.ArgumentParser(description=(doc or "").partition("\n")[0])
    for name in ("data", "runs", "out", "table"):
        parser.add_argument(f"--{name}", default="")
    for name, default in defaults.items():
        parser.add_argument(f"--{name}", default=default)
    return parser


def parse_study(
    parser: argparse.ArgumentParser, for_table: Sequence[str] = ()
) -> argparse.Namespace:
    """The options of the command line; the script ends if one is missing that it needs: --data,
    --runs and --out to measure (those that it has), `for_table` to print --table."""
    options = parser.parse_args()
    needed = for_table if options.table else ("data", "runs", "out")
    needed = [name for name in needed if hasattr(options, name)]
    if missing := [f"--{name}" for name in needed if not getattr(options, name)]:
        parser.error(f"missing: {', '.join(missing)}")
    return options


def describe(config: str, changes: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON object of the describe command."""
    command = [sys.executable, "-m", "pretrain_jax.describe", f"--config={config}", "--json"]
    done = subprocess.run([*command, *overrides(changes)], check=True, capture_output=True)
    return json.loads(done.stdout)


def table(header: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
