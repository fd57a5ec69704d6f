"""The same run on 1 device and on 8 simulated ones: losses, and the order of the tokens.

    python benchmarks/meshes.py [--config=configs/gpt2_nano.py] [--steps=20]

Each mesh is a process of its own. Prints the largest relative difference of a loss from the run on
one device, and the first step at which it is over 1e-5 (ELECTRA's, where a sampled token flips). A
mesh over which the model does not divide is refused, in the program's words. The order of the
tokens does not know of devices: the SHA-256 of the batches is printed for each mesh.
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

MESHES = {
    "1": (1, {}),
    "8 data": (8, {"data": 8}),
    "8 fsdp": (8, {"data": 1, "fsdp": 8}),
    "4 data x 2 fsdp": (8, {"data": 4, "fsdp": 2}),
    "2 x 2 x 2": (8, {"data": 2, "fsdp": 2, "tensor": 2}),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--config", default="configs/gpt2_nano.py")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--mesh", choices=MESHES, help=argparse.SUPPRESS)
    parser.add_argument("--workdir", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.mesh:
        train(options)
        return
    print("| mesh | largest relative difference of a loss | first over 1e-5 | SHA-256 of batches |")
    print("|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        expected: list[float] = []
        for mesh, (devices, _) in MESHES.items():
            run = Path(folder) / mesh.replace(" ", "_")
            flag = f"--xla_force_host_platform_device_count={devices}"
            command = [sys.executable, __file__, "--mesh", mesh, "--workdir", str(run)]
            command += ["--config", options.config, "--steps", str(options.steps)]
            done = subprocess.run(
                command, env={**os.environ, "XLA_FLAGS": flag}, capture_output=True, text=True
            )
            if done.returncode:
                print(f"| {mesh} | {done.stderr.strip().splitlines()[-1]} | | |", flush=True)
                continue
            found = losses(run)
            expected = expected or found
            off = [abs(a - b) / b for a, b in zip(found, expected, strict=True)]
            first = next((str(n) for n, value in enumerate(off, 1) if value > 1e-5), "none")
            row = [mesh, f"{max(off):.1e}", first, done.stdout.split()[-1][:16]]
            print(f"| {' | '.join(row)} |", flush=True)


def train(options: argparse.Namespace) -> None:
    """One run; the digest of its batches goes to standard output."""
    from pretrain_jax import config
    from pretrain_jax.train import loop

    whole = hashlib.sha256()
    on_devices = loop.Loop.on_devices

    def noted(self, batch):
        whole.update(b"".join(batch[name].tobytes() for name in sorted(batch)))
        return on_devices(self, batch)

    loop.Loop.on_devices = noted
    axes = MESHES[options.mesh][1]
    changes = {f"mesh.{axis}": str(size) for axis, size in axes.items()}
    changes |= {"train.steps": str(options.steps), "train.log_every": "1", "eval.every": "0"}
    changes |= {"eval.tokens": "1000", "eval.sample_tokens": "0", "train.dtype": "float32"}
    loop.train(config.read(options.config, list(changes.items())), options.workdir)
    print(whole.hexdigest())


def losses(run: Path) -> list[float]:
    """train/loss of every step."""
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [row["train/loss"] for row in rows if "train/loss" in row]


if __name__ == "__main__":
    main()
