"""The data path: tokenizing on one core, 100 MB in bounded memory, loading packed rows.

    python benchmarks/data.py --text='books/*.txt' --vocabulary=FOLDER_WITH_GPT2_FILES

--vocabulary: a folder with GPT-2's encoder.json and vocab.bpe. --text: a glob of a few MB
of plain text or more (repeated up to 100 MB for the second row of the table). Medians of --runs.
"""

import argparse
import glob
import os
import resource
import statistics
import tempfile
import time
from pathlib import Path

from pretrain_jax.data import pipeline
from pretrain_jax.data.cache import open_token_cache
from pretrain_jax.data.corpus import open_corpus
from pretrain_jax.data.examples import DocumentChunks
from pretrain_jax.objectives import causal_lm
from pretrain_jax.tokenizers import byte_bpe

SEQ_LEN = 1024
BATCH = 8
STEPS = 400


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--text", required=True)
    parser.add_argument("--vocabulary", required=True)
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    tokenizer = byte_bpe.load(options.vocabulary)
    files = [Path(name).read_text() for name in sorted(glob.glob(options.text))]
    print("| what | figure |\n|---|---|")
    rates, thread_rates = [], []
    for _ in range(options.runs):
        wall, cpu = time.perf_counter(), time.thread_time()
        for text in files:
            tokenizer.encode(text)
        size = sum(len(text.encode()) for text in files) / 1e6
        rates.append(size / (time.perf_counter() - wall))
        thread_rates.append(size / (time.thread_time() - cpu))
    print(
        f"| GPT-2 tokenizing, one thread, {size:.1f} MB | {statistics.median(rates):.1f} MB/s of "
        f"wall time, {statistics.median(thread_rates):.1f} of processor time |"
    )
    with tempfile.TemporaryDirectory() as folder:
        large = Path(folder) / "large.txt"
        text = "\n".join(files)
        large.write_text(text * (1 + int(1e8 / len(text.encode()))))
        megabytes = large.stat().st_size / 1e6
        del files, text
        before = peak_memory()
        start = time.perf_counter()
        corpus = open_corpus(f"text:{large}")
        cache = open_token_cache(corpus, "train", tokenizer, folder)
        seconds = time.perf_counter() - start
        print(
            f"| one file of {megabytes:.0f} MB into the cache, {os.cpu_count()} cores | "
            f"{megabytes * 0.9 / seconds:.1f} MB/s, memory {before:.0f} MB before, "
            f"{peak_memory():.0f} MB at its peak |"
        )
        objective = causal_lm.build()
        budgets = objective.budgets(SEQ_LEN)
        arrange = objective.arrange(SEQ_LEN)
        arrange |= {"begin": tokenizer.bos, "end": tokenizer.eos}
        examples = DocumentChunks(cache, **arrange)
        member = pipeline.MemberRows.plan(
            examples,
            lengths=objective.lengths,
            budgets=budgets,
            corrupt=objective.corrupt,
            vocab=tokenizer,
        )
        stream = pipeline.Stream([member], objective.fields, budgets)
        rates = [loader_rate(stream, seed) for seed in range(options.runs)]
        print(f"| loading rows of {SEQ_LEN} | {statistics.median(rates) / 1e6:.1f} M tokens/s |")


def loader_rate(stream: pipeline.Stream, seed: int) -> float:
    """Tokens per second of STEPS batches."""
    batches = pipeline.train_batches(stream, seed=seed, batch_size=BATCH)
    next(batches)
    start = time.perf_counter()
    for _ in range(STEPS):
        next(batches)
    return STEPS * BATCH * SEQ_LEN / (time.perf_counter() - start)


def peak_memory() -> float:
    """Peak resident memory of this process, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


if __name__ == "__main__":
    main()
