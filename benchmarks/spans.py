"""Whether tiny encoders learn labels with places: answers to questions, and tags of words.

    python benchmarks/spans.py [--runs=answers,tags] [--out=FOLDER]

The contexts are facts, such as "tree = silver birch . city = São Paulo . ", and a question names a
kind, such as "which tree ?". Each kind has its own values, of one or two words. Prints a table of
the last evaluations of these runs:

    answers     questions as in SQuAD 1.1
    windows     the same in rows that are too short for a context
    no_answer   a third of the questions has no answer, as in SQuAD 2.0
    tags        each value is an entity of its kind
"""

import argparse
import json
import random
import tempfile
from pathlib import Path
from typing import Any

import jobs

FACTS = {
    "color": ["red", "dark blue", "pink", "pale gold", "gray"],
    "animal": ["fox", "barn owl", "elk", "sea cod", "hen"],
    "tree": ["oak", "silver birch", "elm", "stone pine", "ash"],
    "metal": ["iron", "white tin", "zinc", "raw copper", "lead"],
    "fruit": ["pear", "sour plum", "fig", "wild lime", "date"],
    "city": ["Zürich", "São Paulo", "東京", "New York", "Oslo"],
}
SHOWN = 4
"""Facts of a context."""
CONFIG = """
from ml_collections import ConfigDict


def get_config():
    return ConfigDict(dict(
        data=dict(source="text:{folder}/train.jsonl", validation="text:{folder}/valid.jsonl",
                  seq_len=128, cache_dir="{folder}/cache"),
        tokenizer=dict(name="wordpiece"),
        objective=dict(name="{objective}"),
        model=dict(name="bert", vocab_size=200, layers=1, width=64, heads=8, feed_forward=128,
                   max_length=128, dropout=0.0, init_std=0.1),
        optimizer=dict(name="adamw", learning_rate=2e-3, schedule="constant", warmup_steps=10),
        train=dict(steps=200, batch_size=8, log_every=50),
        checkpoint=dict(every=1000),
        eval=dict(every=100),
    ))
"""
QUESTIONS = {"objective.question_length": 8}
RUNS: dict[str, tuple[str, float, dict[str, Any]]] = {
    "answers": ("extract_span", 0.0, QUESTIONS),
    "windows": (
        "extract_span",
        0.0,
        {"objective.question_length": 5, "objective.stride": 4, "data.seq_len": 20,
         "train.batch_size": 40, "train.steps": 400},
    ),
    "no_answer": ("extract_span", 1 / 3, {**QUESTIONS, "objective.unanswerable": True}),
    "tags": ("tag", 0.0, {}),
}  # fmt: skip
"""By name: the objective, the share of questions without an answer, and changes of the config."""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--runs", default=",".join(RUNS))
    parser.add_argument("--out", default="")
    options = parser.parse_args()
    out = Path(options.out or tempfile.mkdtemp())
    rows = []
    for name in options.runs.split(","):
        objective, share, changes = RUNS[name]
        folder = out / name
        folder.mkdir(parents=True, exist_ok=True)
        config = write(folder, objective, share)
        lines, seconds = jobs.train(str(config), folder / "run", changes)
        scores = {key.removeprefix("valid/"): x for key, x in lines[-1].items() if "valid/" in key}
        shown = ", ".join(f"{key.replace('_', ' ')} {x:.4g}" for key, x in scores.items())
        rows.append([name, objective, f"{seconds:.0f}", shown])
    print(jobs.table(["run", "objective", "seconds", "last evaluation"], rows))


def write(folder: Path, objective: str, share: float = 0.0) -> Path:
    """Writes 1000 records for training, 200 for validation and a config; returns its path.

    share: of the questions that have no answer.
    """
    for name, count, seed in (("train", 1000, 0), ("valid", 200, 1)):
        draw = random.Random(seed)
        make = tagged if objective == "tag" else lambda draw: question(draw, share)
        records = [{"id": f"{name} {number}", **make(draw)} for number in range(count)]
        lines = "".join(json.dumps(record) + "\n" for record in records)
        (folder / f"{name}.jsonl").write_text(lines)
    (folder / "spans.py").write_text(CONFIG.format(folder=folder, objective=objective))
    return folder / "spans.py"


def question(draw: random.Random, share: float = 0.0) -> dict[str, Any]:
    """A question about a context, in the form of Hugging Face's SQuAD."""
    kinds = draw.sample(list(FACTS), SHOWN)
    context, places = "", {}
    for kind in kinds:
        context += f"{kind} = "
        places[kind] = len(context)
        context += draw.choice(FACTS[kind]) + " . "
    asked = draw.choice(
        [kind for kind in FACTS if kind not in kinds] if draw.random() < share else kinds
    )
    answers: dict[str, list[Any]] = {"text": [], "answer_start": []}
    if asked in kinds:
        start = places[asked]
        answers = {"text": [context[start : context.index(" .", start)]], "answer_start": [start]}
    return {"question": f"which {asked} ?", "context": context.strip(), "answers": answers}


def tagged(draw: random.Random) -> dict[str, Any]:
    """Words with tags: values are entities of their kind."""
    words, tags = [], []
    for kind in draw.sample(list(FACTS), SHOWN):
        value = draw.choice(FACTS[kind]).split(" ")
        words += ["this", "is", *value, "."]
        tags += ["O", "O", f"B-{kind}", *[f"I-{kind}"] * (len(value) - 1), "O"]
    return {"tokens": words, "tags": tags}


if __name__ == "__main__":
    main()
