"""The complete recipe with a Hugging Face folder: import, finetune, evaluate, export, predict.

    python benchmarks/finetune_recipe.py --data=FOLDER [--hf=FOLDER] [--steps=20] [--work=FOLDER]

FOLDER of --data has sst2/train.tsv and sst2/dev.tsv. Without --hf, transformers first writes a BERT
of base size with random weights, and its vocabulary is learned from the training sentences. The
last line compares our predictions for dev.tsv with those of transformers' pipeline on the exported
folder: labels that agree, and the largest difference of two probabilities. torch and transformers
must be installed.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import jobs

MODULE = (sys.executable, "-m")


def write_random_bert(folder: Path, sentences: list[str]) -> None:
    """A BERT of base size with random weights, and a vocabulary learned from sentences."""
    import tokenizers
    import transformers  # pyright: ignore[reportMissingImports]

    learned = tokenizers.BertWordPieceTokenizer(lowercase=True)
    learned.train_from_iterator(sentences, vocab_size=8192, show_progress=False)
    folder.mkdir(parents=True)
    learned.save_model(str(folder))
    tokenizer = transformers.BertTokenizer(str(folder / "vocab.txt"))
    config = transformers.BertConfig(vocab_size=len(tokenizer))
    transformers.BertForMaskedLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def run(*words: str) -> str:
    """Runs a command of the package; returns what it prints. Prints the command and its seconds."""
    start = time.monotonic()
    done = subprocess.run([*MODULE, *words], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(words)} ended with {done.returncode}:\n{done.stderr}")
    print(f"{time.monotonic() - start:6.1f} s  python -m {' '.join(words)}", flush=True)
    return done.stdout


def compare(exported: Path, predictions: Path, sentences: list[str]) -> str:
    """Our predictions beside those of transformers' pipeline, for the same sentences."""
    import transformers  # pyright: ignore[reportMissingImports]

    classifier = transformers.pipeline("text-classification", model=str(exported), top_k=None)
    ours = [json.loads(line) for line in predictions.read_text().splitlines()]
    same, largest = 0, 0.0
    for report, theirs in zip(ours, classifier(sentences, batch_size=16), strict=True):
        found = {entry["label"]: entry["score"] for entry in theirs}
        same += max(found, key=found.__getitem__) == report["prediction"]
        gaps = (abs(found[name] - p) for name, p in report["probabilities"].items())
        largest = max(largest, *gaps)
    return f"{same} of {len(ours)} predictions equal; largest difference {largest:.1e}"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", required=True)
    parser.add_argument("--hf", default="")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--work", default="")
    options = parser.parse_args()
    work = Path(options.work or tempfile.mkdtemp())
    train, dev = (Path(options.data) / "sst2" / name for name in ("train.tsv", "dev.tsv"))
    sentences = [line.split("\t")[0] for line in dev.read_text().splitlines()]
    folder = Path(options.hf or work / "random_bert")
    if not options.hf:
        write_random_bert(folder, [x.split("\t")[0] for x in train.read_text().splitlines()])
    run("pretrain_jax.convert", f"--from_hf={folder}", f"--workdir={work}/imported")
    changes = {"data.source": f"text:{train}", "data.validation": f"text:{dev}"}
    changes |= {"train.steps": options.steps, "optimizer.warmup_steps": options.steps // 10}
    config = f"--config=configs/finetune/classify.py:{work}/imported"
    run("pretrain_jax.main", config, f"--workdir={work}/tuned", *jobs.overrides(changes))
    out = f"--out={work}/predictions.jsonl"
    print(
        run("pretrain_jax.predict", f"--workdir={work}/tuned", f"--source=text:{dev}", out).strip()
    )
    run("pretrain_jax.convert", f"--workdir={work}/tuned", f"--to_hf={work}/exported")
    print(compare(work / "exported", work / "predictions.jsonl", sentences))


if __name__ == "__main__":
    main()
