"""Compiles published sizes for TPU pods, on a machine without TPUs.

    python benchmarks/scale.py [--configs=gpt2_xl,t5_11b] [--growth] [--jobs=1]

Compiles every config with a list of pods (PODS), or those of --configs; needs the extra `tpu`.
--growth: instead, the three largest from 256 to 6,144 chips with a fixed number of tokens per chip.
Prints one table row by row, and the full report of each row to standard error.
"""

import argparse
import json
import math
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jobs

from pretrain_jax.composition import config
from pretrain_jax.reporting.tables import format_mesh

CONFIGS = sorted(Path("configs").glob("*.py"))
GROWTH = ("v5p:4x8x8", "v5p:8x8x8", "v5p:8x8x16", "v5p:8x16x16", "v5p:16x16x24")
GROWN = {  # mesh, rows per chip and microbatches that fit the smallest of these pods
    "llama_65b": ("--config.mesh.data=-1 --config.mesh.fsdp=64 --config.mesh.tensor=4", 2, 2),
    "gpt3_175b": ("--config.mesh.tensor=8", 1, 2),
    "mt_nlg_530b": ("--config.mesh.data=-1 --config.mesh.fsdp=16 --config.mesh.tensor=16", 1, 4),
}
HEAD = ["config", "pod", "chips", "mesh", "tokens per step"]
HEAD += ["needed, GiB per chip", "HBM, GiB per chip", "sent, GiB per chip and step"]
HEAD += ["least step time, s", "highest MFU", "compile time, s"]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--configs", default="")
    parser.add_argument("--growth", action="store_true")
    parser.add_argument("--jobs", type=int, default=1)
    options = parser.parse_args()
    named = {path.stem: pods for path in CONFIGS if (pods := list(config.read_pods(str(path))))}
    chosen = (
        options.configs.split(",") if options.configs else list(GROWN if options.growth else named)
    )
    if options.growth:
        runs = [(name, pod, grown(name, pod)) for name in chosen for pod in GROWTH]
    else:
        runs = [(name, pod, []) for name in chosen for pod in named[name]]
    print(jobs.table(HEAD, []), flush=True)
    with ThreadPoolExecutor(options.jobs) as pool:
        for row in pool.map(lambda run: compile_row(*run), runs):
            print(f"| {' | '.join(row)} |", flush=True)


def grown(name: str, pod: str) -> list[str]:
    """Options that give each chip the same number of rows on every pod."""
    mesh, rows, parts = GROWN[name]
    batch = rows * chips(pod)
    changes = {"train.batch_size": batch, "train.phases": "()", "train.accumulate": parts}
    return [*mesh.split(), *jobs.overrides(changes)]


def chips(pod: str) -> int:
    """64 of "v5p:4x4x4"."""
    return math.prod(int(side) for side in pod.partition(":")[2].split("x"))


def compile_row(name: str, pod: str, words: list[str]) -> list[str]:
    """One row of the table."""
    command = [sys.executable, "-m", "pretrain_jax.main", f"--config=configs/{name}.py"]
    command += ["--mode=compile", f"--topology={pod}", "--json", *words]
    done = subprocess.run(command, capture_output=True, text=True)
    row = [name, pod, str(chips(pod))]
    if done.returncode:
        error = (done.stderr.strip().splitlines() or [f"ended with {done.returncode}"])[-1]
        return [*row, error, *[""] * (len(HEAD) - len(row) - 1)]
    report = json.loads(done.stdout)
    print(json.dumps({"config": name, "topology": pod, **report}), file=sys.stderr, flush=True)
    mesh = format_mesh(report["mesh"])
    gib = lambda key: f"{report[key] / 2**30:.2f}"  # noqa: E731
    row += [mesh, f"{report['tokens_per_step']:,}"]
    row += [gib("peak_bytes_per_device"), gib("hbm_bytes_per_device")]
    if not report["fits"]:
        return [*row, "does not fit", "", "", f"{report['compile_seconds']:.0f}"]
    seconds = max(report["seconds"].values())
    row += [gib("collective_bytes_per_device"), f"{seconds:.3g}", f"{report['estimated_mfu']:.1%}"]
    return [*row, f"{report['compile_seconds']:.0f}"]


if __name__ == "__main__":
    main()
