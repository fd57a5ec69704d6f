"""The path of docs/howto/babylm.md on a small budget: text, pretraining, BLiMP, finetuning, export.

    python benchmarks/babylm.py --data=FOLDER --work=FOLDER [--minutes=30] [--limit=1000]
                                [--models=gpt,bert,electra,t5]

FOLDER of --data has wikipedia-en/, blimp/ and sst2/. Its Wikipedia is written as babylm/*.train and
babylm_dev/*.dev, as BabyLM's own text is. Each config configs/babylm_NAME.py then trains for
--minutes on this machine, in a shape that such a machine can train (SHAPE), which leaves four
checkpoints. Each model is asked BLiMP at each checkpoint, finetuned on SST-2 from the last
checkpoint and from scratch, and exported. Prints the tables of that page.

A step that has its result in --work is not repeated.
"""

import argparse
import itertools
import json
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jobs

ROOT = Path(__file__).parents[1]
SHAPE = {
    "model.vocab_size": 8192,
    "model.layers": 4,
    "model.width": 256,
    "model.heads": 4,
    "model.feed_forward": 1024,
    "model.dropout": 0.0,
    "model.unroll": 4,
}
RECIPE = {
    "optimizer.schedule": "linear",
    "optimizer.warmup_steps": 200,
    "eval.tokens": 65_536,
    "eval.sample_tokens": 0,
    "checkpoint.keep": 10,
    "checkpoint.keep_every": 0,
    "train.batch_size": 8,
}
"""A short run needs small batches, a high rate, and no dropout: it sees the text once or twice."""
OWN: dict[str, dict[str, Any]] = {
    "gpt": {"optimizer.learning_rate": 2e-3, "optimizer.b2": 0.98},
    "bert": {"optimizer.learning_rate": 1e-3, "optimizer.b2": 0.98, "train.batch_size": 16},
    "electra": {
        "optimizer.learning_rate": 1e-3,
        "optimizer.b2": 0.98,
        "train.batch_size": 16,
        "model.embedding_width": 256,
    },
    "t5": {"model.layers": 3, "model.unroll": 3, "optimizer.learning_rate": 5e-3},
}
CHECKPOINTS = 4
TRIAL_STEPS = 120
LOG_EVERY = 20
SST2 = {
    "data.fields": "('0',)",
    "data.label_key": "1",
    "data.seq_len": 128,
    "train.steps": 648,
    "train.batch_size": 8,
    "objective.per_row": 4,
    "model.dropout": 0.1,
    "optimizer.learning_rate": 3e-4,
    "optimizer.warmup_steps": 64,
    "eval.every": 648,
    "checkpoint.every": 648,
}
"""Three epochs of 6,920 sentences, 32 an update."""


def write_text(data: Path, work: Path) -> str:
    """Writes *.train and *.dev; returns the options that name them."""
    for folder, pattern, file in (
        ("babylm", "train-*.jsonl", "simple_wiki.train"),
        ("babylm_dev", "valid.jsonl", "simple_wiki.dev"),
    ):
        (work / folder).mkdir(parents=True, exist_ok=True)
        lines = [x for path in sorted(data.glob(pattern)) for x in path.open(encoding="utf-8")]
        texts = [json.loads(line)["text"] for line in lines]
        (work / folder / file).write_text("\n\n".join(texts) + "\n", encoding="utf-8")
        print(f"{folder}: {sum(len(text.split()) for text in texts):,} words", flush=True)
    return f"text:{work}/babylm_dev/*.dev"


def pretrain(name: str, work: Path, validation: str, minutes: float) -> Path:
    """The workdir of a model that trained for these minutes."""
    config = f"{ROOT}/configs/babylm_{name}.py:{work}/babylm"
    changes = {**SHAPE, **RECIPE, **OWN[name], "data.validation": validation}
    trial = {**changes, "train.steps": TRIAL_STEPS, "eval.every": 0, "train.log_every": LOG_EVERY}
    jobs.train(config, work / f"trial_{name}", trial)
    steps = 60 * minutes / seconds_per_step(work / f"trial_{name}")
    every = max(round(steps / CHECKPOINTS / LOG_EVERY), 1) * LOG_EVERY
    changes |= {"train.steps": CHECKPOINTS * every, "train.log_every": LOG_EVERY}
    changes |= {"eval.every": every, "checkpoint.every": every}
    jobs.train(config, work / name, changes)
    return work / name


def seconds_per_step(run: Path) -> float:
    """The median of the second half of a run."""
    lines = [x for x in read_lines(run / "metrics.jsonl") if "train/loss" in x]
    half = lines[len(lines) // 2 - 1 :]
    pairs = itertools.pairwise(half)
    return statistics.median(
        (b["seconds"] - a["seconds"]) / (b["step"] - a["step"]) for a, b in pairs
    )


def ask(run: Path, step: int, data: Path, limit: int) -> dict[str, Any]:
    """The stored result of BLiMP at a checkpoint."""
    results = lambda: list((run / f"tasks/{step}").glob("blimp*.json"))  # noqa: E731
    if not results():
        command = [sys.executable, "-m", "pretrain_jax.evaluate", f"--workdir={run}"]
        command += [f"--step={step}", "--tasks=blimp", f"--data={data}", f"--limit={limit}"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return json.loads(results()[0].read_text())


def finetune(run: Path, workdir: Path, data: Path, scratch: bool) -> float:
    """The accuracy on SST-2's validation sentences."""
    changes = {
        **SST2,
        "data.source": f"text:{data}/train.tsv",
        "data.validation": f"text:{data}/dev.tsv",
    }
    if scratch:
        changes |= {"init_from": "", "tokenizer.path": f"{run}/tokenizer"}
    lines, _ = jobs.train(f"{ROOT}/configs/finetune/classify.py:{run}", workdir, changes)
    return lines[-1]["valid/accuracy"]


def read_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def tables(options: argparse.Namespace) -> Iterator[str]:
    data, work = Path(options.data), Path(options.work)
    validation = write_text(data / "wikipedia-en", work)
    names = options.models.split(",")
    runs = {name: pretrain(name, work, validation, options.minutes) for name in names}
    yield from describe_runs(runs)
    yield ""
    yield from tabulate_blimp(runs, data / "blimp", options.limit)
    yield ""
    yield "| model | SST-2 from scratch | SST-2 after pretraining | exported |"
    yield "| --- | ---: | ---: | ---: |"
    for name, run in runs.items():
        scores = [
            finetune(run, work / f"sst2_{name}{'_scratch' * scratch}", data / "sst2", scratch)
            for scratch in (True, False)
        ]
        folder = work / f"hf_{name}"
        if not folder.exists():
            command = [sys.executable, "-m", "pretrain_jax.convert"]
            jobs.run([*command, f"--workdir={run}", f"--to_hf={folder}"])
        size = sum(file.stat().st_size for file in folder.rglob("*")) / 2**20
        yield f"| {name} | {scores[0]:.3f} | {scores[1]:.3f} | {size:.0f} MiB |"


def describe_runs(runs: dict[str, Path]) -> Iterator[str]:
    """The table of pretraining."""
    yield "| model | updates | tokens | minutes | held-out loss at each checkpoint | unigram |"
    yield "| --- | ---: | ---: | ---: | --- | ---: |"
    for name, run in runs.items():
        rows = read_lines(run / "metrics.jsonl")
        lines = [row for row in rows if "valid/loss" in row]
        last = {key: value for row in rows for key, value in row.items()}
        losses = ", ".join(f"{x['valid/loss']:.2f}" for x in lines if x["step"])
        yield (f"| {name} | {last['step']:,} | {last['tokens'] / 1e6:.1f} M "
               f"| {last['seconds'] / 60:.1f} | {losses} "
               f"| {last['yardstick/unigram']:.2f} |")  # fmt: skip


def tabulate_blimp(runs: dict[str, Path], data: Path, limit: int) -> Iterator[str]:
    """The curves over checkpoints, then the groups at the last one beside the n-gram models.

    An n-gram model has the tokens of the model that it stands beside; in the table of groups, they
    are those of the first model.
    """
    results = {
        name: {step: ask(run, step, data, limit) for step in steps_of(run)}
        for name, run in runs.items()
    }
    grams = list(next(iter(results[next(iter(runs))].values()))["yardsticks"])
    yield f"| model | checkpoint | tokens | BLiMP | 95 % interval | {' | '.join(grams)} |"
    yield "| --- | ---: | ---: | ---: | ---: " + "| ---: " * len(grams) + "|"
    for name, run in runs.items():
        lines = read_lines(run / "metrics.jsonl")
        tokens = {x["step"]: x["tokens"] for x in lines if "tokens" in x}
        for step, result in results[name].items():
            score = result["metrics"]["accuracy"]
            beside = [f"{result['yardsticks'][gram]['accuracy']:.3f}" for gram in grams]
            yield (f"| {name} | {step} | {tokens[step] / 1e6:.1f} M | {score['value']:.3f} "
                   f"| {score['low']:.3f} to {score['high']:.3f} "
                   f"| {' | '.join(beside)} |")  # fmt: skip
    yield ""
    last = {name: found[max(found)] for name, found in results.items()}
    yield f"| group | items | {' | '.join([*last, *grams])} |"
    yield "| --- | ---: " + "| ---: " * (len(last) + len(grams)) + "|"
    for group, value in next(iter(last.values()))["groups"].items():
        cells = [show(result["groups"][group]["accuracy"]) for result in last.values()]
        cells += [f"{value['yardsticks'][gram]:.3f}" for gram in grams]
        yield f"| {group} | {value['items']:,} | {' | '.join(cells)} |"


def show(score: dict[str, float]) -> str:
    return f"{score['value']:.3f} ({score['low']:.3f} to {score['high']:.3f})"


def steps_of(run: Path) -> list[int]:
    return sorted(int(path.name) for path in (run / "checkpoints").glob("[1-9]*"))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", required=True)
    parser.add_argument("--work", required=True)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--limit", type=int, default=1_000)
    parser.add_argument("--models", default="gpt,bert,electra,t5")
    for line in tables(parser.parse_args()):
        print(line, flush=True)


if __name__ == "__main__":
    main()
