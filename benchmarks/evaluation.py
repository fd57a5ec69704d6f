"""Proofs of evaluation: intervals, memorisation of planted texts, and in-context learning.

    python benchmarks/evaluation.py --part=coverage
    python benchmarks/evaluation.py --part=canaries --text=FILE.jsonl [--steps=2000] [--work=FOLDER]
    python benchmarks/evaluation.py --part=patterns [--steps=4000] [--work=FOLDER]

coverage  Of 1,000 synthetic sets of items whose accuracy is known, the share whose 95 % interval
          contains it.
canaries  A small GPT is trained on a text in which canaries stand 1, 10 and 100 times. The table
          has their exposure, and areas under the ROC curve for training and held-out documents,
          also with shuffled labels, which must give 0.5.
patterns  A small GPT is trained on documents of which each has examples of one rule
          (tasks/patterns.py). The table has the accuracy on new items after 0, 1, 4 and 16
          examples. No document contains an item of the task.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jobs
import numpy as np

from pretrain_jax.scores.intervals import bootstrap
from pretrain_jax.tasks import membership, patterns

SETS = 1_000
REPEATS = (1, 10, 100)
CANARIES = 8
"""Of each number of repeats."""
SHOTS = (0, 1, 4, 16)
DOCUMENTS, EXAMPLES = 20_000, 20
CONFIG = """
from ml_collections import ConfigDict


def get_config():
    return ConfigDict(dict(
        data=dict(source="text:{source}", seq_len={length}),
        tokenizer=dict(name="{tokenizer}"),
        objective=dict(name="causal_lm"),
        model=dict(name="gpt", vocab_size={vocab}, layers=4, width=128, heads=4, feed_forward=512,
                   max_length={length}, dropout=0.0, unroll=4),
        optimizer=dict(name="adamw", learning_rate=2e-3, schedule="cosine", warmup_steps=100),
        train=dict(steps={steps}, batch_size=16),
        eval=dict(every=0, sample_tokens=0),
        checkpoint=dict(every=100000),
    ))
"""


def coverage(options: argparse.Namespace) -> Iterator[str]:
    """The table of intervals."""
    yield "| accuracy | items | intervals that contain it |"
    yield "| ---: | ---: | ---: |"
    rng = np.random.default_rng(0)
    for accuracy in (0.5, 0.7, 0.9):
        for items in (100, 500):
            hits = 0
            for seed in range(SETS):
                right = (rng.random(items) < accuracy).astype(float)
                low, high = bootstrap(
                    lambda x: float(x["right"].mean()), {"right": right}, seed=seed
                )
                hits += low <= accuracy <= high
            yield f"| {accuracy} | {items} | {hits / SETS:.1%} |"


def canaries(options: argparse.Namespace) -> Iterator[str]:
    """The table of exposure, and that of membership."""
    work = Path(options.work)
    records = [json.loads(line) for line in Path(options.text).read_text().splitlines()]
    planted = make_canaries()
    draw = random.Random(0)
    for canary in planted:
        for _ in range(canary["repeats"]):
            record = draw.choice(records)
            lines = record["text"].split("\n")
            lines.insert(draw.randrange(len(lines) + 1), canary["text"])
            record["text"] = "\n".join(lines)
    write(work / "text.jsonl", records)
    write(work / "canaries.jsonl", [*planted, *make_canaries(seed=1, repeats=(0,))])
    run = train(work, options.steps, work / "text.jsonl", length=128, tokenizer="bytes", vocab=262)
    ask(run, "canaries", work / "canaries.jsonl")
    stored = json.loads(result_of(run, "canaries").read_text())
    yield "| times in the text | canaries | exposure, bits | 95 % interval |"
    yield "| ---: | ---: | ---: | ---: |"
    for group in sorted(stored["groups"], key=int):
        value = stored["groups"][group]
        low, high = (value["exposure"][name] for name in ("low", "high"))
        yield (f"| {group} | {value['items']} | {value['exposure']['value']:.2f} "
               f"| {low:.2f} to {high:.2f} |")  # fmt: skip
    yield ""
    yield from tell_members(run)


def make_canaries(seed: int = 0, repeats: tuple[int, ...] = REPEATS) -> list[dict[str, Any]]:
    """CANARIES texts for each number of repeats."""
    draw = random.Random(seed)
    digits = lambda: "".join(draw.choices("0123456789", k=8))  # noqa: E731
    return [
        {"text": f"The number of locker {number} is {digits()}.", "repeats": count}
        for count in repeats
        for number in draw.sample(range(10, 100), CANARIES)
    ]


def tell_members(run: Path) -> Iterator[str]:
    """The areas under the ROC curve with true and with shuffled labels."""
    ask(run, "membership")
    lines = result_of(run, "membership").with_suffix(".jsonl").read_text().splitlines()
    reports = [json.loads(line) for line in lines]
    rng = np.random.default_rng(0)
    yield f"| ranked by | AUC | 95 % interval | mean AUC of {SETS:,} shuffles of the labels |"
    yield "| --- | ---: | ---: | ---: |"
    for name in ("loss", "min_k", "compressed"):
        metric = membership.TASK.metrics[f"auc_{name}"]
        columns = {key: np.array([x[key] for x in reports]) for key in ("member", name)}
        low, high = bootstrap(metric, columns)
        shuffled = np.mean(
            [metric({**columns, "member": rng.permutation(columns["member"])}) for _ in range(SETS)]
        )
        yield f"| {name} | {metric(columns):.3f} | {low:.3f} to {high:.3f} | {shuffled:.3f} |"


def learn_in_context(options: argparse.Namespace) -> Iterator[str]:
    """The table of accuracy over the number of examples."""
    work = Path(options.work)
    asked = {item.context for item in patterns.make_all()}
    write(work / "patterns.jsonl", make_documents(asked))
    source, length = work / "patterns.jsonl", 384
    run = train(work, options.steps, source, length=length, tokenizer="bytes", vocab=262)
    yield "| examples | accuracy | 95 % interval | " + " | ".join(patterns.RULES) + " |"
    yield "| ---: " * (3 + len(patterns.RULES)) + "|"
    for shots in SHOTS:
        ask(run, "patterns", None, f"--shots={shots}")
        name = f"patterns_{shots}_shots" if shots else "patterns"
        stored = json.loads(result_of(run, name).read_text())
        value = stored["metrics"]["accuracy"]
        rules = [f"{stored['groups'][rule]['accuracy']['value']:.2f}" for rule in patterns.RULES]
        yield (f"| {shots} | {value['value']:.3f} | {value['low']:.3f} to {value['high']:.3f} | "
               + " | ".join(rules) + " |")  # fmt: skip


def make_documents(asked: set[str]) -> list[dict[str, str]]:
    """Documents of EXAMPLES items of one rule each, without the items that the task asks."""
    documents = []
    for number in range(DOCUMENTS):
        rule = list(patterns.RULES)[number % len(patterns.RULES)]
        items = patterns.make(rule, EXAMPLES, seed=1 + number)
        lines = [item.solved for item in items if item.context not in asked]
        documents.append({"text": "\n\n".join(lines) + "\n"})
    return documents


def train(work: Path, steps: int, source: Path, **sizes: Any) -> Path:
    """The workdir of a trained GPT."""
    config = work / "config.py"
    config.write_text(CONFIG.format(source=source, steps=steps, **sizes))
    jobs.train(str(config), work / "run", {})
    return work / "run"


def ask(run: Path, task: str, data: Path | None = None, *options: str) -> None:
    """Evaluates a run on a task with the command."""
    command = [sys.executable, "-m", "pretrain_jax.evaluate", f"--workdir={run}", f"--tasks={task}"]
    command += [*([f"--data={data}"] if data else []), "--yardsticks=none", *options]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def result_of(run: Path, task: str) -> Path:
    """The .json file of a task at the last step."""
    return max(run.glob(f"tasks/*/{task}.json"), key=lambda path: int(path.parent.name))


def write(file: Path, records: list[dict[str, Any]]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(record) + "\n" for record in records))


PARTS: dict[str, Callable[[argparse.Namespace], Iterator[str]]] = {
    "coverage": coverage,
    "canaries": canaries,
    "patterns": learn_in_context,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--part", choices=PARTS, required=True)
    parser.add_argument("--text", default="")
    parser.add_argument("--steps", type=int, default=2_000)
    parser.add_argument("--work", default="")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        options.work = options.work or folder
        for line in PARTS[options.part](options):
            print(line, flush=True)


if __name__ == "__main__":
    main()
