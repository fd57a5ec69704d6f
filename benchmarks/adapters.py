"""Full finetuning beside every adapter, on SST-2: score, trained parameters, bytes, time, memory.

    python benchmarks/adapters.py --data=FOLDER --runs=FOLDER --out=results.jsonl
                                  [--models=gpt,roberta,t5] [--methods=full,lora,...]
    python benchmarks/adapters.py --table=results.jsonl

FOLDER of --data has sst2/. FOLDER of --runs has one pretrained run per model
(benchmarks/pretraining.py), whose last checkpoint is finetuned on the recipe of finetuning.py, with
one seed. Every method has the learning rate, of 1e-3, 3e-3 and 1e-2, that gives the best score.
A line of --out is one run:

    score     accuracy on the 872 validation sentences
    trained   parameters that train, with the head
    bytes     of the last checkpoint's arrays, with the optimizer's state
    seconds   of an update, the median of the second half
    peak      resident memory of the process in MiB, at its highest
"""

import itertools
import json
import os
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import finetuning
import jobs

METHODS: dict[str, dict[str, Any]] = {
    "full": {},
    "lora": {"name": "lora", "rank": 8, "alpha": 16.0},
    "bottleneck": {"name": "bottleneck", "width": 16},
    "prefix": {"name": "prefix", "tokens": 8},
    "prompt": {"name": "prompt", "tokens": 8},
    "bitfit": {"name": "bitfit"},
    "head alone": {"name": "freeze"},
}
RATES = (1e-3, 3e-3, 1e-2)


def measure(data: str, run: Path, method: str, rate: float) -> dict[str, Any]:
    """The figures of one run."""
    step = json.loads((run / "config.json").read_text())["train"]["steps"]
    task = finetuning.TASKS["sst2"]
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        config = finetuning.make_config(data, run, step, task, task.examples, 0, work)
        config["optimizer"]["learning_rate"] = rate
        config["train"]["log_every"] = 10
        if METHODS[method]:
            config["adapter"] = METHODS[method]
        file = work / "adapter.py"
        file.write_text(finetuning.CONFIG.format(text=json.dumps(config)))
        command = [sys.executable, "-m", "pretrain_jax.main", f"--config={file}"]
        peak = run_with_peak([*command, f"--workdir={work}/run"])
        lines = jobs.read_lines(work / "run/metrics.jsonl")
        described = jobs.describe(str(file), {})
        size = sum(f.stat().st_size for f in (work / "run/checkpoints").rglob("*") if f.is_file())
    score = next(line for line in reversed(lines) if "valid/accuracy" in line)
    return {
        "score": score["valid/accuracy"],
        "trained": described["trained_parameters"],
        "bytes": size,
        "seconds": seconds_per_step(lines),
        "peak": peak,
    }


def run_with_peak(command: list[str]) -> float:
    """Runs a command that must succeed; returns its highest resident memory in MiB."""
    process = os.posix_spawn(command[0], command, os.environ)
    _, status, usage = os.wait4(process, 0)
    if status:
        raise SystemExit(f"{' '.join(command)} ended with {os.waitstatus_to_exitcode(status)}")
    return usage.ru_maxrss / 1024


def seconds_per_step(lines: list[dict[str, Any]]) -> float:
    """The median of the second half of a run."""
    logged = [line for line in lines if "train/loss" in line]
    half = logged[len(logged) // 2 :]
    pairs = itertools.pairwise(half)
    return statistics.median(
        (b["seconds"] - a["seconds"]) / (b["step"] - a["step"]) for a, b in pairs
    )


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown: for each model and method, the run with the best score."""
    header = ["model", "method", "rate", "accuracy", "trained", "KiB", "s / update", "peak, MiB"]
    best: dict[tuple[str, str], dict[str, Any]] = {}
    for row in rows:
        key = row["model"], row["method"]
        if key not in best or row["score"] > best[key]["score"]:
            best[key] = row
    cells = [
        [
            *(row["model"], row["method"], f"{row['rate']:g}", f"{row['score']:.3f}"),
            *(f"{row['trained']:,}", f"{row['bytes'] / 1024:,.0f}"),
            *(f"{row['seconds']:.3f}", f"{row['peak']:,.0f}"),
        ]
        for row in best.values()
    ]
    return jobs.table(header, cells)


def main() -> None:
    parser = jobs.study_options(__doc__, models="gpt,roberta,t5", methods=",".join(METHODS))
    options = jobs.parse_study(parser)
    if options.table:
        print(table(jobs.read_lines(Path(options.table))))
        return
    out = Path(options.out)
    done = {(x["model"], x["method"], x["rate"]) for x in jobs.read_lines(out)}
    for model in options.models.split(","):
        for method in options.methods.split(","):
            for rate in RATES:
                if (model, method, rate) in done:
                    continue
                made = measure(options.data, Path(options.runs) / model, method, rate)
                row = {"model": model, "method": method, "rate": rate, **made}
                jobs.append_line(out, row)
                print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
