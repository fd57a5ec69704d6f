"""200 uninterrupted steps against 200 steps stopped and resumed, in real processes: the same bits.

    python benchmarks/resume.py [--config=configs/gpt2_nano.py] [--steps=200] [--stops=37,101,163]

Each stop sends SIGTERM to the command after that many logged steps, then starts the same command
again. A third run evaluates, saves and logs at other intervals. Prints one row per run: the number
of losses that equal those of the uninterrupted run to the last bit, and the SHA-256 of the final
parameters and optimizer state.
"""

import argparse
import hashlib
import json
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

STOPPED = 75


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--config", default="configs/gpt2_nano.py")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--stops", default="37,101,163")
    options = parser.parse_args()
    stops = [int(step) for step in options.stops.split(",")]
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pretrain_jax.main", f"--config={options.config}"]
        command += [f"--config.train.steps={options.steps}"]
        every = ["--config.train.log_every=1", "--config.eval.every=0"]
        observed = [
            "--config.train.log_every=7",
            "--config.eval.every=30",
            "--config.checkpoint.every=20",
        ]
        straight, stopped, other = (Path(folder) / n for n in ("straight", "stopped", "other"))
        finish([*command, *every, f"--workdir={straight}"])
        finish([*command, *observed, f"--workdir={other}"])
        saved_steps = [
            interrupt([*command, *every, f"--workdir={stopped}"], stopped, s) for s in stops
        ]
        finish([*command, *every, f"--workdir={stopped}"])
        expected = losses(straight)
        print("| run | equal losses | state |\n|---|---|---|")
        names = ("uninterrupted", f"stopped at {saved_steps}", "other intervals")
        for name, run in zip(names, (straight, stopped, other), strict=True):
            values = losses(run)
            equal = sum(expected[step] == loss for step, loss in values.items())
            print(f"| {name} | {equal} of {len(values)} | {digest(run)[:16]} |")


def finish(command: list[str]) -> None:
    """Runs a command to its end."""
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)


def interrupt(command: list[str], run: Path, steps: int) -> int:
    """Stops a command after `steps` logged steps; returns the step that it saved."""
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    while process.poll() is None and max(losses(run), default=0) < steps:
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    if process.wait() != STOPPED:
        raise SystemExit(f"expected exit {STOPPED} after SIGTERM; received {process.returncode}")
    return max(losses(run))


def losses(run: Path) -> dict[int, float]:
    """train/loss by step, from complete lines."""
    file = run / "metrics.jsonl"
    lines = file.read_text().splitlines() if file.exists() else []
    rows = [json.loads(line) for line in lines if line.endswith("}")]
    return {row["step"]: row["train/loss"] for row in rows if "train/loss" in row}


def digest(run: Path) -> str:
    """SHA-256 over every array of the last checkpoint."""
    import jax
    import numpy as np

    from pretrain_jax.inference.restore import load_design
    from pretrain_jax.workdir.checkpoint import Checkpoints

    design = load_design(run)
    total = hashlib.sha256()
    with Checkpoints(run / "checkpoints", read_only=True) as checkpoints:
        state = checkpoints.restore(checkpoints.steps()[-1], design.update.abstract_state)
    for leaf in jax.tree.leaves(state):
        total.update(np.asarray(leaf).tobytes())
    return total.hexdigest()


if __name__ == "__main__":
    main()
