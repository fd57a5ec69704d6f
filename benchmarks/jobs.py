"""Runs the commands in separate processes; used by the other scripts in this folder."""

import json
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def overrides(changes: Mapping[str, Any]) -> list[str]:
    """{"train.steps": 10} -> ["--config.train.steps=10"]."""
    return [f"--config.{key}={value}" for key, value in changes.items()]


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
    rows = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    return [row for row in rows if "valid/loss" in row], seconds


def describe(config: str, changes: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON object of the describe command."""
    command = [sys.executable, "-m", "pretrain_jax.describe", f"--config={config}", "--json"]
    done = subprocess.run([*command, *overrides(changes)], check=True, capture_output=True)
    return json.loads(done.stdout)


def table(header: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
