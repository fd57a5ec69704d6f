"""Faults injected into real runs, with counts: what a run promises when something fails.

    python benchmarks/faults.py [--pairs=30] [--disks=15] [--outputs=100] [--moments=20] [--seed=0]

- pairs: two jobs begin on one workdir at once; one trains, the other ends with 82.
- disks: a disk (tmpfs) too small for the run, of as many sizes; each run ends with 74.
- outputs: each output of a run has something else in its place, or lies on a read-only mount; the
  run ends with 74 and names it.
- moments: SIGTERM and SIGINT, each at as many moments from the first import of the package to some
  steps after the first; each run ends with 75 within ten seconds, saved where it had trained.

Prints a table; ends with 1 where a count is wrong. 0 leaves a part out. Disks and mounts need root.
About 15 minutes on two quiet cores.
"""

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from jobs import table

HANGS = 90.0
"""Seconds after which a run that should have ended counts as hanging."""
PROMPT = 10.0
"""Seconds from a signal to the end."""
IN_USE, UNWRITABLE, AGAIN = 82, 74, 75
FILES = ("run.lock", "config.json", "metrics.jsonl", "samples.txt", "loss.png", "saved.json")
FOLDERS = ("tensorboard", "tokenizer", "checkpoints")
CONFIG = """
from ml_collections import ConfigDict


def get_config():
    return ConfigDict(dict(
        data=dict(source="text:{folder}/corpus.jsonl", seq_len=16, cache_dir="{folder}/cache"),
        tokenizer=dict(name="bytes"),
        objective=dict(name="causal_lm"),
        model=dict(name="gpt", vocab_size=262, layers=2, width=16, heads=2, feed_forward=32,
                   max_length=16),
        optimizer=dict(name="adamw", learning_rate=1e-2, schedule="constant"),
        train=dict(steps=40, batch_size=8, log_every=1),
        checkpoint=dict(every=10),
        eval=dict(every=10, tokens=200, sample_tokens=4),
    ))
"""


@dataclass
class Ended:
    """How a run ended."""

    code: int | None
    """None: it did not."""
    seconds: float
    said: str
    """On standard error."""

    def wrong(self, code: int, *words: str) -> str:
        """What is not as it should be; empty when all is."""
        missing = [word for word in words if word not in self.said]
        if self.code == code and "Traceback" not in self.said and not missing:
            return ""
        lines = self.said.strip().splitlines() or [""]
        how = "did not end" if self.code is None else f"ended with {self.code}"
        return f"{how} after {self.seconds:.1f} s, said {lines[-1]!r}"


class Runs:
    """Starts runs of one small job, all over one token cache."""

    def __init__(self, folder: Path):
        self.folder = folder
        draw = random.Random(0)
        words = "the cat sat on a mat and saw dogs run over green hills".split()
        texts = (" ".join(draw.choices(words, k=20)) for _ in range(150))
        lines = "".join(json.dumps({"text": text}) + "\n" for text in texts)
        (folder / "corpus.jsonl").write_text(lines)
        (folder / "job.py").write_text(CONFIG.format(folder=folder))
        self.finished = folder / "finished"
        ended = self.run(self.finished)
        if ended.code:
            raise SystemExit(f"the job must run before anything is injected: {ended.said}")

    def start(self, workdir: Path, *options: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "pretrain_jax.main", f"--config={self.folder}/job.py"]
        command += [f"--workdir={workdir}", *options]
        return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)

    def run(self, workdir: Path, *options: str) -> Ended:
        return ended(self.start(workdir, *options), HANGS)


def ended(process: subprocess.Popen[str], limit: float) -> Ended:
    """Waits for a run at most `limit` seconds, and ends it then."""
    begun = time.monotonic()
    try:
        said = process.communicate(timeout=limit)[1]
        return Ended(process.returncode, time.monotonic() - begun, said)
    except subprocess.TimeoutExpired:
        process.kill()
        return Ended(None, time.monotonic() - begun, process.communicate()[1])


Tries = Iterator[tuple[str, float, str]]
"""What was tried, the seconds it took, what was wrong."""


def pairs(runs: Runs, count: int, draw: random.Random) -> Tries:
    """Two jobs on one workdir."""
    for number in range(count):
        workdir = runs.folder / f"pair-{number}"
        both = [runs.start(workdir, "--config.train.steps=1000000")]
        time.sleep(draw.choice((0.0, draw.uniform(0.0, 1.0))))
        both.append(runs.start(workdir, "--config.train.steps=1000000"))
        until(lambda both=both: any(one.poll() is not None for one in both))
        until(lambda workdir=workdir: len(steps(workdir)) > 20)
        both.sort(key=lambda one: one.poll() is None)
        loser = ended(both[0], 0.1)
        both[1].send_signal(signal.SIGTERM)
        winner = ended(both[1], HANGS)
        wrong = loser.wrong(IN_USE) or winner.wrong(AGAIN)
        seen = steps(workdir)
        if not wrong and seen != sorted(set(seen)):
            wrong = "steps were written twice"
        yield f"pair {number}", winner.seconds, wrong
        shutil.rmtree(workdir)


def disks(runs: Runs, count: int, draw: random.Random) -> Tries:
    """A disk that is full before the run is done."""
    need = sum(path.stat().st_blocks * 512 for path in runs.finished.rglob("*") if path.is_file())
    for number in range(count):
        size = int(need * (number + draw.uniform(0.2, 1.0)) / (count + 1))
        with tmpfs(runs.folder / f"disk-{number}", size) as disk:
            found = runs.run(disk / "run")
        yield f"{size} bytes", found.seconds, found.wrong(UNWRITABLE)


def outputs(runs: Runs, count: int, draw: random.Random) -> Tries:
    """Each output that cannot be written, from the start or when the run goes on."""
    cases = [(name, how) for name in (*FILES, *FOLDERS) for how in (in_its_place, read_only)]
    cases.remove(("tokenizer", read_only))  # is read alone when a run goes on
    for name, how in sorted(cases, key=lambda _: draw.random())[:count]:
        workdir = runs.folder / "output"
        if how is read_only:
            shutil.copytree(runs.finished, workdir)
        with how(workdir, name):
            found = runs.run(workdir, "--config.train.steps=60")
        wrong = found.wrong(UNWRITABLE, name)
        if name == "loss.png" and not wrong and not saved(workdir, steps(workdir)[-1]):
            wrong = "the state was lost with the picture"
        yield f"{name} {how.__name__}", found.seconds, wrong
        shutil.rmtree(workdir)


@contextlib.contextmanager
def in_its_place(workdir: Path, name: str) -> Iterator[None]:
    """A folder where a file should be, a file where a folder should be."""
    workdir.mkdir()
    if name in FOLDERS:
        (workdir / name).write_text("in the way")
    else:
        (workdir / name).mkdir()
    yield


@contextlib.contextmanager
def read_only(workdir: Path, name: str) -> Iterator[None]:
    """The file or folder on a mount that cannot be written to."""
    where = str(workdir / name)
    mount("--bind", where, where)
    try:
        mount("-o", "remount,ro,bind", where)
        yield
    finally:
        unmount(where)


@contextlib.contextmanager
def tmpfs(where: Path, size: int) -> Iterator[Path]:
    """An empty disk of so many bytes, rounded up to pages."""
    where.mkdir()
    mount("-t", "tmpfs", "-o", f"size={max(size, 4096)}", "tmpfs", str(where))
    try:
        yield where
    finally:
        unmount(str(where))


def mount(*words: str) -> None:
    done = subprocess.run(["mount", *words], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"disks and read-only mounts need root; mount said: {done.stderr.strip()}")


def unmount(where: str) -> None:
    subprocess.run(["umount", where], check=True)


def moments(runs: Runs, count: int, draw: random.Random) -> Tries:
    """A signal at some moment from the first import on."""
    full = start_seconds(runs)
    for number in range(2 * count):
        how = (signal.SIGTERM, signal.SIGINT)[number % 2]
        moment = draw.uniform(0.0, 1.25 * full)
        workdir = runs.folder / f"moment-{number}"
        process = runs.start(workdir, "--config.train.steps=1000000")
        until(lambda process=process: catches(process.pid, signal.SIGTERM))
        time.sleep(moment)
        process.send_signal(how)
        found = ended(process, HANGS)
        wrong = found.wrong(AGAIN)
        if not wrong and found.seconds > PROMPT:
            wrong = f"it took {found.seconds:.1f} s"
        if not wrong and steps(workdir) and not saved(workdir, steps(workdir)[-1]):
            wrong = "the last step was not saved"
        yield f"{how.name} at {moment:.2f} s", found.seconds, wrong
        shutil.rmtree(workdir, ignore_errors=True)


def start_seconds(runs: Runs) -> float:
    """From the first import of the package to the tenth step."""
    workdir = runs.folder / "start"
    process = runs.start(workdir, "--config.train.steps=1000000")
    until(lambda: catches(process.pid, signal.SIGTERM))
    begun = time.monotonic()
    until(lambda: len(steps(workdir)) >= 10)
    process.kill()
    process.communicate()
    return time.monotonic() - begun


def catches(pid: int, number: int) -> bool:
    """Whether a process has a handler for a signal (proc(5))."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("SigCgt:"):
            return bool(int(line.split()[1], 16) >> (number - 1) & 1)
    return False


def steps(workdir: Path) -> list[int]:
    """Of the lines about updates in metrics.jsonl that are complete."""
    file = workdir / "metrics.jsonl"
    lines = file.read_text().split("\n")[:-1] if file.exists() else []
    return [row["step"] for row in map(json.loads, lines) if "train/loss" in row]


def saved(workdir: Path, step: int) -> bool:
    return (workdir / "checkpoints" / str(step) / "commit_success.txt").exists()


def until(condition: Callable[[], bool]) -> None:
    """Waits, at most HANGS seconds."""
    end = time.monotonic() + HANGS
    while not condition() and time.monotonic() < end:
        time.sleep(0.01)


PARTS = {"pairs": (pairs, 30), "disks": (disks, 15), "outputs": (outputs, 100)}
PARTS |= {"moments": (moments, 20)}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    for name, (_, usual) in PARTS.items():
        parser.add_argument(f"--{name}", type=int, default=usual)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rows, failures = [], []
    with tempfile.TemporaryDirectory() as folder:
        runs = Runs(Path(folder))
        for name, (part, _) in PARTS.items():
            draw = random.Random(f"{options.seed} {name}")
            tries = list(part(runs, getattr(options, name), draw)) if vars(options)[name] else []
            wrong = [f"{what}: {why}" for what, _, why in tries if why]
            slowest = max((seconds for _, seconds, _ in tries), default=0.0)
            good = f"{len(tries) - len(wrong)} of {len(tries)}"
            rows.append([(part.__doc__ or name).rstrip("."), good, f"{slowest:.1f}"])
            failures += wrong
            print(f"{name}: {good}", file=sys.stderr, flush=True)
    print(table(["fault", "as promised", "slowest end in s"], rows))
    print("\n".join(failures), end="\n" if failures else "")
    return 1 if failures else 0


if __name__ == "__main__":
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    sys.exit(main())
