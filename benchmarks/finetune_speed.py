"""Examples per second of finetuning on CPU, side by side with the Trainer of transformers.

    python benchmarks/finetune_speed.py --data=FOLDER [--bursts=5] [--steps=4] [--work=FOLDER]
                                        [--sides=packed,full,unpacked]

FOLDER of --data has sst2/train.tsv. All sides finetune a BERT of base size with random weights on
SST-2, in fp32, with about 32 examples an update, dropout, clipping and AdamW, from the same
vocabulary.

    trainer    transformers' Trainer with its default collator, which pads each batch to its longest
               example
    packed     our configs/finetune/classify.py: 8 rows of 128 tokens, each with up to 4 examples
    full       7 rows of 128 tokens, each with up to 5 examples, which suits SST-2's short texts
    unpacked   32 rows of 128 tokens with an example each (objective.per_row=1)

Each side runs in a separate process that keeps its model warm and runs bursts on request, each
after one untimed step. Bursts alternate, so that a slow phase of the machine affects all sides. The
output has the median examples per second, and the median ratio to the Trainer of the same round.
torch, transformers and accelerate must be installed.
"""

# pyright: reportMissingImports=false

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cpu_step import Side
from finetune_recipe import run as run_command
from finetune_recipe import write_random_bert

ROWS = {"packed": (8, 4), "full": (7, 5), "unpacked": (32, 1)}
"""Rows of a batch, and most examples of a row."""
EXAMPLES = 32


def ours(side: str, data: str, work: Path) -> Iterator[int]:
    """Runs an update for each item; the items are the examples of the update."""
    from pretrain_jax.xla import malloc

    malloc.keep_freed_memory()
    import jax
    from etils import epath

    from pretrain_jax.composition import config, resume
    from pretrain_jax.composition.build import build_design
    from pretrain_jax.composition.feed import Feed
    from pretrain_jax.step import train_step

    rows, per_row = ROWS[side]
    changes = {
        "data.source": f"text:{data}/sst2/train.tsv",
        "data.cache_dir": f"{work}/cache",
        "objective.per_row": per_row,
        "train.batch_size": rows,
    }
    file = Path(__file__).parents[1] / "configs" / "finetune" / "classify.py"
    settings = config.read(f"{file}:{work}/imported", [(k, str(v)) for k, v in changes.items()])
    workdir = epath.Path(work) / side
    settings, _ = resume.config_to_resume(settings, workdir)
    design = build_design(settings, tuple(jax.devices()))
    feed = Feed.open(design, workdir)
    (phase,) = design.spec.phases
    state = design.update.init_state()
    step = jax.jit(train_step, static_argnums=2, donate_argnums=0)
    for made in feed.batches(phase, 0):
        batch = design.placement.rows.to_global(made, phase.batch_size)
        state, metrics = step(state, batch, design.update.program)
        jax.block_until_ready((state, metrics))
        yield int(made["label_weights"].sum())


def serve(updates: Iterator[int]) -> None:
    """Runs a burst of updates for each line of input; prints its seconds and its examples."""
    for _ in range(3):
        next(updates)
    print("ready", flush=True)
    for line in sys.stdin:
        next(updates)  # untimed: caches may be cold after another side ran
        start = time.perf_counter()
        examples = sum(next(updates) for _ in range(int(line)))
        print(time.perf_counter() - start, examples, flush=True)


def serve_trainer(data: str, work: Path) -> None:
    """`serve` from inside of the Trainer's loop."""
    import torch
    import transformers

    torch.set_num_threads(2)
    folder = str(work / "random_bert")
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    lines = (Path(data) / "sst2" / "train.tsv").read_text().splitlines()
    pairs = [line.split("\t") for line in lines]
    records = [
        {**tokenizer(text, truncation=True, max_length=128), "label": int(label)}
        for text, label in pairs
    ]

    class Bursts(transformers.TrainerCallback):
        """After 3 updates, waits for a request before each burst."""

        left, start = 3, 0.0

        def on_step_end(self, args: Any, state: Any, control: Any, **others: Any) -> None:
            self.left -= 1
            if state.global_step == 3:
                print("ready", flush=True)
            elif self.left == self.steps:  # the untimed one is done
                self.start = time.perf_counter()
            elif self.left == 0:
                print(time.perf_counter() - self.start, EXAMPLES * self.steps, flush=True)
            if self.left == 0:
                line = sys.stdin.readline()
                control.should_training_stop = not line
                self.steps = int(line or 1)
                self.left = self.steps + 1

        steps = 0

    arguments = transformers.TrainingArguments(
        output_dir=str(work / "trainer"),
        per_device_train_batch_size=EXAMPLES,
        dataloader_drop_last=True,
        learning_rate=2e-5,
        weight_decay=0.01,
        max_grad_norm=1.0,
        max_steps=100_000,
        use_cpu=True,
        save_strategy="no",
        logging_strategy="no",
        report_to=[],
        disable_tqdm=True,
    )
    trainer = transformers.Trainer(
        transformers.AutoModelForSequenceClassification.from_pretrained(folder, num_labels=2),
        arguments,
        train_dataset=records,
        processing_class=tokenizer,
        callbacks=[Bursts()],
    )
    trainer.train()


def compare(options: argparse.Namespace, work: Path) -> None:
    """Alternating bursts of all sides."""
    lines = (Path(options.data) / "sst2" / "train.tsv").read_text().splitlines()
    if not (work / "imported").exists():
        write_random_bert(work / "random_bert", [line.split("\t")[0] for line in lines])
        run_command(
            "pretrain_jax.convert", f"--from_hf={work}/random_bert", f"--workdir={work}/imported"
        )
    command = [sys.executable, __file__, f"--data={options.data}", f"--work={work}", "--serve"]
    sides = {name: Side([*command, name]) for name in ("trainer", *options.sides.split(","))}
    rates: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(options.bursts):
        for name, side in sides.items():
            seconds, examples = side.ask(options.steps)
            rates[name].append(examples / seconds)
            print(name, f"{examples / seconds:.2f} examples/s", flush=True)
    for side in sides.values():
        side.close()
    for name, values in rates.items():
        ratios = [a / b for a, b in zip(values, rates["trainer"], strict=True)]
        shown = {"side": name, "examples/s": round(statistics.median(values), 2)}
        shown |= {"ratio": round(statistics.median(ratios), 2)}
        print(json.dumps(shown | {"ratios": [round(min(ratios), 2), round(max(ratios), 2)]}))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", required=True)
    parser.add_argument("--bursts", type=int, default=5)
    parser.add_argument("--steps", type=int, default=4, help="updates in a burst")
    parser.add_argument("--sides", default=",".join(ROWS))
    parser.add_argument("--work", default="")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    options = parser.parse_args()
    work = Path(options.work or tempfile.mkdtemp())
    if options.serve == "trainer":
        serve_trainer(options.data, work)
    elif options.serve:
        serve(ours(options.serve, options.data, work))
    else:
        compare(options, work)


if __name__ == "__main__":
    main()
