"""How full the planned rows of each objective are, on your own documents.

    python benchmarks/packing.py --text='wiki/*.jsonl' --tokenizer=wordpiece --path=FOLDER

--tokenizer and --path: tokenizer.name and tokenizer.path of a vocabulary. For each axis of a row (M
the memory, L the stream that predicts, P predictions): the share of slots that the plan fills, and
in parentheses the share after noise, over the first rows of an epoch. --window: the packer's.
"""

import argparse
import tempfile

import numpy as np

from pretrain_jax import registry
from pretrain_jax.data import pipeline, row_plan
from pretrain_jax.data.cache import TokenCache, open_token_cache
from pretrain_jax.data.corpus import open_corpus
from pretrain_jax.data.examples import DocumentChunks
from pretrain_jax.data.sentence_pairs import SentencePairs
from pretrain_jax.objectives import Objective
from pretrain_jax.tokenizers import SPECIAL_NAMES, Tokenizer

OBJECTIVES = {
    "causal_lm": {},
    "masked_lm": {},
    "masked_lm, 30 %": {"rate": 0.3},
    "span_boundary": {},
    "replaced_token": {},
    "next_sentence": {},
    "span_corruption": {},
    "span_corruption, prefix": {"inputs": "prefix"},
    "iid_denoising": {},
    "salient_spans": {},
    "prefix_lm": {},
    "prefix_lm, fixed": {"split": "fixed"},
    "prefix_lm, stream": {"inputs": "stream"},
}

SENTINELS = 600  # more than any objective needs for one text
ROWS = 512  # packed, for the shares in parentheses
REAL = {"M": "memory_segments", "L": "segments", "P": "weights"}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--text", required=True)
    parser.add_argument("--tokenizer", required=True)
    parser.add_argument("--path", required=True)
    parser.add_argument("--seq_len", type=int, default=512)
    parser.add_argument("--window", type=int, default=row_plan.WINDOW)
    options = parser.parse_args()
    tokenizer = registry.load("tokenizers", options.tokenizer, "--tokenizer").load(
        options.path, sentinels=SENTINELS
    )
    for missing in {*SPECIAL_NAMES} - {*tokenizer.special_ids}:
        setattr(tokenizer, missing, 0)  # any id: only lengths matter here
    with tempfile.TemporaryDirectory() as folder:
        cache = open_token_cache(open_corpus(f"text:{options.text}"), "train", tokenizer, folder)
        sizes = np.diff(cache.offsets)
        print(
            f"{len(cache)} documents of {np.median(sizes):.0f} tokens (median), "
            f"{len(cache.tokens) / 1e6:.1f} M in all; rows of {options.seq_len}, "
            f"windows of {options.window} examples\n\n"
            "| objective | examples | examples per row | filled |\n|---|---|---|---|"
        )
        for name, chosen in OBJECTIVES.items():
            module = registry.load("objectives", name.partition(",")[0], "objective")
            report(name, module.build(**chosen), cache, tokenizer, options)


def report(
    name: str,
    objective: Objective,
    cache: TokenCache,
    tokenizer: Tokenizer,
    options: argparse.Namespace,
) -> None:
    arrange = objective.arrange(options.seq_len)
    if objective.arrangement == "pairs":
        examples = SentencePairs(cache, **arrange, sentence_ends=tokenizer.sentence_ends)
    else:
        for end in ("begin", "end"):
            arrange[end] = arrange[end] and getattr(tokenizer, arrange[end])
        examples = DocumentChunks(cache, **arrange)
    bounds, budgets = objective.lengths(examples.length), objective.budgets(options.seq_len)
    lengths = np.stack([np.broadcast_to(bounds[axis], len(examples)) for axis in sorted(bounds)], 1)
    limits = np.array([budgets[axis] for axis in sorted(bounds)])
    rows = row_plan.plan_rows(lengths, limits, options.window)
    member = pipeline.MemberRows(examples, rows, objective.corrupt, tokenizer)
    stream = pipeline.Stream([member], objective.fields, budgets)
    batch = stream.batch(range(min(ROWS, len(rows))), seed=0)
    planned = dict(zip(sorted(bounds), lengths.sum(0) / (len(rows) * limits), strict=True))
    shares = {axis: (batch[field] > 0).mean() for axis, field in REAL.items() if axis in bounds}
    filled = ", ".join(
        f"{axis} {100 * planned[axis]:.1f} ({100 * real:.1f}) % of {budgets[axis]}"
        for axis, real in shares.items()
    )
    count = len(examples)
    print(f"| {name} | {count} | {count / len(rows):.2f} | {filled} |", flush=True)


if __name__ == "__main__":
    main()
