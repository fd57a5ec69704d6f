"""lm-evaluation-harness on the same model through its Hugging Face class and through our adapter.

    python benchmarks/harness.py --data=FOLDER --model=FOLDER [--model=FOLDER ...]
                                 [--tasks=blimp,lambada,arc_easy,copa] [--limit=N] [--repeats=3]

FOLDER of --data has blimp/, lambada/, arc_easy/ and copa/ (.jsonl files). FOLDER of --model is a
Hugging Face folder, which both sides load: one that `convert --to_hf` wrote, or --random=FOLDER to
write GPT-2 124M with random weights there first (--vocab names the folder of GPT-2's vocabulary).

Each side runs in its own process, one after the other, --repeats times, in float32, at batch 8. The
table has the largest difference of two log-likelihoods, the items whose answers differ with the
margin of their choices, and the median seconds that the scoring calls took, without loading.

Needs torch, transformers and lm_eval.
"""

import argparse
import importlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

BATCH = 8
YAML = """task: {name}
dataset_path: json
dataset_kwargs: {{data_files: {{test: "{file}"}}}}
test_split: test
{rest}"""
COLUMNS = {
    "blimp": ("sentence_good", "sentence_bad"),
    "lambada": ("context", "continuation"),
    "arc_easy": ("query", "choices", "gold"),
    "copa": ("query", "choices", "gold"),
}
CHOICES = 'output_type: multiple_choice\ndoc_to_choice: "{{choices}}"\ndoc_to_target: gold\n'
ACCURACY = "metric_list: [{metric: acc}]\n"
TASKS = {
    "blimp": 'output_type: multiple_choice\ndoc_to_text: ""\ntarget_delimiter: ""\n'
    'doc_to_choice: "{{[sentence_good, sentence_bad]}}"\ndoc_to_target: 0\n' + ACCURACY,
    "lambada": 'output_type: loglikelihood\ndoc_to_text: "{{context}}"\n'
    'doc_to_target: " {{continuation}}"\n' + ACCURACY,
    "arc_easy": CHOICES + 'doc_to_text: "{{query}}\\nAnswer:"\n' + ACCURACY,
    "copa": CHOICES + 'doc_to_text: "{{query}}"\n' + ACCURACY,
}


def run_side(options: argparse.Namespace) -> None:
    """One side of one model, in this process; prints {"seconds": ..., task: [[nats, ...], ...]}."""
    import lm_eval
    from lm_eval.tasks import TaskManager

    (folder,) = options.model
    if options.side == "hf":
        hf: Any = importlib.import_module("lm_eval.models.huggingface")
        how = {"batch_size": BATCH, "dtype": "float32", "device": "cpu"}
        model: Any = hf.HFLM(pretrained=folder, **how)
    else:
        from pretrain_jax.evaluation.lm_eval_model import HarnessModel

        model = HarnessModel(folder, batch_size=BATCH)
    seconds = {}
    score = model.loglikelihood

    def timed(requests: Any, **more: Any) -> Any:
        began = time.monotonic()
        try:
            return score(requests, **more)
        finally:
            seconds[task] = time.monotonic() - began

    model.loglikelihood = timed
    manager = TaskManager(include_path=options.yaml, include_defaults=False)
    how = {"task_manager": manager, "bootstrap_iters": 0}
    made = {}
    for task in options.tasks.split(","):
        evaluate: Any = lm_eval.simple_evaluate
        result = evaluate(model, tasks=[f"local_{task}"], **how)
        made[task] = [
            {"values": [x[0] for x in sample["filtered_resps"]] if len(sample["resps"]) > 1
             else sample["filtered_resps"][0], "right": sample["acc"]}
            for sample in result["samples"][f"local_{task}"]
        ]  # fmt: skip
    print(json.dumps({"seconds": seconds, "made": made}))


def measure(options: argparse.Namespace) -> None:
    """The table of all models."""
    print("| model | task | items | largest difference, nats | answers that differ | their largest "
          "margin | accuracy | seconds, HF | seconds, ours | ratio |")  # fmt: skip
    print("| --- | --- " + "| ---: " * 8 + "|")
    with tempfile.TemporaryDirectory() as folder:
        for task, rest in TASKS.items():
            file = Path(folder, f"{task}.jsonl")
            file.write_text("".join(read_lines(options, task)))
            text = YAML.format(name=f"local_{task}", file=file, rest=rest)
            Path(folder, f"{task}.yaml").write_text(text)
        for model in options.model:
            runs: dict[str, list[Any]] = {"hf": [], "ours": []}
            for _ in range(options.repeats):
                for side, done in runs.items():
                    done.append(start(options, model, side, folder))
            for task in options.tasks.split(","):
                print(row(Path(model).name, task, runs), flush=True)


def read_lines(options: argparse.Namespace, task: str) -> Iterator[str]:
    """The items of a task, --limit of each file, with the same columns everywhere."""
    for file in sorted(Path(options.data, task).glob("*.jsonl")):
        for line in file.read_text().splitlines()[: options.limit or None]:
            item = json.loads(line)
            yield json.dumps({key: item[key] for key in COLUMNS[task]}) + "\n"


def start(options: argparse.Namespace, model: str, side: str, folder: str) -> Any:
    """One side in a process of its own."""
    command = [sys.executable, __file__, f"--side={side}", f"--model={model}", f"--yaml={folder}"]
    command += [f"--tasks={options.tasks}"]
    offline = {"HF_DATASETS_OFFLINE": "1", "HF_HUB_OFFLINE": "1", "HF_HOME": f"{folder}/home"}
    done = subprocess.run(
        command, env={**os.environ, **offline}, stdout=subprocess.PIPE, text=True, check=True
    )
    return json.loads(done.stdout.splitlines()[-1])


def row(model: str, task: str, runs: dict[str, list[Any]]) -> str:
    ours, theirs = (runs[side][0]["made"][task] for side in ("ours", "hf"))
    pairs = list(zip(ours, theirs, strict=True))
    difference = max(abs(x - y) for a, b in pairs for x, y in zip(numbers(a), numbers(b)))  # noqa: B905
    differing = [margin(b) for a, b in pairs if a["right"] != b["right"]]
    accuracy = statistics.mean(float(a["right"]) for a in ours)
    seconds = {
        side: statistics.median(run["seconds"][task] for run in done) for side, done in runs.items()
    }
    cells = [
        model,
        task,
        f"{len(ours):,}",
        f"{difference:.1e}",
        str(len(differing)),
        f"{max(differing):.1e}" if differing else "",
        f"{accuracy:.3f}",
        f"{seconds['hf']:.1f}",
        f"{seconds['ours']:.1f}",
        f"{seconds['hf'] / seconds['ours']:.2f}",
    ]
    return f"| {' | '.join(cells)} |"


def numbers(sample: Any) -> list[float]:
    """The log-likelihoods of a sample."""
    values = sample["values"]
    return [values[0]] if isinstance(values[1], bool) else values


def margin(sample: Any) -> float:
    """How much the best choice of a sample is likelier than the second; 0 for one text."""
    best = sorted(numbers(sample), reverse=True)
    return best[0] - best[1] if len(best) > 1 else 0.0


def write_random(folder: str, vocab: str) -> None:
    """GPT-2 124M with random weights, and GPT-2's tokenizer."""
    from etils import epath

    from pretrain_jax.huggingface import _tokenizer_files
    from pretrain_jax.tokenizers import byte_bpe

    torch: Any = importlib.import_module("torch")
    transformers: Any = importlib.import_module("transformers")
    torch.manual_seed(0)
    transformers.GPT2LMHeadModel(transformers.GPT2Config()).save_pretrained(folder)
    tokenizer = byte_bpe.load(vocab)
    _tokenizer_files.write(tokenizer, epath.Path(folder), model_type="gpt2", max_length=1024)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", default="")
    parser.add_argument("--model", action="append", default=[])
    parser.add_argument("--tasks", default=",".join(TASKS))
    parser.add_argument("--limit", type=int, default=0)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--random", default="")
    parser.add_argument("--vocab", default="")
    parser.add_argument("--side", default="", help=argparse.SUPPRESS)
    parser.add_argument("--yaml", default="", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        return run_side(options)
    if options.random:
        write_random(options.random, options.vocab)
        options.model.append(options.random)
    return measure(options)


if __name__ == "__main__":
    main()
