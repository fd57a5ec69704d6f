"""Training speed of a config on the devices of this machine, including the loader.

    python benchmarks/speed.py --config=configs/gpt2_small.py [--steps=50] [--profile=FOLDER]
                               [--config.train.batch_size=64 ...]

Runs training steps without evaluating or saving: rows are read, packed and copied to the devices,
and the metrics of the previous step are fetched while a step runs. Prints one JSON object; rates
are means over --steps steps after --warm, divided by the median of their seconds:

    tokens_per_second   real tokens, no padding
    slots_per_second    with padding
    rows_per_second     rows of a batch
    sequences_per_second   examples; a packed row has several
    step_seconds        the median
    mfu                 FLOPs as PaLM counts them, over the chip's dense peak; null on a CPU
    mfu_causal          mfu without the masked half of causal attention
    of_product          FLOPs as for mfu, over product_flops: the measured rate of a large product
    peak_bytes          peak memory of a device, as it reports; on a CPU as the compiler reports
    compile_seconds     including tracing, without a cache of programs
    loss                of the last step
"""

import argparse
import contextlib
import itertools
import json
import statistics
import sys
import tempfile
import time
from typing import Any

from pretrain_jax import command
from pretrain_jax.errors import UserError
from pretrain_jax.xla import flags, malloc

PRODUCT = {"cpu": 2048, "gpu": 8192, "tpu": 8192}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--config", required=True)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--warm", type=int, default=5)
    parser.add_argument("--profile", default="", help="a folder for a trace of three steps")
    options, words = parser.parse_known_args()
    malloc.keep_freed_memory()
    flags.reserve_gpu_memory()
    try:
        print(json.dumps(measure(options, words)), flush=True)
    except UserError as error:
        sys.exit(command.report_error(error))


def measure(options: argparse.Namespace, words: list[str]) -> dict[str, Any]:
    """The figures of one config with overrides "--config.KEY=VALUE"."""
    import jax
    from etils import epath

    from pretrain_jax.composition import config
    from pretrain_jax.composition.build import build_design, fix_schedule
    from pretrain_jax.composition.feed import Feed
    from pretrain_jax.estimates import flops
    from pretrain_jax.planning import aot

    line = command.parse([f"--config={options.config}", *words], {})
    changes = list(line.overrides)
    design = build_design(fix_schedule(config.read(options.config, changes)), tuple(jax.devices()))
    design.check()
    with tempfile.TemporaryDirectory() as folder:
        feed = Feed.open(design, epath.Path(folder))
    phase = design.task.largest_phase
    start = time.monotonic()
    step = design.update.step.trace(*design.update.abstract_arguments(phase)).lower().compile()
    compiling = time.monotonic() - start
    state = design.update.init_state()
    ends, tokens, step_flops, examples, pending = [], [], [], [], None
    with contextlib.closing(feed.batches(phase, phase.first)) as batches:
        # One more step starts the clock; the metrics of the last step are not read.
        for number in range(options.warm + options.steps + 2):
            if options.profile and number == options.warm:
                jax.profiler.start_trace(options.profile)
            rows = next(batches)
            examples.append(int(rows["segments"].max(1).sum()))
            state, metrics = step(state, design.placement.rows.to_global(rows, phase.batch_size))
            if pending is not None:
                numbers = {name: float(n) for name, n in jax.device_get(pending).items()}
                tokens.append(numbers["tokens"])
                step_flops.append(flops.per_step(design, phase.seq_len, numbers))
                ends.append(time.monotonic())
            if options.profile and number == options.warm + 2:
                jax.block_until_ready(metrics)
                jax.profiler.stop_trace()
            pending = metrics
    seconds = [after - before for before, after in itertools.pairwise(ends)]
    median = statistics.median(seconds[options.warm :])
    rate = statistics.mean(tokens[options.warm + 1 :]) / median
    flops_rate = statistics.mean(step_flops[options.warm + 1 :]) / median
    masked = rate * masked_flops_per_token(design, phase.seq_len)
    slots = phase.batch_size * design.task.tokens_per_row(phase.seq_len) / median
    product = product_rate(design)
    return {
        "config": options.config,
        "changes": dict(changes),
        "device": f"{len(design.target.devices)} x {design.target.kind}",
        "attention": design.model.module.build_context.attention_backend,
        "tokens_per_second": rate,
        "slots_per_second": slots,
        "rows_per_second": phase.batch_size / median,
        "sequences_per_second": statistics.mean(examples[options.warm + 1 : -1]) / median,
        "step_seconds": median,
        "mfu": peak_share(design, flops_rate),
        "mfu_causal": peak_share(design, flops_rate - masked),
        "of_product": flops_rate / (product * len(design.target.devices)),
        "product_flops": product,
        "peak_bytes": peak_bytes(design, step, aot),
        "compile_seconds": compiling,
        "loss": float(jax.device_get(pending)["loss"]),
        "jax": jax.__version__,
    }


def masked_flops_per_token(design: Any, seq_len: int) -> float:
    """Training FLOPs per token for the half of the scores that causal attention masks, which
    `flops.per_token` counts; 0 where attention is not causal in one stack.

    GPT-2 124M at length 1,024: half of 12 x 12 x 768 x 1024 = 57 M.
    """
    from pretrain_jax.estimates import flops

    causal = design.task.objective.attention == "causal" and "M" not in design.task.budgets(seq_len)
    if not causal or seq_len == 1:
        return 0.0
    # Attention alone grows with the length of a row.
    return flops.per_token(design, seq_len) - flops.per_token(design, seq_len // 2)


def peak_share(design: Any, flops_per_second: float) -> float | None:
    """Share of the peak FLOPs of all devices; None if the peak is unknown."""
    from pretrain_jax.devices import chips

    peak = chips.peak_flops(design.target.kind, design.model.dtype)
    return None if peak is None else flops_per_second / (peak * len(design.target.devices))


def peak_bytes(design: Any, step: Any, aot: Any) -> int:
    """Peak bytes that the device reports, else those that the compiler reports."""
    counted = (design.target.devices[0].memory_stats() or {}).get("peak_bytes_in_use")
    return counted or aot.peak_bytes(step)


def product_rate(design: Any) -> float:
    """FLOPs per second of one large matrix product in the model's dtype, the best of ten."""
    import jax
    import jax.numpy as jnp

    size = PRODUCT.get(design.target.platform, 2048)
    x = jnp.ones((size, size), design.model.dtype)
    multiply = jax.jit(jnp.matmul)
    jax.block_until_ready(multiply(x, x))
    seconds = []
    for _ in range(10):
        start = time.monotonic()
        jax.block_until_ready(multiply(x, x))
        seconds.append(time.monotonic() - start)
    return 2 * size**3 / min(seconds)


if __name__ == "__main__":
    main()
