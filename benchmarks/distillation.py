"""A student of half the layers with its teacher, and the same student alone: held-out loss.

    python benchmarks/distillation.py --runs=FOLDER --out=results.jsonl [--models=gpt,bert]
                                      [--seeds=3] [--steps=800] [--teacher_steps=2400]
    python benchmarks/distillation.py --table=results.jsonl

The teacher is gpt2_nano (4 layers of width 128) or the masked language model of that size, trained
on the source code of Python's standard library. Students have 2 layers. Each of them makes --steps
updates on the same rows with the same seed:

    alone      from scratch, on the text
    taught     from scratch, on the text and the teacher's distribution
    layers     from every second layer of the teacher, on the text
    both       from these layers, on the text and the teacher's distribution (DistilBERT's recipe)

A line of --out is one run: its held-out loss in nats per predicted token.
"""

import argparse
import json
import statistics
from collections import defaultdict
from pathlib import Path
from typing import Any

import jobs

CONFIGS = Path(__file__).parents[1] / "configs"
FAMILIES = {
    "gpt": ("gpt2_nano.py", "causal_lm", {}),
    "bert": ("bert_nano.py", "masked_lm", {"objective.name": "masked_lm"}),
}
LAYERS = {"model.layers": 2, "model.unroll": 2}


def teacher(name: str, runs: Path, steps: int) -> tuple[Path, float]:
    """(workdir, held-out loss) of a teacher, trained if it is not there."""
    config, _, changes = FAMILIES[name]
    run = runs / f"teacher_{name}"
    more = {"train.steps": steps, "eval.every": 0, "eval.sample_tokens": 0}
    lines, _ = jobs.train(f"{CONFIGS}/{config}", run, {**changes, **more})
    return run, lines[-1]["valid/loss"]


def student(name: str, how: str, seed: int, run: Path, steps: int, work: Path) -> float:
    """The held-out loss of a student."""
    config, task, changes = FAMILIES[name]
    more: dict[str, Any] = {**changes, **LAYERS, "seed": seed, "train.steps": steps}
    more |= {"eval.every": 0, "eval.sample_tokens": 0, "tokenizer.path": f"{run}/tokenizer"}
    if how in ("taught", "both"):
        more |= {"objective.name": "distill", "objective.task": task, "objective.teacher": run}
    if how in ("layers", "both"):
        more |= {"init_from": run, "init_layers": "(0,2)"}
    lines, _ = jobs.train(f"{CONFIGS}/{config}", work, more)
    return lines[-1]["valid/loss"]


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown: a row for each model, the mean and standard deviation of each student's loss."""
    losses: dict[tuple[str, str], list[float]] = defaultdict(list)
    for row in rows:
        losses[row["model"], row["how"]].append(row["loss"])
    names = ["teacher", "alone", "taught", "layers", "both"]
    lines = []
    for model in dict.fromkeys(row["model"] for row in rows):
        cells = [model]
        for how in names:
            values = losses[model, how]
            spread = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
            cells.append(f"{statistics.mean(values):.3f}{spread}" if values else "")
        lines.append(cells)
    return jobs.table(["model", *names], lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    for name, default in (("runs", ""), ("out", ""), ("table", ""), ("models", "gpt,bert")):
        parser.add_argument(f"--{name}", default=default)
    for name, default in (("seeds", 3), ("steps", 800), ("teacher_steps", 2400)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = jobs.parse_study(parser)
    if options.table:
        print(table(jobs.read_lines(Path(options.table))))
        return
    runs, out = Path(options.runs), Path(options.out)
    done = {(row["model"], row["how"], row["seed"]) for row in jobs.read_lines(out)}
    for model in options.models.split(","):
        run, loss = teacher(model, runs, options.teacher_steps)
        if (model, "teacher", 0) not in done:
            jobs.append_line(out, {"model": model, "how": "teacher", "seed": 0, "loss": loss})
        for seed in range(options.seeds):
            for how in ("alone", "taught", "layers", "both"):
                if (model, how, seed) in done:
                    continue
                work = runs / f"{model}_{how}_{seed}"
                loss = student(model, how, seed, run, options.steps, work)
                row = {"model": model, "how": how, "seed": seed, "loss": loss}
                jobs.append_line(out, row)
                print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
