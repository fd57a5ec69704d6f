"""Injects faults into real runs and counts how many end as specified.

    python benchmarks/faults.py [--pairs=30] [--disks=15] [--outputs=100] [--moments=20] [--seed=0]

- pairs: two jobs start in one workdir at the same time; one trains, the other exits with 82.
- disks: disks (tmpfs) of different sizes, all too small for the run; each run exits with 74.
- outputs: something else exists at the path of an output, or the output is on a read-only mount;
  the run exits with 74 and names it.
- moments: SIGTERM and SIGINT at random moments between the first import of the package and a few
  steps after the first; each run exits with 75 within ten seconds, with its last step saved.

Options are numbers of tries; 0 skips a part. Exits with 1 if any try fails. Disks and mounts need
root. About 15 minutes on two idle cores.
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

from jobs import table, write_tiny

HANG_SECONDS = 90.0
"""A run that does not end within this time counts as hanging."""
MAX_STOP_SECONDS = 10.0
"""From a signal to the end."""
IN_USE, UNWRITABLE, INTERRUPTED = 82, 74, 75
FILES = ("run.lock", "config.json", "metrics.jsonl", "samples.txt", "loss.png", "saved.json")
FOLDERS = ("tensorboard", "tokenizer", "checkpoints")


@dataclass
class Exit:
    """The end of a run."""

    code: int | None  # None: the run did not end
    seconds: float
    stderr: str

    def mismatch(self, code: int, *words: str) -> str:
        """How the exit differs from `code` and a message with all `words`; "" if it does not."""
        missing = [word for word in words if word not in self.stderr]
        if self.code == code and "Traceback" not in self.stderr and not missing:
            return ""
        lines = self.stderr.strip().splitlines() or [""]
        how = "did not end" if self.code is None else f"ended with {self.code}"
        return f"{how} after {self.seconds:.1f} s with {lines[-1]!r}"


class Runs:
    """Starts runs of one small job; all share one token cache."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.config = write_tiny(folder)
        self.finished = folder / "finished"
        finished = self.run(self.finished)
        if finished.code:
            raise SystemExit(f"the job must run without faults: {finished.stderr}")

    def start(self, workdir: Path, *options: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "pretrain_jax.main", f"--config={self.config}"]
        command += [f"--workdir={workdir}", *options]
        return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)

    def run(self, workdir: Path, *options: str) -> Exit:
        return wait(self.start(workdir, *options), HANG_SECONDS)


def wait(process: subprocess.Popen[str], limit: float) -> Exit:
    """Waits for a run for at most `limit` seconds, then kills it."""
    start = time.monotonic()
    try:
        stderr = process.communicate(timeout=limit)[1]
        return Exit(process.returncode, time.monotonic() - start, stderr)
    except subprocess.TimeoutExpired:
        process.kill()
        return Exit(None, time.monotonic() - start, process.communicate()[1])


Tries = Iterator[tuple[str, float, str]]
"""(what was tried, seconds, failure or "")."""


def pairs(runs: Runs, count: int, draw: random.Random) -> Tries:
    """Two jobs in one workdir."""
    for number in range(count):
        workdir = runs.folder / f"pair-{number}"
        both = [runs.start(workdir, "--config.train.steps=1000000")]
        time.sleep(draw.choice((0.0, draw.uniform(0.0, 1.0))))
        both.append(runs.start(workdir, "--config.train.steps=1000000"))
        until(lambda both=both: any(process.poll() is not None for process in both))
        until(lambda workdir=workdir: len(logged_steps(workdir)) > 20)
        both.sort(key=lambda process: process.poll() is None)
        loser = wait(both[0], 0.1)
        both[1].send_signal(signal.SIGTERM)
        winner = wait(both[1], HANG_SECONDS)
        wrong = loser.mismatch(IN_USE) or winner.mismatch(INTERRUPTED)
        written = logged_steps(workdir)
        if not wrong and written != sorted(set(written)):
            wrong = "steps were written twice"
        yield f"pair {number}", winner.seconds, wrong
        shutil.rmtree(workdir)


def disks(runs: Runs, count: int, draw: random.Random) -> Tries:
    """A disk that is full before the run ends."""
    needed = sum(path.stat().st_blocks * 512 for path in runs.finished.rglob("*") if path.is_file())
    for number in range(count):
        size = int(needed * (number + draw.uniform(0.2, 1.0)) / (count + 1))
        with tmpfs(runs.folder / f"disk-{number}", size) as disk:
            run_exit = runs.run(disk / "run")
        yield f"{size} bytes", run_exit.seconds, run_exit.mismatch(UNWRITABLE)


def outputs(runs: Runs, count: int, draw: random.Random) -> Tries:
    """An output that cannot be written, at the start or on resuming."""
    cases = [(name, how) for name in (*FILES, *FOLDERS) for how in (occupied, read_only)]
    cases.remove(("tokenizer", read_only))  # a resumed run only reads it
    for name, how in sorted(cases, key=lambda _: draw.random())[:count]:
        workdir = runs.folder / "output"
        if how is read_only:
            shutil.copytree(runs.finished, workdir)
        with how(workdir, name):
            run_exit = runs.run(workdir, "--config.train.steps=60")
        wrong = run_exit.mismatch(UNWRITABLE, name)
        if name == "loss.png" and not wrong and not is_saved(workdir, logged_steps(workdir)[-1]):
            wrong = "the state was lost with the picture"
        yield f"{name} {how.__name__}", run_exit.seconds, wrong
        shutil.rmtree(workdir)


@contextlib.contextmanager
def occupied(workdir: Path, name: str) -> Iterator[None]:
    """A folder in the place of a file, a file in the place of a folder."""
    workdir.mkdir()
    if name in FOLDERS:
        (workdir / name).write_text("")
    else:
        (workdir / name).mkdir()
    yield


@contextlib.contextmanager
def read_only(workdir: Path, name: str) -> Iterator[None]:
    """The file or folder on a read-only mount."""
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
        raise SystemExit(
            f"disks and read-only mounts need root; mount failed: {done.stderr.strip()}"
        )


def unmount(where: str) -> None:
    subprocess.run(["umount", where], check=True)


def moments(runs: Runs, count: int, draw: random.Random) -> Tries:
    """A signal at a random moment from the first import on."""
    startup = start_seconds(runs)
    for number in range(2 * count):
        how = (signal.SIGTERM, signal.SIGINT)[number % 2]
        moment = draw.uniform(0.0, 1.25 * startup)
        workdir = runs.folder / f"moment-{number}"
        process = runs.start(workdir, "--config.train.steps=1000000")
        until(lambda process=process: has_handler(process.pid, signal.SIGTERM))
        time.sleep(moment)
        process.send_signal(how)
        run_exit = wait(process, HANG_SECONDS)
        wrong = run_exit.mismatch(INTERRUPTED)
        if not wrong and run_exit.seconds > MAX_STOP_SECONDS:
            wrong = f"it took {run_exit.seconds:.1f} s"
        if not wrong and logged_steps(workdir) and not is_saved(workdir, logged_steps(workdir)[-1]):
            wrong = "the last step was not saved"
        yield f"{how.name} at {moment:.2f} s", run_exit.seconds, wrong
        shutil.rmtree(workdir, ignore_errors=True)


def start_seconds(runs: Runs) -> float:
    """Seconds from the first import of the package to the tenth step."""
    workdir = runs.folder / "start"
    process = runs.start(workdir, "--config.train.steps=1000000")
    until(lambda: has_handler(process.pid, signal.SIGTERM))
    start = time.monotonic()
    until(lambda: len(logged_steps(workdir)) >= 10)
    process.kill()
    process.communicate()
    return time.monotonic() - start


def has_handler(pid: int, number: int) -> bool:
    """Whether a process has a handler for a signal (proc(5))."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("SigCgt:"):
            return bool(int(line.split()[1], 16) >> (number - 1) & 1)
    return False


def logged_steps(workdir: Path) -> list[int]:
    """Steps of the complete training lines in metrics.jsonl."""
    file = workdir / "metrics.jsonl"
    lines = file.read_text().split("\n")[:-1] if file.exists() else []
    return [row["step"] for row in map(json.loads, lines) if "train/loss" in row]


def is_saved(workdir: Path, step: int) -> bool:
    """Whether the checkpoint of a step is complete."""
    return (workdir / "checkpoints" / str(step) / "commit_success.txt").exists()


def until(condition: Callable[[], bool]) -> None:
    """Waits for a condition, at most HANG_SECONDS."""
    end = time.monotonic() + HANG_SECONDS
    while not condition() and time.monotonic() < end:
        time.sleep(0.01)


PARTS = {"pairs": (pairs, 30), "disks": (disks, 15), "outputs": (outputs, 100)}
PARTS |= {"moments": (moments, 20)}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    for name, (_, default) in PARTS.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    for number in (signal.SIGINT, signal.SIGHUP):  # nohup and & make the processes ignore them
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
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
    print(table(["fault", "as specified", "slowest exit in s"], rows))
    print("\n".join(failures), end="\n" if failures else "")
    return 1 if failures else 0


if __name__ == "__main__":
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    sys.exit(main())
