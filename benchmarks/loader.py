"""The loader alone: real tokens per second of packed rows, the objective's noise included.

    python benchmarks/loader.py --text='wikipedia/*.jsonl' [--workers=0] [--seq_len=512]

One config of each family, on unchanged documents and on pieces of them of about 60 tokens, many of
which fit into a row. Tokens of the stream and of the memory count, padding does not. Medians of
--bursts bursts of --steps batches, in millions of tokens.
"""

import argparse
import contextlib
import glob
import json
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import jax
import jobs
from etils import epath

from pretrain_jax.composition import config
from pretrain_jax.composition.build import build_design, fix_schedule
from pretrain_jax.composition.feed import Feed

CONFIGS = {
    "GPT (causal_lm)": ("gpt2_nano", {}),
    "GPT, one text per row": ("gpt2_nano", {"data.cross_documents": True}),
    "BERT (next_sentence)": ("bert_nano", {}),
    "RoBERTa (masked_lm)": ("bert_nano", {"objective.name": "masked_lm"}),
    "SpanBERT (span_boundary)": ("spanbert_nano", {}),
    "ELECTRA (replaced_token)": ("electra_nano", {}),
    "T5 (span_corruption)": (
        "t5_nano",
        {"objective.rate": 0.15, "objective.mean_span": 3.0, "tokenizer.sentinels": 300},
    ),
}
WORDS = 45  # of English: about 60 tokens


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--text", required=True)
    parser.add_argument("--seq_len", type=int, default=512)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--bursts", type=int, default=7)
    parser.add_argument("--workers", type=int, default=0, help="data.workers")
    options = parser.parse_args()
    print(f"rows of {options.seq_len}, batches of {options.batch}, {os.cpu_count()} cores\n")
    with tempfile.TemporaryDirectory() as folder:
        short = Path(folder) / "short.jsonl"
        split_documents(options.text, short)
        texts = {"unchanged": options.text, "60 tokens": str(short)}
        rows = []
        for name, (file, changes) in CONFIGS.items():
            row = [name]
            for variant, text in texts.items():
                more = {**changes, "data.source": f"text:{text}", "data.seq_len": options.seq_len}
                more["data.workers"] = options.workers
                if "BERT" in name or "ELECTRA" in name or "GPT" in name:
                    more["model.max_length"] = options.seq_len
                rate, examples = loader_rate(
                    f"configs/{file}.py", more, options, Path(folder) / variant
                )
                row += [f"{rate / 1e6:.2f}", f"{examples:.1f}"]
            rows.append(row)
            print("|", " | ".join(row), "|", flush=True)
    head = ["", "documents", "examples per row", "of 60 tokens", "examples per row"]
    print(jobs.table(head, rows))


def split_documents(text: str, path: Path) -> None:
    """Writes the documents of `text` in pieces of WORDS words."""
    with path.open("w") as out:
        for file in sorted(glob.glob(text)):
            for line in Path(file).read_text().splitlines():
                words = json.loads(line)["text"].split()
                for start in range(0, len(words), WORDS):
                    piece = " ".join(words[start : start + WORDS])
                    out.write(json.dumps({"text": piece}) + "\n")


def loader_rate(
    file: str, changes: dict, options: argparse.Namespace, folder: Path
) -> tuple[float, float]:
    """(real tokens per second, examples per row) of one config."""
    words = [(key, str(value)) for key, value in changes.items()]
    design = build_design(fix_schedule(config.read(file, words)), tuple(jax.devices()))
    folder.mkdir(exist_ok=True)
    feed = Feed.open(design, epath.Path(tempfile.mkdtemp(dir=folder)))
    phase = design.spec.phases[0]
    rates, examples = [], 0.0
    batches: Any = feed.batches(phase, 0)
    with contextlib.closing(batches):
        next(batches)
        for _ in range(options.bursts):
            start, tokens = time.perf_counter(), 0
            for _ in range(options.steps):
                batch = next(batches)
                for field in ("segments", "memory_segments"):
                    tokens += int((batch[field] > 0).sum()) if field in batch else 0
            rates.append(tokens / (time.perf_counter() - start))
            examples = float(batch["segments"].max(1).mean())
    return statistics.median(rates), examples


if __name__ == "__main__":
    main()
