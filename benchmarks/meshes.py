"""The same run on 1 device and on 8 simulated ones, in 1, 2 and 4 processes: losses and rows.

    python benchmarks/meshes.py [--config=configs/gpt2_nano.py] [--steps=20] [--only=sequence]

The processes of a layout are connected by jax.distributed over loopback (gloo). Prints the largest
relative difference of a loss from the run on one device, and the first step at which it exceeds
1e-5 (for ELECTRA, where a sampled token flips). For a mesh that does not divide the model, prints
the error. The order of the tokens does not depend on devices or processes, so the SHA-256 of all
rows must be the same for all layouts. --only: layouts with this text in their name, and "1".
"""

import argparse
import hashlib
import json
import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import resume

LAYOUTS = {  # name: devices, processes, mesh
    "1": (1, 1, {}),
    "8 data": (8, 1, {"data": 8}),
    "8 fsdp": (8, 1, {"data": 1, "fsdp": 8}),
    "4 data x 2 fsdp": (8, 1, {"data": 4, "fsdp": 2}),
    "2 x 2 x 2 tensor": (8, 1, {"data": 2, "fsdp": 2, "tensor": 2}),
    "8 sequence": (8, 1, {"data": 1, "sequence": 8}),
    "2 fsdp x 2 sequence x 2 tensor": (8, 1, {"data": 1, "fsdp": 2, "sequence": 2, "tensor": 2}),
    "8 data, 2 processes": (8, 2, {"data": 8}),
    "8 data, 4 processes": (8, 4, {"data": 8}),
    "8 fsdp, 2 processes": (8, 2, {"data": 1, "fsdp": 8}),
    "2 data x 4 sequence, 4 processes": (8, 4, {"data": 2, "sequence": 4}),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--config", default="configs/gpt2_nano.py")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--only", default="")
    parser.add_argument("--layout", choices=LAYOUTS, help=argparse.SUPPRESS)
    parser.add_argument("--workdir", help=argparse.SUPPRESS)
    parser.add_argument("--coordinator", default="", help=argparse.SUPPRESS)
    parser.add_argument("--process", type=int, default=0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.layout:
        train(options)
        return
    print("| layout | largest relative difference of a loss | first over 1e-5 | SHA-256 of rows |")
    print("|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        expected: list[float] = []
        for layout in (name for name in LAYOUTS if name == "1" or options.only in name):
            run = Path(folder) / layout.replace(" ", "_").replace(",", "")
            error = run_layout(layout, run, options)
            if error:
                print(f"| {layout} | {error} | | |", flush=True)
                continue
            values = list(resume.losses(run).values())
            expected = expected or values
            differences = [abs(a - b) / b for a, b in zip(values, expected, strict=True)]
            first = next((str(n) for n, value in enumerate(differences, 1) if value > 1e-5), "none")
            row = [layout, f"{max(differences):.1e}", first, digest(run)]
            print(f"| {' | '.join(row)} |", flush=True)


def run_layout(layout: str, run: Path, options: argparse.Namespace) -> str:
    """Runs the processes of a layout; returns the last line of the first that fails, else ""."""
    devices, processes, _ = LAYOUTS[layout]
    flag = f"--xla_force_host_platform_device_count={devices // processes}"
    with socket.create_server(("127.0.0.1", 0)) as free:
        coordinator = f"127.0.0.1:{free.getsockname()[1]}"
    command = [sys.executable, __file__, "--layout", layout, "--workdir", str(run)]
    command += ["--config", options.config, "--steps", str(options.steps)]
    if processes > 1:
        command += ["--coordinator", coordinator]
    started = [
        subprocess.Popen(
            [*command, "--process", str(number)],
            env={**os.environ, "XLA_FLAGS": flag},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(processes)
    ]
    outputs = [process.communicate()[1] for process in started]
    failed = [s for s, p in zip(outputs, started, strict=True) if p.returncode]
    return failed[0].strip().splitlines()[-1] if failed else ""


def train(options: argparse.Namespace) -> None:
    """One process of a run; writes the digests of its rows into a file next to the workdir."""
    from pretrain_jax.cluster import hosts
    from pretrain_jax.composition import config
    from pretrain_jax.sharding.batches import BatchSharding
    from pretrain_jax.training import loop

    noted: list[dict[int, str]] = []
    place = BatchSharding.to_global

    def note_and_place(self, local, batch_size):
        names = sorted(local)
        noted.append(
            {
                int(row): hashlib.sha256(b"".join(local[n][i].tobytes() for n in names)).hexdigest()
                for i, row in enumerate(self.local_rows(batch_size))
            }
        )
        return place(self, local, batch_size)

    BatchSharding.to_global = note_and_place
    _, processes, axes = LAYOUTS[options.layout]
    changes = {f"mesh.{axis}": str(size) for axis, size in axes.items()}
    changes |= {"train.steps": str(options.steps), "train.log_every": "1", "eval.every": "0"}
    changes |= {"eval.tokens": "1000", "eval.sample_tokens": "0", "train.dtype": "float32"}
    settings = config.read(options.config, list(changes.items()))
    group = hosts.join(
        options.coordinator, processes if options.coordinator else 1, options.process, 120
    )
    loop.train(settings, options.workdir, group)
    Path(f"{options.workdir}.{options.process}.json").write_text(json.dumps(noted))


def digest(run: Path) -> str:
    """SHA-256 of all rows of all batches, from all processes."""
    parts = [json.loads(path.read_text()) for path in run.parent.glob(f"{run.name}.*.json")]
    total = hashlib.sha256()
    for batch in zip(*parts, strict=True):
        rows: dict[int, str] = {}
        for part in batch:
            for row, row_digest in part.items():
                if rows.setdefault(int(row), row_digest) != row_digest:
                    raise SystemExit(f"row {row} differs between two processes")
        total.update("".join(rows[row] for row in sorted(rows)).encode())
    return total.hexdigest()[:16]


if __name__ == "__main__":
    main()
