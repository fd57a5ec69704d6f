"""BLiMP over pretraining: what models of equal compute know of grammar, beside n-gram models.

    python benchmarks/blimp.py --data=blimp --runs=FOLDER --out=results.jsonl [--limit=1000]
                               [--models=gpt,roberta,t5] [--checkpoints=1/8,1/4,1/2,1]
    python benchmarks/blimp.py --table=results.jsonl

FOLDER of --runs has one pretrained run per model (benchmarks/pretraining.py). --checkpoints are
shares of its steps. --limit is the number of pairs of each of BLiMP's files. A line of --out is one
checkpoint; checkpoints that it has are not asked again. --table prints the curves, and the groups
at the last checkpoint of each model.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jobs


def ask(run: Path, step: int, options: argparse.Namespace) -> dict[str, Any]:
    """The stored result of BLiMP at a checkpoint."""
    command = [sys.executable, "-m", "pretrain_jax.evaluate", f"--workdir={run}", f"--step={step}"]
    command += ["--tasks=blimp", f"--data={options.data}", f"--limit={options.limit}"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    results = (run / f"tasks/{step}").glob("blimp*.json")  # one for each --limit
    return json.loads(max(results, key=lambda path: path.stat().st_mtime).read_text())


def measure(options: argparse.Namespace) -> None:
    """Asks everything that --out lacks."""
    out = Path(options.out)
    done = {(row["model"], row["step"]) for row in jobs.read_lines(out)}
    for model in options.models.split(","):
        run = Path(options.runs) / model
        for step, tokens in jobs.checkpoints(run, options.checkpoints):
            if (model, step) in done:
                continue
            result = ask(run, step, options)
            row = {"model": model, "step": step, "tokens": tokens}
            row |= {key: result[key] for key in ("items", "metrics", "groups", "yardsticks")}
            jobs.append_line(out, row)
            print(json.dumps({**row, "groups": len(row["groups"])}), flush=True)


def table(options: argparse.Namespace) -> Iterator[str]:
    """The curves over checkpoints, then the groups at the last one beside the n-gram models.

    An n-gram model has the tokens of the model that it stands beside; in the table of groups, they
    are those of the first model.
    """
    rows = jobs.read_lines(Path(options.table))
    grams = list(rows[0]["yardsticks"])
    header = ["model", "tokens", "pairs", "BLiMP", "95 % interval", *grams]
    lines = []
    for row in rows:
        score = row["metrics"]["accuracy"]
        beside = [f"{row['yardsticks'][gram]['accuracy']:.3f}" for gram in grams]
        cells = [row["model"], f"{row['tokens'] / 1e6:.1f} M", f"{row['items']:,}"]
        cells += [f"{score['value']:.3f}", f"{score['low']:.3f} to {score['high']:.3f}"]
        lines.append(cells + beside)
    yield jobs.table(header, lines)
    yield ""
    last = {row["model"]: row for row in sorted(rows, key=lambda row: row["step"])}
    lines = []
    for group, first in next(iter(last.values()))["groups"].items():
        cells = [show(row["groups"][group]["accuracy"]) for row in last.values()]
        cells += [f"{first['yardsticks'][gram]:.3f}" for gram in grams]
        lines.append([group, *cells])
    yield jobs.table(["group", *last, *grams], lines)


def show(score: dict[str, float]) -> str:
    return f"{score['value']:.3f} ({score['low']:.3f} to {score['high']:.3f})"


def main() -> None:
    parser = jobs.study_options(__doc__, models="gpt,roberta,t5", checkpoints="1/8,1/4,1/2,1")
    parser.add_argument("--limit", type=int, default=1_000)
    options = jobs.parse_study(parser)
    if options.table:
        print("\n".join(table(options)))
    else:
        measure(options)


if __name__ == "__main__":
    main()
