"""What pretraining buys: SST-2, CoLA and MRPC over pretraining tokens, beside a bag of words.

    python benchmarks/finetuning.py --data=FOLDER --runs=FOLDER --out=results.jsonl [--seeds=3]
                                    [--models=roberta,gpt,t5] [--tasks=sst2,cola,mrpc]
                                    [--checkpoints=0,1/4,1/2,1]
    python benchmarks/finetuning.py --data=FOLDER --table=results.jsonl [--figure=FILE.png]

FOLDER of --data has sst2/, cola/ and mrpc/. FOLDER of --runs has one pretrained run per model
(benchmarks/pretraining.py). --checkpoints are shares of its steps; 0 is from scratch, with the
run's tokenizer. From each of them every task is finetuned with each seed, on one recipe: 3 epochs
of at most 32 examples an update, AdamW with a linear decay after 10 % of warm-up, no dropout (as in
pretraining). Scored is the last state of a run, on the validation set: accuracy (SST-2), Matthews'
correlation (CoLA), F1 (MRPC). A line of --out is one finetuned run; runs that it has are not
repeated.

Two yardsticks: always the commonest class, and a logistic regression on counts of words and pairs
of words (scikit-learn), with C of 0.1, 1 or 10 by cross-validation on the training set.
"""

import argparse
import json
import statistics
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jobs


class Task(NamedTuple):
    """A task: its files, columns and metric, its number of training examples, and its batches.

    rows, per_row: rows of a batch, and examples of a row; together 32 examples, as many to a row as
    fit nearly always.
    """

    train: str
    valid: str
    fields: tuple[str, ...]
    label: str
    metric: str
    examples: int
    rows: int
    per_row: int


TASKS = {
    "sst2": Task("sst2/train.tsv", "sst2/dev.tsv", ("0",), "1", "accuracy", 6_920, 8, 4),
    "cola": Task(
        "cola/in_domain_train.tsv", "cola/*_dev.tsv", ("3",), "1", "matthews", 8_551, 4, 8
    ),
    "mrpc": Task(
        *("mrpc/msr_paraphrase_train.txt", "mrpc/msr_paraphrase_test.txt"),
        *(("#1 String", "#2 String"), "Quality", "f1", 4_076, 16, 2),
    ),
}
EPOCHS = 3
EXAMPLES = 32
"""Of an update, at most."""
SCRATCH_RATE, RATE = 3e-4, 1e-3
"""Learning rates. Each is the better of these two for GPT on SST-2 with seed 0: from scratch 0.771
and 0.757, after an eighth of its pretraining 0.741 and 0.774."""
CONFIG = """
import json
from ml_collections import ConfigDict


def get_config():
    return ConfigDict(json.loads({text!r}))
"""


def finetune(data: str, run: Path, step: int, task: Task, seed: int, work: Path) -> dict[str, Any]:
    """The evaluation line of one finetuned run; step 0 is from scratch."""
    stored = json.loads((run / "config.json").read_text())
    steps = round(EPOCHS * task.examples / EXAMPLES)
    tokenizer = stored["tokenizer"] if step else {**stored["tokenizer"], "path": f"{run}/tokenizer"}
    config = {
        "seed": seed,
        "init_from": f"{run}/checkpoints/{step}" if step else "",
        "data": {
            "source": f"text:{data}/{task.train}",
            "validation": f"text:{data}/{task.valid}",
            "fields": task.fields,
            "label_key": task.label,
            "seq_len": 128,
        },
        "tokenizer": tokenizer,
        "objective": {"name": "classify", "metric": task.metric, "per_row": task.per_row},
        "model": stored["model"],
        "optimizer": {
            "name": "adamw",
            "learning_rate": RATE if step else SCRATCH_RATE,
            "schedule": "linear",
            "warmup_steps": steps // 10,
            "weight_decay": 0.01,
            "b2": 0.999,
            "clip_norm": 1.0,
        },
        "train": {"steps": steps, "batch_size": task.rows},
        "checkpoint": {"every": 1_000_000, "keep": 1},
        "eval": {"every": 0},
    }
    file = work / "finetune.py"
    file.write_text(CONFIG.format(text=json.dumps(config)))
    lines, seconds = jobs.train(str(file), work / "run", {})
    return {**next(x for x in reversed(lines) if "valid/items" in x), "wall": seconds}


def measure(options: argparse.Namespace) -> None:
    """Finetunes everything that --out lacks."""
    out = Path(options.out)
    done = {key_of(row) for row in jobs.read_lines(out)}
    for model in options.models.split(","):
        run = Path(options.runs) / model
        points = jobs.checkpoints(run, options.checkpoints)
        for name in options.tasks.split(","):
            for step, tokens in points:
                for seed in range(options.seeds):
                    row = {"model": model, "task": name, "step": step, "seed": seed}
                    if key_of(row) in done:
                        continue
                    with tempfile.TemporaryDirectory() as work:
                        line = finetune(options.data, run, step, TASKS[name], seed, Path(work))
                    row |= {"tokens": tokens, "items": line["valid/items"]}
                    row |= {"score": line[f"valid/{TASKS[name].metric}"], "wall": line["wall"]}
                    jobs.append_line(out, row)
                    print(json.dumps(row), flush=True)


def key_of(row: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(row[name] for name in ("model", "task", "step", "seed"))


def read_records(data: str, task: Task, pattern: str) -> tuple[list[str], list[str]]:
    """(texts, labels) of a file, read as finetuning reads it; the texts of a pair are joined."""
    from pretrain_jax.data.corpus import open_corpus
    from pretrain_jax.data.sources import Columns

    columns = Columns(task.fields, task.label)
    corpus = open_corpus(f"text:{data}/{pattern}", columns=columns, split="all")
    texts = ["".join(blocks) for blocks in corpus.documents("valid")]
    return texts, [label or "" for label in corpus.labels("valid")]


def yardsticks(data: str, task: Task) -> dict[str, float]:
    """The metric of the commonest class, and of a logistic regression on a bag of words."""
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV
    from sklearn.pipeline import make_pipeline

    from pretrain_jax.scores.classification import score_classes

    texts, labels = read_records(data, task, task.train)
    valid_texts, valid_labels = read_records(data, task, task.valid)
    classes = sorted(set(labels))
    bag = make_pipeline(
        CountVectorizer(ngram_range=(1, 2), token_pattern=r"\S+", binary=True),
        LogisticRegression(max_iter=1000),
    )
    search = GridSearchCV(bag, {"logisticregression__C": [0.1, 1.0, 10.0]}, cv=3)
    search.fit(texts, labels)
    wanted = [classes.index(label) for label in valid_labels]
    common = max(classes, key=labels.count)
    answers = {
        "majority": [common] * len(wanted),
        "bag of words": list(search.predict(valid_texts)),
    }
    return {
        name: score_classes(wanted, [classes.index(a) for a in given], len(classes))[task.metric]
        for name, given in answers.items()
    }


def table(options: argparse.Namespace) -> Iterator[str]:
    """Markdown: a row for each model and number of tokens, mean and standard deviation by task."""
    rows = jobs.read_lines(Path(options.table))
    names = [name for name in TASKS if any(row["task"] == name for row in rows)]
    scores: dict[tuple[str, int, str], list[float]] = defaultdict(list)
    for row in rows:
        scores[row["model"], row["tokens"], row["task"]].append(row["score"])
    yield f"| model | pretraining tokens | {' | '.join(names)} |"
    yield "| --- | ---: |" + " ---: |" * len(names)
    beside = {name: yardsticks(options.data, TASKS[name]) for name in names}
    for what in ("majority", "bag of words"):
        yield f"| {what} | | {' | '.join(f'{beside[name][what]:.3f}' for name in names)} |"
    for model, tokens in sorted({key[:2] for key in scores}):
        cells = [format_cell(scores.get((model, tokens, name), [])) for name in names]
        yield f"| {model} | {tokens / 1e6:.1f} M | {' | '.join(cells)} |"
    if options.figure:
        draw(scores, names, beside, options.figure)


def format_cell(values: list[float]) -> str:
    """ "0.791 ± 0.004 (3)": mean, standard deviation, number of seeds."""
    if not values:
        return ""
    spread = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.3f}{spread} ({len(values)})"


def draw(scores: Any, names: list[str], beside: Any, file: str) -> None:
    """A panel for each task: mean and standard deviation over pretraining tokens."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, len(names), figsize=(4 * len(names), 3.4), squeeze=False)
    for axis, name in zip(axes[0], names, strict=True):
        for model in sorted({key[0] for key in scores}):
            points = sorted((key[1], values) for key, values in scores.items()
                            if key[0] == model and key[2] == name)  # fmt: skip
            means = [statistics.mean(values) for _, values in points]
            spread = [statistics.stdev(v) if len(v) > 1 else 0.0 for _, v in points]
            at = [max(tokens, 5e5) / 1e6 for tokens, _ in points]
            axis.errorbar(at, means, spread, marker="o", capsize=2, label=model)
        for (what, value), style in zip(beside[name].items(), (":", "--"), strict=True):
            axis.axhline(value, color="C7", linestyle=style, label=what)
        axis.set(title=f"{name} ({TASKS[name].metric})", xscale="log",
                 xlabel="pretraining tokens, millions (left: none)")  # fmt: skip
    axes[0][0].legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(file, dpi=110)


def main() -> None:
    parser = jobs.study_options(
        __doc__,
        models="roberta,gpt,t5",
        tasks=",".join(TASKS),
        checkpoints="0,1/4,1/2,1",
        figure="",
    )
    parser.add_argument("--seeds", type=int, default=3)
    options = jobs.parse_study(parser, for_table=("data",))
    if options.table:
        print("\n".join(table(options)))
    else:
        measure(options)


if __name__ == "__main__":
    main()
