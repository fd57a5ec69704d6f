"""SHA-256 of batches, losses and states after a few updates of each kind of model.

    python benchmarks/bits.py [--steps=40] [--configs=gpt2_nano,bert_nano,electra_nano,t5_nano]

Run it before and after a change that must not affect training: the tables must be equal. Both runs
need the same machine and the same library versions.
"""

import argparse
import contextlib
import hashlib
import tempfile
from pathlib import Path
from typing import Any

import jobs
import numpy as np
import resume
from etils import epath

from pretrain_jax.composition.feed import Feed
from pretrain_jax.inference.restore import load_design


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--configs", default="gpt2_nano,bert_nano,electra_nano,t5_nano")
    options = parser.parse_args()
    rows = []
    for name in options.configs.split(","):
        with tempfile.TemporaryDirectory() as folder:
            run = Path(folder) / name
            every = {"train.steps": options.steps, "train.log_every": 1, "eval.every": 0}
            lines, _ = jobs.train(f"configs/{name}.py", run, every)
            losses = repr(list(resume.losses(run).values())).encode()
            digests = (digest_batches(run, options.steps), hashlib.sha256(losses).hexdigest())
            valid = f"{lines[-1]['valid/loss']:.6f}"
            rows.append([name, *(digest[:16] for digest in (*digests, resume.digest(run))), valid])
    print(jobs.table(["config", "batches", "losses", "state", "valid/loss"], rows))


def digest_batches(run: Path, steps: int) -> str:
    """SHA-256 of every field of the batches of these steps."""
    design: Any = load_design(run)
    feed = Feed.open(design, epath.Path(run))
    digest = hashlib.sha256()
    with contextlib.closing(feed.batches(design.spec.phases[0], 0)) as batches:
        for _ in range(steps):
            for name, field in sorted(next(batches).items()):
                digest.update(name.encode() + np.ascontiguousarray(field).tobytes())
    return digest.hexdigest()


if __name__ == "__main__":
    main()
