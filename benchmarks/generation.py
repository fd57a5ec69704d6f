"""Generation: exactness of the cache, beams, speed, and the time of the command.

    python benchmarks/generation.py [--parts=cached,beams,speed,command] [--workdir=RUN]

cached     Every decoder and encoder-decoder, on one device and on 2 x 2 simulated ones (mesh.data x
           mesh.tensor): five prompts of different lengths in one batch, 200 greedy tokens each.
           Without a cache, the model reads every whole row at once; by the logits at each position
           it must choose the same token, and all logits must agree within 1e-5. The last line of
           the table moves the cached prompts of a GPT by one slot, which must show.
beams      Greedy search and four beams with two length penalties: the tokens that transformers
           generates with the exported model, for 50 prompts each of a GPT and a T5.
speed      GPT-2 124M and T5-base with random parameters in float32, side by side with transformers
           and its cache: bursts alternate, so that a slow phase of the machine affects both.
command    Seconds of `python -m pretrain_jax.generate` with --workdir, with an empty cache of
           compiled programs and with a filled one.

`beams` and `speed` need a Python with torch and transformers. It prints Markdown tables, and exits
with 1 if `cached` or `beams` differ anywhere. Speeds have no such limit: machines differ.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from jobs import table

CACHED = ("1", "2x2")
"""Meshes: one device, and data=2, tensor=2."""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--workdir", default="", help="a run for `command`; default: a new one")
    options = parser.parse_args()
    passed = [PARTS[part](options) for part in options.parts.split(",")]
    sys.exit(0 if all(passed) else 1)


def cached(options: argparse.Namespace) -> bool:
    """Prints the table of `cached`; whether every line is as it must be."""
    rows, passed = [], True
    for mesh in CACHED:
        for row in json.loads(run_child("generation_cached.py", mesh, devices=4)):
            agrees = row["equal tokens"] == row["tokens"] and row["within"]
            passed &= agrees != row["shifted"]
            rows.append(
                [
                    row["model"],
                    mesh,
                    f"{row['equal tokens']} / {row['tokens']}",
                    str(row["distinct"]),
                    f"{row['difference']:.1e}",
                    f"{row['largest']:.1f}",
                ]
            )
    head = ["model", "devices", "equal tokens", "distinct ids", "largest difference", "of logits"]
    print(table([*head[:-1], "largest logit"], rows), flush=True)
    return passed


def run_child(script: str, *arguments: str, devices: int = 0) -> str:
    """The last line that another script of this folder prints, run in a process of its own."""
    environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
    if devices:
        environment["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={devices}"
    command = [sys.executable, str(Path(__file__).with_name(script)), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        raise SystemExit(f"{script} ended with {done.returncode}:\n{done.stderr[-4000:]}")
    return done.stdout.splitlines()[-1]


PARTS: dict[str, Any] = {"cached": cached}


if __name__ == "__main__":
    main()
