"""Whether the small runs of every family learn: held-out loss next to that of baselines.

    python benchmarks/nano.py [--text='FOLDER/*.jsonl'] [--runs=bert_nano,t5_nano] [--out=FOLDER]

Every config as it is, and again on your own text with --text. Prints a table of the last
evaluations and a table of the losses during training.
"""

import argparse
import math
import tempfile
from pathlib import Path

import jobs

CONFIGS = ("bert_nano", "spanbert_nano", "electra_nano", "t5_nano", "prefix_lm_nano")
EXTRA = ("accuracy", "next_sentence_accuracy", "span_boundary", "span_exact_match")
EXTRA += ("discriminator", "discriminator_accuracy", "discriminator_precision")
EXTRA += ("discriminator_recall",)
EXTRA += ("pseudo_perplexity",)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--text", default="")
    parser.add_argument("--runs", default=",".join(CONFIGS))
    parser.add_argument("--out", default="")
    options = parser.parse_args()
    sources = {"stdlib": {}}
    if options.text:
        sources["text"] = {"data.source": f"text:{options.text}"}
    folder = Path(options.out or tempfile.mkdtemp())
    last, curves = [], []
    for name in options.runs.split(","):
        for source, changes in sources.items():
            lines, seconds = jobs.train(f"configs/{name}.py", folder / f"{name}-{source}", changes)
            last_line = lines[-1]
            baselines = {
                key: value for key, value in last_line.items() if key.startswith("yardstick/")
            }
            gain = baselines["yardstick/unigram"] - last_line["valid/loss"]
            more = [
                f"{key.replace('_', ' ')} {last_line[f'valid/{key}']:.4g}"
                for key in EXTRA
                if f"valid/{key}" in last_line
            ]
            original = baselines.get("yardstick/always_original")
            if original is not None:
                nats = -sum(p * math.log(p) for p in (original, 1 - original))
                more.append(f"always original {original:.4f}, its share known {nats:.4f} nats")
            last.append(
                [
                    name,
                    source,
                    f"{seconds:.0f}",
                    f"{last_line['valid/loss']:.3f}",
                    f"{baselines['yardstick/unigram']:.3f}",
                    f"{gain:+.3f}",
                    ", ".join(more),
                ]
            )
            points = [f"{line['step']}: {line['valid/loss']:.3f}" for line in lines]
            curves.append([name, source, ", ".join(points)])
            print("|", " | ".join(last[-1]), "|", flush=True)
    head = ["run", "text", "seconds", "valid/loss", "unigram", "gain over unigram", "other metrics"]
    print(jobs.table(head, last), "\n")
    print(jobs.table(["run", "text", "step: valid/loss"], curves))


if __name__ == "__main__":
    main()
