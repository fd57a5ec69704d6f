"""The part `speed` of generation.py: our generation beside that of transformers, in bursts.

    python benchmarks/generation_speed.py --serve=ours:gpt:1

is one side. For each line of input it runs a burst of 128 tokens after an untimed one of two, and
reads an array of 512 MiB; it prints the seconds of both. A prompt has 32 tokens, or 64 for T5's
encoder; the time includes reading it. Neither side ends a text early. PyTorch uses one thread or
two, whichever is faster at the start: on cores that other programs use too, two take several times
as long as one.
"""

# pyright: reportMissingImports=false

import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from cpu_step import Side

PROMPT, MEMORY, BURST = 32, 64, 128
FLOATS = 1 << 27
"""Of the array that measures the memory's bandwidth: 512 MiB, more than any cache."""
SHAPE = {"layers": 12, "width": 768, "heads": 12, "feed_forward": 3072}
MODELS = {
    "gpt": {"name": "gpt", "vocab_size": 50257, "max_length": 1024, **SHAPE},
    "t5": {"name": "t5", "vocab_size": 32128, "head_width": 64, **SHAPE},
}
TITLES = {"gpt": "GPT-2 124M", "t5": "T5-base"}
SIDES = ("ours", "transformers")


def compare(name: str, rows: int, bursts: int) -> list[str]:
    """A line of the table."""
    script = str(Path(__file__).resolve())
    sides = {
        side: Side([sys.executable, script, f"--serve={side}:{name}:{rows}"]) for side in SIDES
    }
    rates: dict[str, list[float]] = {side: [] for side in SIDES}
    bandwidths = []
    for _ in range(bursts):
        read = []
        for side, process in sides.items():
            seconds, reading = process.ask()
            rates[side].append(rows * BURST / seconds)
            read.append(4 * FLOATS / reading)
        bandwidths.append(max(read))
    for process in sides.values():
        process.close()
    ratios = [a / b for a, b in zip(*rates.values(), strict=True)]
    shares = [
        rate / rows * read_bytes(name) / bandwidth
        for rate, bandwidth in zip(rates["ours"], bandwidths, strict=True)
    ]
    return [
        TITLES[name],
        str(rows),
        *(f"{statistics.median(rates[side]):.1f}" for side in SIDES),
        f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})",
        f"{statistics.median(bandwidths) / 1e9:.1f}",
        f"{statistics.median(shares):.0%} ({min(shares):.0%} to {max(shares):.0%})",
    ]


def read_bytes(name: str) -> int:
    """Bytes of the parameters that a step reads: matrices of the decoder and the vocabulary."""
    model = MODELS[name]
    attentions = 4 if name == "gpt" else 4 + 2  # of the memory: queries and outputs alone
    layer = attentions * model["width"] ** 2 + 2 * model["width"] * model["feed_forward"]
    return 4 * (model["layers"] * layer + model["vocab_size"] * model["width"])


def ours(name: str, rows: int) -> tuple[Callable[[int], Any], Callable[[], Any]]:
    """Functions that generate n tokens, and that read the large array."""
    import jax
    import jax.numpy as jnp
    from generation_cached import build_design

    from pretrain_jax.inference.decoding import Decoder, bucket, to_rows
    from pretrain_jax.inference.sampling import Sampling
    from pretrain_jax.inference.sampling_loop import advance, begin

    objective = "causal_lm" if name == "gpt" else "span_corruption"
    design = replace(build_design(MODELS[name], {"name": objective}), separate_layers=True)
    draw = np.random.default_rng(0)
    params = jax.tree.map(
        lambda s: jnp.asarray(draw.standard_normal(s.shape, np.float32) * 0.02),
        design.model.param_shapes,
    )
    ids = draw.integers(0, 30000, (rows, MEMORY), dtype=np.int32)
    if name == "gpt":
        prompts = [{"tokens": row[:PROMPT]} for row in ids]
    else:
        prompts = [{"tokens": np.zeros(1, np.int32), "memory_tokens": row} for row in ids]
    batch = to_rows(prompts, rows)
    last = (batch["segments"].sum(axis=1) + BURST - 1).astype(np.int32)
    greedy, slots = Sampling(temperature=0.0), bucket(int(last.max()) + 1)
    decoder = Decoder(design.placement.apply_cached, MODELS[name]["vocab_size"])
    static = {"decoder": decoder, "filters": greedy.filters, "end": None}
    drawn = jax.random.key(0), np.arange(rows), greedy.strengths

    def generate(count: int) -> Any:
        state = begin(params, batch, last, *drawn, slots=slots, **static)
        state = advance(params, state, count, greedy.strengths, **static)
        return jax.device_get(state.cache.tokens)

    large, total = jnp.ones(FLOATS), jax.jit(jnp.sum)
    return generate, lambda: total(large).item()


def transformers(name: str, rows: int) -> tuple[Callable[[int], Any], Callable[[], Any]]:
    """`ours` with transformers."""
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel, T5Config, T5ForConditionalGeneration

    torch.manual_seed(0)
    if name == "gpt":
        model = GPT2LMHeadModel(GPT2Config())
    else:
        t5 = {"d_model": 768, "d_kv": 64, "d_ff": 3072, "num_layers": 12, "num_heads": 12}
        model = T5ForConditionalGeneration(T5Config(**t5, decoder_start_token_id=0))
    model.eval()
    ids = torch.randint(0, 30000, (rows, PROMPT if name == "gpt" else MEMORY))
    fixed = {"do_sample": False, "use_cache": True, "pad_token_id": 0}

    def generate(count: int) -> Any:
        mask = torch.ones_like(ids)
        many = {"max_new_tokens": count, "min_new_tokens": count}
        return model.generate(ids, attention_mask=mask, **many, **fixed)

    def try_threads(count: int) -> float:
        torch.set_num_threads(count)
        generate(2)
        return measure(lambda: generate(8))

    torch.set_num_threads(min((1, 2), key=try_threads))
    large = torch.ones(FLOATS)
    return generate, lambda: large.sum().item()


def serve(side: str, name: str, rows: int) -> None:
    """Runs a burst for each line of input; prints its seconds, and those of reading the array."""
    generate, read = (ours if side == "ours" else transformers)(name, rows)
    generate(2)
    read()
    print("ready", flush=True)
    for _ in sys.stdin:
        generate(2)  # untimed: caches may be cold after the other side ran
        print(measure(lambda: generate(BURST)), measure(read), flush=True)


def measure(function: Callable[[], Any]) -> float:
    """The seconds of a call."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


if __name__ == "__main__":
    side, name, rows = sys.argv[1].removeprefix("--serve=").split(":")
    serve(side, name, int(rows))
