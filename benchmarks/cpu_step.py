"""Tokens per second of a training step on CPU, side by side with nanoGPT in PyTorch.

    python benchmarks/cpu_step.py --nanogpt=PATH/TO/nanoGPT --torch_python=PYTHON_WITH_TORCH

Both sides train the same shapes in fp32 on random tokens: forward, backward, clipping at 1.0,
AdamW. S is nanoGPT's CPU recipe (4 layers, width 128, 4 heads, length 64, batch 12), M its GPU
recipe for Shakespeare at batch 16 (6 layers, width 384, 6 heads, length 256). Each side runs in a
separate process that keeps its model warm and runs bursts on request, each after one untimed step.
Bursts alternate, so that a slow phase of the machine affects both sides. The output has the median
tokens per second of the bursts and the median ratio of neighboring bursts.
"""

# pyright: reportMissingImports=false

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

SHAPES = {
    "S": {"layers": 4, "width": 128, "heads": 4, "length": 64, "batch": 12},
    "M": {"layers": 6, "width": 384, "heads": 6, "length": 256, "batch": 16},
}
VOCABULARY = 65


def ours(shape: dict):
    """A function that runs n steps of this trainer."""
    from pretrain_jax.xla import malloc

    malloc.keep_freed_memory()
    import jax
    import numpy as np

    from pretrain_jax.composition import config
    from pretrain_jax.composition.build import build_design, fix_schedule
    from pretrain_jax.step import train_step

    file = Path(__file__).parents[1] / "configs" / "shakespeare_char.py"
    changes = {
        "model.layers": shape["layers"],
        "model.width": shape["width"],
        "model.heads": shape["heads"],
        "model.feed_forward": 4 * shape["width"],
        "model.max_length": shape["length"],
        "model.vocab_size": VOCABULARY,
        "model.unroll": shape["layers"],
        "data.seq_len": shape["length"],
        "train.batch_size": shape["batch"],
    }
    settings = config.read(str(file), [(key, str(value)) for key, value in changes.items()])
    design = build_design(fix_schedule(settings), tuple(jax.devices()))
    draw = np.random.default_rng(0)
    size = (shape["batch"], shape["length"])
    batch = {
        "tokens": draw.integers(VOCABULARY, size=size, dtype=np.int32),
        "targets": draw.integers(VOCABULARY, size=size, dtype=np.int32),
        "weights": np.ones(size, np.float32),
        "segments": np.ones(size, np.int32),
        "positions": np.tile(np.arange(size[1], dtype=np.int32), (size[0], 1)),
    }
    state = design.update.init_state()
    step = jax.jit(train_step, static_argnums=2, donate_argnums=0)

    def run(count: int) -> None:
        nonlocal state
        for _ in range(count):
            state, metrics = step(state, batch, design.update.program)
        jax.block_until_ready((state, metrics))

    return run


def nanogpt(shape: dict, folder: str, compiled: bool):
    """A function that runs n steps with nanoGPT's model and optimizer."""
    sys.path.insert(0, folder)
    import torch
    from model import GPT, GPTConfig  # nanoGPT's model.py

    torch.set_num_threads(2)
    torch.manual_seed(0)
    model = GPT(
        GPTConfig(
            block_size=shape["length"],
            vocab_size=VOCABULARY,
            n_layer=shape["layers"],
            n_head=shape["heads"],
            n_embd=shape["width"],
            dropout=0.0,
            bias=False,
        )
    )
    optimizer = model.configure_optimizers(0.1, 1e-3, (0.9, 0.99), "cpu")
    if compiled:
        model = torch.compile(model)
    tokens = torch.randint(VOCABULARY, (shape["batch"], shape["length"]))
    targets = torch.randint(VOCABULARY, (shape["batch"], shape["length"]))

    def run(count: int) -> None:
        for _ in range(count):
            _, loss = model(tokens, targets)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            loss.item()

    return run


def serve(side: str, shape: str, folder: str) -> None:
    """Runs a burst of steps for each line of input; prints its seconds."""
    sizes = SHAPES[shape]
    run = ours(sizes) if side == "ours" else nanogpt(sizes, folder, side == "compiled")
    run(3)
    print("ready", flush=True)
    for line in sys.stdin:
        run(1)  # untimed: caches may be cold after the other side ran
        start = time.perf_counter()
        run(int(line))
        print(time.perf_counter() - start, flush=True)


class Side:
    """A process that runs bursts."""

    def __init__(self, command: list[str]):
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True)
        assert self.process.stdin and self.process.stdout
        self.requests, self.replies = self.process.stdin, self.process.stdout
        while self.replies.readline().strip() != "ready":
            if self.process.poll() is not None:
                raise SystemExit(f"{command} ended with {self.process.returncode}")

    def ask(self, request: int = 0) -> list[float]:
        """The numbers that it answers to a request."""
        self.requests.write(f"{request}\n")
        self.requests.flush()
        return [float(number) for number in self.replies.readline().split()]

    def close(self) -> None:
        self.requests.close()
        self.process.wait()


def compare(shape: str, options: argparse.Namespace) -> dict:
    """Alternating bursts of both sides on one shape."""
    sizes = SHAPES[shape]
    theirs = "compiled" if options.compiled else "eager"
    serving = ["--shape", shape, "--nanogpt", options.nanogpt, "--serve"]
    sides = {
        "ours": Side([sys.executable, __file__, *serving, "ours"]),
        theirs: Side([options.torch_python, __file__, *serving, theirs]),
    }
    steps = options.steps if shape == "S" else max(1, options.steps // 8)
    tokens = sizes["batch"] * sizes["length"] * steps
    rates = {name: [] for name in sides}
    for _ in range(options.bursts):
        for name, side in sides.items():
            rates[name].append(tokens / side.ask(steps)[0])
    for side in sides.values():
        side.close()
    ratios = [a / b for a, b in zip(rates["ours"], rates[theirs], strict=True)]
    return {
        "shape": shape,
        **{f"{name} tokens/s": round(statistics.median(values)) for name, values in rates.items()},
        "ratio": round(statistics.median(ratios), 2),
        "ratios": [round(min(ratios), 2), round(max(ratios), 2)],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--nanogpt", required=True, help="folder with nanoGPT's model.py")
    parser.add_argument("--torch_python", default=sys.executable, help="a Python with torch")
    parser.add_argument("--compiled", action="store_true", help="torch.compile on their side")
    parser.add_argument("--bursts", type=int, default=9)
    parser.add_argument("--steps", type=int, default=40, help="steps in a burst of S; M has 1/8")
    parser.add_argument("--shape", choices=SHAPES, help="one shape instead of both")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.serve, options.shape, options.nanogpt)
        return
    for shape in [options.shape] if options.shape else SHAPES:
        print(json.dumps(compare(shape, options)), flush=True)


if __name__ == "__main__":
    main()
