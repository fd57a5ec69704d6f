"""The T5 paper's architecture table, small: five shapes, two objectives, the same tokens.

    python benchmarks/architectures.py [--text='FOLDER/*.jsonl'] [--steps=500] [--out=FOLDER]

The shapes are those of Raffel et al. 2020, section 3.2 (table 2), with 4 layers of width 128
instead of 12 of width 768, and with the noise of t5_nano. Every row of a batch has 128 tokens of
text, so every run trains on the same tokens.

The loss covers the held-out text tokens that the objective predicts: compare shapes under one
objective, not the two objectives. As in the paper, the language model objective trains the decoder
on every token; its score is that of the others, on the second part of a text.
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
# Rows of 128 text tokens: 64 of them noise in 6 spans, or split in two at a random position.
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
            layout = "memory" if inputs == "memory" else "one stream"
            scored = {
                **shared,
                **sizes,
                "model.name": model,
                "model.unroll": LAYERS,
                "objective.name": objective,
                "objective.inputs": inputs,
                "data.seq_len": SEQ_LENS[objective, layout],
            }
            name = f"{objective}-{shape}".replace(" ", "_").replace(",", "")
            row = train_and_score(
                scored, folder / name, causal=(objective, inputs) == ("prefix_lm", "stream")
            )
            rows.append([shape, NAMES[objective], *row])
            print("|", " | ".join(rows[-1]), "|", flush=True)
    head = ["shape", "objective", "parameters", "FLOPs", "valid/loss", "unigram"]
    print(jobs.table(head, rows))


def train_and_score(scored: dict, workdir: Path, *, causal: bool) -> list[str]:
    """Columns of one row: trains with the changes `scored`; with `causal`, trains on every token
    and then scores with `scored`."""
    trained = dict(scored)
    if causal:
        del trained["objective.inputs"]
        trained["objective.name"] = "causal_lm"
    lines, _ = jobs.train(CONFIG, workdir, trained)
    if causal:
        again = {**scored, "train.steps": 0, "init_from": workdir}
        lines, _ = jobs.train(CONFIG, workdir.with_name(f"{workdir.name}-scored"), again)
    sizes = jobs.describe(CONFIG, trained)
    last = lines[-1]
    return [
        f"{sizes['parameters']:,}",
        f"{sizes['flops']:.3g}",
        f"{last['valid/loss']:.3f}",
        f"{last['yardstick/unigram']:.3f}",
    ]


if __name__ == "__main__":
    main()
