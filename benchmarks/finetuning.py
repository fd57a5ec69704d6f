"""What pretraining buys: SST-2, CoLA and MRPC over pretraining tokens, beside a bag of words.

    python benchmarks/finetuning.py --data=FOLDER --runs=FOLDER --out=results.jsonl [--seeds=3]
                                    [--models=roberta,gpt,t5] [--tasks=sst2,cola,mrpc]
                                    [--checkpoints=0,1/4,1/2,1] [--examples=0]
    python benchmarks/finetuning.py --data=FOLDER --table=results.jsonl [--figure=FILE.png]
                                    [--examples=0]

FOLDER of --data has sst2/, cola/ and mrpc/. FOLDER of --runs has one pretrained run per model
(benchmarks/pretraining.py). --checkpoints are shares of its steps; 0 is from scratch, with the
run's tokenizer. From each of them every task is finetuned with each seed, on one recipe: 3 epochs
of at most 32 examples an update and at least 200 updates, AdamW with a linear decay after 10 % of
warm-up, no dropout (as in pretraining). Of T5 only the encoder is finetuned. Scored is the last
state of a run, on the validation set: accuracy (SST-2), Matthews' correlation (CoLA), F1 (MRPC).
With --examples=N, a run trains on N examples, drawn with its seed, instead of all; --table prints
the lines of such runs alone. A line of --out is one finetuned run; runs that it has are not
repeated.

Two yardsticks: always the commonest class, and a logistic regression on counts of words and pairs
of words (scikit-learn), with C of 0.1, 1 or 10 by cross-validation on the training set. With
--examples, they are means over as many drawings.
"""

import argparse
import json
import random
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
BATCH = 32
"""Examples of an update, at most."""
LEAST_UPDATES = 200
RATE = 3e-4
"""Learning rate; docs/finetuning.md compares it with 1e-3."""
CONFIG = """
import json
from ml_collections import ConfigDict


def get_config():
    return ConfigDict(json.loads({text!r}))
"""


def make_config(
    data: str, run: Path, step: int, task: Task, examples: int, seed: int, work: Path
) -> dict[str, Any]:
    """The config of one finetuned run; step 0 is from scratch. Files for it go to `work`."""
    stored = json.loads((run / "config.json").read_text())
    model = stored["model"]
    if model["name"] == "t5":
        model = {key: value for key, value in model.items() if key != "shared"}
        model["name"] = "t5_encoder"
    train = Path(data, task.train)
    if examples < task.examples:
        train = write_part(train, task, examples, seed, work)
    steps = max(round(EPOCHS * examples / BATCH), LEAST_UPDATES)
    tokenizer = stored["tokenizer"] if step else {**stored["tokenizer"], "path": f"{run}/tokenizer"}
    return {
        "seed": seed,
        "init_from": f"{run}/checkpoints/{step}" if step else "",
        "data": {
            "source": f"text:{train}",
            "validation": f"text:{data}/{task.valid}",
            "fields": task.fields,
            "label_key": task.label,
            "seq_len": 128,
        },
        "tokenizer": tokenizer,
        "objective": {"name": "classify", "metric": task.metric, "per_row": task.per_row},
        "model": model,
        "optimizer": {
            "name": "adamw",
            "learning_rate": RATE,
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


def finetune(config: dict[str, Any], work: Path) -> dict[str, Any]:
    """The evaluation line of a config, trained in the folder `work`."""
    file = work / "finetune.py"
    file.write_text(CONFIG.format(text=json.dumps(config)))
    lines, seconds = jobs.train(str(file), work / "run", {})
    return {**next(x for x in reversed(lines) if "valid/items" in x), "wall": seconds}


def count_examples(task: Task, options: argparse.Namespace) -> int:
    """The number of training examples of a run: --examples, or all if there are no more."""
    return min(options.examples or task.examples, task.examples)


def write_part(file: Path, task: Task, examples: int, seed: int, work: Path) -> Path:
    """Writes a file with `examples` lines of `file`, and its header if it has one."""
    lines = file.read_bytes().splitlines(keepends=True)
    header = [] if task.fields[0].isdigit() else lines[:1]
    lines = lines[len(header) :]
    part = work / file.name
    part.write_bytes(
        b"".join([*header, *(lines[at] for at in draw_examples(len(lines), examples, seed))])
    )
    return part


def draw_examples(count: int, examples: int, seed: int) -> list[int]:
    """The numbers of `examples` examples of a set of `count`, the same for each model."""
    return sorted(random.Random(seed).sample(range(count), examples))


def measure(options: argparse.Namespace) -> None:
    """Finetunes everything that --out lacks."""
    out = Path(options.out)
    done = {key_of(row) for row in jobs.read_lines(out)}
    for model in options.models.split(","):
        run = Path(options.runs) / model
        points = jobs.checkpoints(run, options.checkpoints)
        for name in options.tasks.split(","):
            examples = count_examples(TASKS[name], options)
            for step, tokens in points:
                for seed in range(options.seeds):
                    row = {"model": model, "task": name, "examples": examples}
                    row |= {"step": step, "seed": seed}
                    if key_of(row) in done:
                        continue
                    with tempfile.TemporaryDirectory() as folder:
                        work = Path(folder)
                        config = make_config(
                            options.data, run, step, TASKS[name], examples, seed, work
                        )
                        line = finetune(config, work)
                    row |= {"tokens": tokens, "items": line["valid/items"]}
                    row |= {"score": line[f"valid/{TASKS[name].metric}"], "wall": line["wall"]}
                    jobs.append_line(out, row)
                    print(json.dumps(row), flush=True)


def key_of(row: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(row[name] for name in ("model", "task", "examples", "step", "seed"))


def read_records(data: str, task: Task, pattern: str) -> tuple[list[str], list[str]]:
    """(texts, labels) of a file, read as finetuning reads it; the texts of a pair are joined."""
    from pretrain_jax.data.corpus import open_corpus
    from pretrain_jax.data.sources import Columns

    columns = Columns(task.fields, task.label)
    corpus = open_corpus(f"text:{data}/{pattern}", columns=columns, split="all")
    texts = ["".join(blocks) for blocks in corpus.documents("valid")]
    return texts, [label or "" for label in corpus.labels("valid")]


def yardsticks(data: str, task: Task, examples: int, seeds: int) -> dict[str, float]:
    """The metric of the commonest class, and of a logistic regression on a bag of words: the means
    over `seeds` drawings of training examples."""
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV
    from sklearn.pipeline import make_pipeline

    from pretrain_jax.scores.classification import score_classes

    texts, labels = read_records(data, task, task.train)
    valid_texts, valid_labels = read_records(data, task, task.valid)
    classes = sorted(set(labels))
    wanted = [classes.index(label) for label in valid_labels]

    def score(answers: list[str]) -> float:
        given = [classes.index(answer) for answer in answers]
        return score_classes(wanted, given, len(classes))[task.metric]

    bag = make_pipeline(
        CountVectorizer(ngram_range=(1, 2), token_pattern=r"\S+", binary=True),
        LogisticRegression(max_iter=1000),
    )
    search = GridSearchCV(bag, {"logisticregression__C": [0.1, 1.0, 10.0]}, cv=3)
    scores = []
    for seed in range(seeds if examples < len(texts) else 1):
        drawn = draw_examples(len(texts), examples, seed)
        search.fit([texts[at] for at in drawn], [labels[at] for at in drawn])
        scores.append(score(list(search.predict(valid_texts))))
    common = max(classes, key=labels.count)
    return {
        "majority": score([common] * len(wanted)),
        "bag of words": statistics.mean(scores),
    }


def table(options: argparse.Namespace) -> Iterator[str]:
    """Markdown: a row for each model and number of tokens, mean and standard deviation by task."""
    lines = jobs.read_lines(Path(options.table))
    sizes = {name: count_examples(task, options) for name, task in TASKS.items()}
    rows = [row for row in lines if row["examples"] == sizes[row["task"]]]
    names = [name for name in TASKS if any(row["task"] == name for row in rows)]
    scores: dict[tuple[str, int, str], list[float]] = defaultdict(list)
    for row in rows:
        scores[row["model"], row["tokens"], row["task"]].append(row["score"])
    yield f"| model | pretraining tokens | {' | '.join(names)} |"
    yield "| --- | ---: |" + " ---: |" * len(names)
    beside = {
        name: yardsticks(options.data, TASKS[name], sizes[name], options.seeds) for name in names
    }
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
    parser.add_argument("--examples", type=int, default=0)
    options = jobs.parse_study(parser, for_table=("data",))
    if options.table:
        print("\n".join(table(options)))
    else:
        measure(options)


if __name__ == "__main__":
    main()
