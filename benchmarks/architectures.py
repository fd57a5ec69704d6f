"""The T5 paper's architecture table, small: five shapes, two objectives, the same tokens.

    python benchmarks/architectures.py [--text='FOLDER/*.jsonl'] [--steps=500] [--out=FOLDER]

The shapes are those of Raffel et al. 2020, section 3.2 (table 2), with 4 layers of width 128 for
their 12 of 768; the noise is that of t5_nano. Every row of a batch holds 128 tokens of text, so
every run sees the same tokens.
The loss is over the held-out text tokens that the objective predicts: it compares shapes under one
objective, and not the two objectives. The decoder alone is trained on every token by the language
model objective, as in the paper, and scored like the others: on the second part of a text.
"""

import argparse
import tempfile
from pathlib import Path

import jobs

CONFIG = "configs/t5_nano.py"
LAYERS = 4
SHAPES = {
    "encoder-decoder": ("t5", {"model.layers": LAYERS}, "memory"),
    "encoder-decoder, shared": ("t5", {"model.layers": LAYERS, "model.shared": True}, "memory"),
    "encoder-decoder, half the layers": ("t5", {"model.layers": LAYERS // 2}, "memory"),
    "decoder": ("t5_lm", {"model.layers": LAYERS}, "stream"),
    "decoder with a prefix": ("t5_lm", {"model.layers": LAYERS}, "prefix"),
}
# Rows that hold 128 tokens of text: 64 of them noise in 6 spans, or cut in two at a drawn place.
SEQ_LENS = {
    ("span_corruption", "memory"): 71,
    ("span_corruption", "one stream"): 141,
    ("prefix_lm", "memory"): 128,
    ("prefix_lm", "one stream"): 128,
}
NAMES = {"span_corruption": "denoising", "prefix_lm": "language model"}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--text", default="")
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--out", default="")
    options = parser.parse_args()
    folder = Path(options.out or tempfile.mkdtemp())
    shared = {"train.steps": options.steps, "eval.every": 0, "checkpoint.every": options.steps}
    if options.text:
        shared["data.source"] = f"text:{options.text}"
    rows = []
    for objective in NAMES:
        for shape, (model, sizes, inputs) in SHAPES.items():
            where = "memory" if inputs == "memory" else "one stream"
            scored = {
                **shared,
                **sizes,
                "model.name": model,
                "model.unroll": LAYERS,
                "objective.name": objective,
                "objective.inputs": inputs,
                "data.seq_len": SEQ_LENS[objective, where],
            }
            name = f"{objective}-{shape}".replace(" ", "_").replace(",", "")
            row = one(scored, folder / name, causal=(objective, inputs) == ("prefix_lm", "stream"))
            rows.append([shape, NAMES[objective], *row])
            print("|", " | ".join(rows[-1]), "|", flush=True)
    head = ["shape", "objective", "parameters", "FLOPs", "valid/loss", "unigram"]
    print(jobs.table(head, rows))


def one(scored: dict, workdir: Path, *, causal: bool) -> list[str]:
    """Trains one row of the table; `causal` trains on every token and scores as `scored` says."""
    trained = dict(scored)
    if causal:
        del trained["objective.inputs"]
        trained["objective.name"] = "causal_lm"
    lines, _ = jobs.train(CONFIG, workdir, trained)
    if causal:
        again = {**scored, "train.steps": 0, "init_from": workdir}
        lines, _ = jobs.train(CONFIG, workdir.with_name(f"{workdir.name}-scored"), again)
    found = jobs.describe(CONFIG, trained)
    end = lines[-1]
    return [
        f"{found['parameters']:,}",
        f"{found['flops']:.3g}",
        f"{end['valid/loss']:.3f}",
        f"{end['yardstick/unigram']:.3f}",
    ]


if __name__ == "__main__":
    main()
