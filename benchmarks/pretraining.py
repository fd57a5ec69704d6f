"""Pretrains a small model of each family for the same time: runs for finetuning.py and blimp.py.

    taskset -c 0 python benchmarks/pretraining.py --data=FOLDER --runs=FOLDER --out=results.jsonl
                                                  [--models=gpt,roberta,t5,...] [--minutes=120]
    python benchmarks/pretraining.py --table=results.jsonl

FOLDER of --data has wikipedia-en/ (train-*.jsonl, valid.jsonl) and classic-books/ (*.txt): an
encyclopedia and novels, as BERT was pretrained on. The vocabulary is WordPiece's in lower case,
because SST-2 is in lower case with a space before each comma: it reads "good , but" as it reads
"Good, but".

A run of 120 steps measures the seconds of a step. The run itself has as many steps as --minutes
hold, a learning rate that falls to 0 along a line, and 8 checkpoints at equal distances. A line of
--out is one run: its held-out loss at each checkpoint, its tokens and its minutes. With `taskset -c
0` it has one core, so that two runs can go side by side. Finished runs are not repeated, and a run
that was stopped is resumed. --table prints the table of --out.
"""

import itertools
import json
import statistics
from pathlib import Path
from typing import Any, NamedTuple

import jobs

CONFIGS = Path(__file__).parents[1] / "configs"
SHAPE = {
    "model.vocab_size": 8192,
    "model.layers": 4,
    "model.width": 128,
    "model.heads": 4,
    "model.feed_forward": 512,
    "model.dropout": 0.0,
    "model.unroll": 4,
}
RECIPE = {
    "tokenizer.name": "wordpiece",
    "data.seq_len": 128,
    "optimizer.schedule": "linear",
    "optimizer.warmup_steps": 200,
    "optimizer.clip_norm": 1.0,
    "eval.tokens": 65_536,
    "eval.sample_tokens": 0,
    "checkpoint.keep": 10,
    "checkpoint.keep_every": 0,
}
"""A short run needs small batches, a high rate, and no dropout: it sees the text a few times."""


class Family(NamedTuple):
    """A config and what it needs at this size."""

    config: str
    changes: dict[str, Any]


ADAMW = {"optimizer.b2": 0.98, "optimizer.weight_decay": 0.01}
ENCODER = {
    **ADAMW,
    "optimizer.learning_rate": 1e-3,
    "optimizer.warmup_steps": 1000,
    "model.init_std": 0.05,
    "objective.rate": 0.4,
    "train.batch_size": 16,
}
"""docs/finetuning.md compares this recipe with others."""
FAMILIES = {
    "gpt": Family(
        "babylm_gpt.py", {**ADAMW, "optimizer.learning_rate": 3e-3, "train.batch_size": 8}
    ),
    "roberta": Family("babylm_bert.py", ENCODER),
    "t5": Family(
        "babylm_t5.py",
        {
            "model.head_width": 32,
            "tokenizer.sentinels": 100,
            "optimizer.learning_rate": 1e-2,
            "train.batch_size": 8,
        },
    ),
    "electra": Family("babylm_electra.py", {**ENCODER, "model.embedding_width": 128}),
    "bert": Family("bert_nano.py", ENCODER),
    "spanbert": Family("spanbert_nano.py", ENCODER),
}
CHECKPOINTS = 8
TRIAL_STEPS = 120
LOG_EVERY = 20


def pretrain(name: str, runs: Path, source: str, validation: str, minutes: float) -> dict[str, Any]:
    """Trains a family in runs/name; returns its line of --out."""
    config = f"{CONFIGS}/{FAMILIES[name].config}"
    changes = {**SHAPE, **RECIPE, **FAMILIES[name].changes}
    changes |= {"data.source": source, "data.validation": validation}
    changes |= {"train.log_every": LOG_EVERY}
    trial = {**changes, "train.steps": TRIAL_STEPS, "eval.every": 0}
    jobs.train(config, runs / f"trial_{name}", trial)
    every = checkpoint_steps(minutes, seconds_per_step(runs / f"trial_{name}"))
    changes |= {"train.steps": CHECKPOINTS * every, "eval.every": every, "checkpoint.every": every}
    jobs.train(config, runs / name, changes)
    return describe(name, runs / name)


def describe(name: str, run: Path) -> dict[str, Any]:
    """The line of --out of a finished run."""
    lines = jobs.read_lines(run / "metrics.jsonl")
    last = {key: value for line in lines for key, value in line.items()}
    yardsticks = ("unigram", "bigram")
    return {
        "model": name,
        "steps": last["step"],
        "tokens": last["tokens"],
        "minutes": last["seconds"] / 60,
        "losses": {line["step"]: line["valid/loss"] for line in lines if "valid/loss" in line},
        **{key: last[f"yardstick/{key}"] for key in yardsticks if f"yardstick/{key}" in last},
    }


def checkpoint_steps(minutes: float, seconds: float) -> int:
    """Steps from one checkpoint to the next, a multiple of the steps between log lines.

    120 minutes of 0.5 s a step are 14,400 steps; 8 checkpoints have 1,800 steps each.
    """
    return max(round(60 * minutes / seconds / CHECKPOINTS / LOG_EVERY), 1) * LOG_EVERY


def seconds_per_step(run: Path) -> float:
    """The median of the second half of a run."""
    lines = [x for x in jobs.read_lines(run / "metrics.jsonl") if "train/loss" in x]
    half = lines[len(lines) // 2 - 1 :]
    pairs = itertools.pairwise(half)
    return statistics.median(
        (b["seconds"] - a["seconds"]) / (b["step"] - a["step"]) for a, b in pairs
    )


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown: a row for each model; the losses are in nats per predicted token."""
    header = ["model", "updates", "tokens", "minutes", "held-out loss at each checkpoint"]
    header += ["unigram", "bigram"]
    lines = []
    for row in rows:
        cells = [row["model"], f"{row['steps']:,}", f"{row['tokens'] / 1e6:.1f} M"]
        cells += [f"{row['minutes']:.0f}", ", ".join(f"{x:.2f}" for x in row["losses"].values())]
        cells += [f"{row[key]:.2f}" if key in row else "" for key in ("unigram", "bigram")]
        lines.append(cells)
    return jobs.table(header, lines)


def main() -> None:
    parser = jobs.study_options(__doc__, models=",".join(FAMILIES))
    parser.add_argument("--minutes", type=float, default=120)
    options = jobs.parse_study(parser)
    if options.table:
        print(table(jobs.read_lines(Path(options.table))))
        return
    out = Path(options.out)
    for name in options.models.split(","):
        if name in {row["model"] for row in jobs.read_lines(out)}:
            continue
        wikipedia, books = f"{options.data}/wikipedia-en", f"{options.data}/classic-books"
        source = f"text:{wikipedia}/train-*.jsonl,{books}/*.txt"
        validation = f"text:{wikipedia}/valid.jsonl"
        row = pretrain(name, Path(options.runs), source, validation, options.minutes)
        jobs.append_line(out, row)
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
