"""Tokens per second of `corrupt` on one core: drawing noise and rendering included.

    python benchmarks/corruption.py [--seq_len=512] [--bursts=25]

Texts are random pieces of a WordPiece vocabulary of BERT's size; three in four start a word. Their
length is that of the objective's arrangement (568 tokens for T5's 512). Bursts of the objectives
alternate, so that a slow phase of the machine affects all of them. The table has medians of wall
time and of the thread's processor time, and the rate of the fastest burst.
"""

import argparse
import itertools
import statistics
import string
import time
from collections.abc import Callable

import numpy as np

from pretrain_jax import registry
from pretrain_jax.corruption.uniform import from_generator
from pretrain_jax.ragged import Fields, Ragged
from pretrain_jax.tokenizers.wordpiece import SPECIALS, WordPiece

CASES = {
    "masked_lm, tokens": ("masked_lm", {}),
    "masked_lm, whole words": ("masked_lm", {"noise": "words"}),
    "masked_lm, spans": ("masked_lm", {"noise": "spans"}),
    "span_boundary": ("span_boundary", {}),
    "span_corruption": ("span_corruption", {}),
    "iid_denoising": ("iid_denoising", {}),
}
PIECES = 30_000
SENTINELS = 500  # more than any objective needs for one text
TEXTS = 16  # per batch, as in a loader
BATCHES = 16  # per burst


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seq_len", type=int, default=512)
    parser.add_argument("--bursts", type=int, default=25)
    options = parser.parse_args()
    tokenizer, rng = vocabulary(), np.random.default_rng(0)
    runs, seconds = {}, {}
    for case, (name, keywords) in CASES.items():
        objective = registry.load("objectives", name, "objective.name").build(**keywords)
        length = objective.arrange(options.seq_len)["raw_length"]
        runs[case] = objective.corrupt, texts(length, tokenizer, rng)
        seconds[case] = []
    for timed in [False] + [True] * options.bursts:  # the first fills caches
        for case, (corrupt, examples) in runs.items():
            taken = burst(corrupt, examples, rng, tokenizer)
            seconds[case] += [taken] * timed
    print(
        "| objective | tokens of text | µs per example | M tokens/s | by processor time | fastest |"
    )
    print("|---|---|---|---|---|---|")
    for case, (_, examples) in runs.items():
        length = int(examples[0]["tokens"].splits.sizes[0])
        walls, cpus = (
            np.multiply(1e6 / (TEXTS * BATCHES), s) for s in zip(*seconds[case], strict=True)
        )
        wall = statistics.median(walls)
        rates = wall, statistics.median(cpus), min(walls)
        print(f"| {case} | {length} | {wall:.0f} |", *(f"{length / us:.1f} |" for us in rates))


def vocabulary() -> WordPiece:
    """Pieces of four letters; every fourth continues a word."""
    letters = itertools.islice(itertools.product(string.ascii_lowercase, repeat=4), PIECES)
    pieces = ("##" * (i % 4 == 0) + "".join(piece) for i, piece in enumerate(letters))
    return WordPiece([*SPECIALS, *pieces], lower_case=True, sentinels=SENTINELS)


def texts(length: int, tokenizer: WordPiece, rng: np.random.Generator) -> list[Fields]:
    """Raw examples of `length` tokens each, the batches of one burst."""
    ids = np.flatnonzero(~tokenizer.special).astype(np.int32)
    drawn = rng.choice(ids, (BATCHES, TEXTS, length))
    return [{"tokens": Ragged.concatenate(batch)} for batch in drawn]


def burst(
    corrupt: Callable[..., dict],
    batches: list[Fields],
    rng: np.random.Generator,
    tokenizer: WordPiece,
) -> tuple[float, float]:
    """Seconds for the texts: (wall time, processor time)."""
    wall, cpu = time.perf_counter(), time.thread_time()
    for examples in batches:
        corrupt(examples, from_generator(rng), tokenizer)
    return time.perf_counter() - wall, time.thread_time() - cpu


if __name__ == "__main__":
    main()
