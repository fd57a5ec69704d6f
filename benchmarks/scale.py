"""Published scales compiled for TPU pods, on a machine that has none.

    python benchmarks/scale.py [--configs=gpt2_xl,t5_11b] [--growth]

Every config on the pod named below, or the chosen ones; needs the extra `tpu`. --growth: the three
largest from 256 to 6,144 chips at a fixed number of tokens a chip, instead. Prints one table.
"""

import argparse
import json
import math
import subprocess
import sys

import jobs

POD = {
    "gpt2_xl": "v5e:4x4",
    "bert_large": "v5e:2x2",
    "t5_11b": "v5p:4x4x4",
    "llama_65b": "v5p:8x8x8",
    "gpt3_175b": "v5p:8x16x16",
    "mt_nlg_530b": "v5p:16x16x24",
}
GROWN = ("llama_65b", "gpt3_175b", "mt_nlg_530b")
GROWTH = ("v5p:4x8x8", "v5p:8x8x8", "v5p:8x8x16", "v5p:8x16x16", "v5p:16x16x24")
HEAD = ["config", "pod", "chips", "mesh", "tokens a step", "GiB a chip", "of", "sent, GiB"]
HEAD += ["seconds, at least", "MFU, at most", "compiled in, s"]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--configs", default=",".join(POD))
    parser.add_argument("--growth", action="store_true")
    options = parser.parse_args()
    if options.growth:
        runs = [(name, pod, grown(name, pod)) for name in GROWN for pod in GROWTH]
    else:
        runs = [(name, POD[name], {}) for name in options.configs.split(",")]
    print(jobs.table(HEAD, [line(*run) for run in runs]))


def grown(name: str, pod: str) -> dict[str, int]:
    """Changes that give each chip of a pod the rows that it has on the config's own pod."""
    own = jobs.describe(f"configs/{name}.py", {"mesh.data": -1, "mesh.fsdp": 1, "mesh.tensor": 1})
    rows = own["config"]["train.batch_size"][0]
    share = max(rows // chips(POD[name]), 1)
    return {"train.batch_size": share * chips(pod)}


def chips(pod: str) -> int:
    """64 of "v5p:4x4x4"."""
    return math.prod(int(side) for side in pod.partition(":")[2].split("x"))


def line(name: str, pod: str, changes: dict[str, int]) -> list[str]:
    """One row of the table."""
    command = [sys.executable, "-m", "pretrain_jax.main", f"--config=configs/{name}.py"]
    command += ["--mode=compile", f"--topology={pod}", "--json", *jobs.overrides(changes)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        return [name, pod, str(chips(pod)), done.stderr.strip().splitlines()[-1]]
    found = json.loads(done.stdout)
    print(json.dumps({"config": name, "topology": pod, **found}), file=sys.stderr, flush=True)
    mesh = " x ".join(f"{axis} {n}" for axis, n in found["mesh"].items() if n > 1)
    gib = lambda key: f"{found[key] / 2**30:.2f}"  # noqa: E731
    row = [name, pod, str(found["devices"]), mesh, f"{found['tokens_per_step']:,}"]
    row += [gib("peak_bytes_per_device"), gib("hbm_bytes_per_device")]
    if not found["fits"]:
        return [*row, "does not fit", "", "", f"{found['compile_seconds']:.0f}"]
    seconds = max(found["seconds"].values())
    row += [gib("collective_bytes_per_device"), f"{seconds:.3g}", f"{found['estimated_mfu']:.1%}"]
    return [*row, f"{found['compile_seconds']:.0f}"]


if __name__ == "__main__":
    main()
