"""Whether an exported run is the same model for somebody who has only transformers.

    python benchmarks/exported.py                           trains gpt2_nano, as README does
    python benchmarks/exported.py --workdir=runs/gpt2_nano  uses a run that has been trained

It needs torch and transformers (the extra `hf`). The run is exported with `convert`. A process that
has transformers alone then computes the perplexity of held-out text with the folder's tokenizer and
model, and continues texts with `pipeline`.

It prints a Markdown table. It ends with 1 if the perplexities differ by more than 1e-5 of their
size, if the texts of `pipeline` and of greedy `generate` differ, or if transformers warns. To show
that it can fail, it also asks for a folder with one parameter changed, which must differ.
"""

import argparse
import contextlib
import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import jobs

PROMPTS = ("def ", "import os", "class A:\n")
NEW_TOKENS = 24
TEXTS = 200
"""Held-out examples."""
LIMIT = 1e-5
CHILD = Path(__file__).with_name("transformers_perplexity.py")


def main() -> int:
    """Prints the table; returns the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--workdir", type=Path, help="a run of gpt2_nano")
    workdir = parser.parse_args().workdir
    with tempfile.TemporaryDirectory() as folder:
        run = workdir or Path(folder) / "gpt2_nano"
        if workdir is None:
            jobs.train("configs/gpt2_nano.py", run, {})
        return compare(run, Path(folder))


def compare(run: Path, folder: Path) -> int:
    """Exports a run, and prints what both sides compute."""
    exported, changed = folder / "hf", folder / "changed"
    jobs.run([sys.executable, "-m", "pretrain_jax.convert", f"--workdir={run}",
              f"--to_hf={exported}"])  # fmt: skip
    shutil.copytree(exported, changed)
    change_a_parameter(changed / "model.safetensors")
    texts = held_out_texts(run)
    ours = score(run, texts)
    theirs, damaged = (ask(path, texts) for path in (exported, changed))
    difference, shown = (
        abs(side["perplexity"] / ours["perplexity"] - 1) for side in (theirs, damaged)
    )
    rows = [
        ("this package", ours, ""),
        ("transformers", theirs, f"{difference:.1e}"),
        ("transformers, one parameter changed", damaged, f"{shown:.1e}"),
    ]
    print("| | tokens | perplexity | relative difference | greedy texts | warnings |")
    print("|---|---|---|---|---|---|")
    for name, side, gap in rows:
        equal = sum(a == b for a, b in zip(side["made"], ours["made"], strict=True))
        cells = (f"{side['tokens']:,}", f"{side['perplexity']:.6f}", gap)
        print(f"| {name} | {' | '.join(cells)} | {equal} of {len(PROMPTS)} | {side['warnings']} |")
    same = theirs["made"] == ours["made"] and theirs["tokens"] == ours["tokens"]
    return int(not (same and difference < LIMIT < shown and theirs["warnings"] == 0))


def held_out_texts(run: Path) -> list[str]:
    """Texts of the validation split of a run, each short enough for one row."""
    from etils import epath

    from pretrain_jax.composition.feed import Feed
    from pretrain_jax.inference.restore import load_design

    feed = Feed.open(load_design(run), epath.Path(run))
    texts: list[str] = []
    with contextlib.closing(feed.eval_batches()) as batches:
        for batch in batches:
            for tokens, segments in zip(batch["tokens"], batch["segments"], strict=True):
                ids = tokens[segments == 1]
                texts.append(feed.tokenizer.decode(ids[: len(ids) // 2]))
                if len(texts) == TEXTS:
                    return texts
    return texts


def score(run: Path, texts: list[str]) -> dict[str, Any]:
    """Our perplexity of the texts after the token that begins documents, and our greedy texts."""
    import math

    import pretrain_jax

    model = pretrain_jax.load(run)
    scores = model.score(texts)
    tokens = sum(score.tokens for score in scores)
    made = model.generate(PROMPTS, NEW_TOKENS, temperature=0.0)
    return {
        "tokens": tokens,
        "perplexity": math.exp(sum(score.nats for score in scores) / tokens),
        "made": [continuation.text for continuation in made],
        "warnings": 0,
    }


def ask(folder: Path, texts: list[str]) -> dict[str, Any]:
    """What transformers computes for the folder."""
    question = {"folder": str(folder), "texts": texts, "prompts": PROMPTS, "tokens": NEW_TOKENS}
    return json.loads(jobs.run([sys.executable, str(CHILD)], json.dumps(question)))


def change_a_parameter(file: Path) -> None:
    """Adds 0.1 to one number of a safetensors file."""
    from safetensors.numpy import load_file, save_file

    arrays = load_file(file)
    changed = arrays["transformer.ln_f.weight"].copy()
    changed[0] += 0.1
    save_file({**arrays, "transformer.ln_f.weight": changed}, file, metadata={"format": "pt"})


if __name__ == "__main__":
    sys.exit(main())
