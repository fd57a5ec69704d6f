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
import resource
import sys
import tempfile
import time
from pathlib import Path

import generation_beams
import generation_speed
from jobs import run, table, train

WARM = 3
"""Starts with a filled cache of programs."""
MESHES = ("1", "2x2")
FOUR_DEVICES = {
    "JAX_PLATFORMS": "cpu",
    "XLA_FLAGS": "--xla_force_host_platform_device_count=4",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--bursts", type=int, default=9)
    parser.add_argument("--workdir", default="", help="a run for `command`; default: a new one")
    options = parser.parse_args()
    passed = [PARTS[part](options) for part in options.parts.split(",")]
    sys.exit(0 if all(passed) else 1)


def cached(options: argparse.Namespace) -> bool:
    """Prints the table of `cached`; whether every line is as it must be."""
    script = str(Path(__file__).with_name("generation_cached.py"))
    rows, passed = [], True
    for mesh in MESHES:
        for row in json.loads(run([sys.executable, script, mesh], environment=FOUR_DEVICES)):
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
    head = ["model", "devices", "equal tokens", "distinct ids", "largest difference"]
    print(table([*head, "largest logit"], rows), flush=True)
    return passed


def beams(options: argparse.Namespace) -> bool:
    """Prints the table of `beams`; whether all tokens are equal."""
    with tempfile.TemporaryDirectory() as folder:
        made = (generation_beams.compare(name, Path(folder)) for name in generation_beams.MODELS)
        rows = [row for lines in made for row in lines]
    print(table(["model", "search", "equal texts", "unlike greedy", "ended early"], rows))
    return all(equal == total for equal, _, total in (row[2].split() for row in rows))


def speed(options: argparse.Namespace) -> bool:
    """Prints the table of `speed`, line by line; always true."""
    head = ["model", "batch", "ours, tokens/s", "transformers, tokens/s", "ratio"]
    print(table([*head, "bandwidth, GB/s", "share of the bandwidth"], []), flush=True)
    for name in generation_speed.MODELS:
        for count in (1, 8):
            row = generation_speed.compare(name, count, options.bursts)
            print(table(row, []).splitlines()[0], flush=True)
    return True


def command(options: argparse.Namespace) -> bool:
    """Prints the table of `command`; always true."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        workdir = options.workdir or f"{folder}/run"
        if not options.workdir:
            few = {"train.steps": 30, "checkpoint.every": 30, "eval.every": 0}
            train("configs/gpt2_nano.py", Path(workdir), few)
        line = [sys.executable, "-m", "pretrain_jax.generate", f"--workdir={workdir}"]
        for start in ("cold", *["warm"] * WARM):
            before, used = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
            run([*line, "--prompt=def main("], environment={"HOME": folder})
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            cpu = after.ru_utime + after.ru_stime - used.ru_utime - used.ru_stime
            rows.append([start, f"{time.monotonic() - before:.1f}", f"{cpu:.1f}"])
    print(table(["start", "seconds", "CPU seconds"], rows), flush=True)
    return True


PARTS = {"cached": cached, "beams": beams, "speed": speed, "command": command}


if __name__ == "__main__":
    main()
