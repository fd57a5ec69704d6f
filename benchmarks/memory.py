"""Memory of a training step with logits computed in chunks, and all at once.

    python benchmarks/memory.py [--topology=v5p:2x2x1] [--batch=64] [--seq_len=1024]

GPT-2 124M, T5-1.1-large, T5-large and BERT-large: one update with --batch rows on each of four
chips, from the compiler's analysis of the step (needs the extra `tpu`). "At once" stores the logits
of all positions. Bytes are those of arguments, results and temporaries.
"""

import argparse
import os
from typing import Any

import jobs

from pretrain_jax.devices import topology

CONFIGS = {
    "gpt2_small": {},
    "t5_1_1_large": {},
    "t5_large": {"model.dropout": 0.0},
    "bert_large": {"model.dropout": 0.0},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--topology", default="v5p:2x2x1")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--seq_len", type=int, default=1024)
    options = parser.parse_args()
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    topology.configure_environment(options.topology)
    from pretrain_jax import losses

    rows = []
    for name, changes in CONFIGS.items():
        row = [name]
        for limit in (losses.MAX_LOGITS, 1 << 62):
            losses.MAX_LOGITS, default = limit, losses.MAX_LOGITS
            costs = report(name, changes, options)
            losses.MAX_LOGITS = default
            temporary = costs.get("temporary_bytes_per_device")
            peak = f"{costs['peak_bytes_per_device'] / 2**30:.2f}"
            row += [peak, "-" if temporary is None else f"{temporary / 2**30:.2f}"]
        rows.append(row)
        print("|", " | ".join(row), "|", flush=True)
    head = ["GiB of one chip", "chunks: peak", "temporaries", "at once: peak", "temporaries"]
    print(jobs.table(head, rows))


def report(name: str, changes: dict, options: argparse.Namespace) -> dict[str, Any]:
    """The compiler's report of one update."""
    from pretrain_jax.composition import config
    from pretrain_jax.composition.build import fix_schedule
    from pretrain_jax.planning import aot

    chips, _ = aot.find_devices(options.topology, 1)
    settings = {
        **changes,
        "train.batch_size": options.batch * len(chips),
        "train.accumulate": 1,
        "train.phases": "()",
        "mesh.data": -1,
        "mesh.fsdp": 1,
        "mesh.tensor": 1,
    }
    if name == "gpt2_small":
        settings["data.seq_len"] = options.seq_len
    words = [(key, str(value)) for key, value in settings.items()]
    return aot.report_config(fix_schedule(config.read(f"configs/{name}.py", words)), chips)


if __name__ == "__main__":
    main()
