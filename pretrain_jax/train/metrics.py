"""What a run shows: metrics.jsonl, TensorBoard events, loss.png, samples.txt and a progress bar.

Everything here reads numbers that are already on the host; no training bit depends on it. In a
group of processes only process 0 makes these objects.
"""

import contextlib
import io
import json
import math
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from numbers import Integral
from typing import Any, Self, SupportsFloat, TextIO

from etils import epath
from tensorboardX import SummaryWriter
from tqdm import tqdm

METRICS = "metrics.jsonl"
SAMPLES = "samples.txt"
PICTURE = "loss.png"
EVENTS = "tensorboard"
YARDSTICK = "yardstick/"
ACCURACIES = "yardstick/always_"
"""Yardsticks that are no losses: the accuracy of always giving one answer."""
CURVES = {"train/loss": "training", "valid/loss": "validation"}
MOST_POINTS = 4000

Value = SupportsFloat | None
Curves = dict[str, list[tuple[int, float]]]


class Writer:
    """Writes the numbers of a run into its workdir, going on after `restored_step`.

    Lines beyond the restored step (0: all of them) and a torn last line are dropped, and a line of
    that step that is there is not written again, so the file reads as if the run had never stopped.
    A line is on disk when `write` returns.

    >>> with Writer("runs/xl", restored_step=0) as writer:
    ...     writer.write(100, {"train/loss": 4.25, "mfu": None})
    ...     writer.write(100, {"valid/loss": math.inf})
    True
    True

    leaves in metrics.jsonl

        {"step": 100, "train/loss": 4.25, "mfu": null}
        {"step": 100, "valid/loss": null, "non_finite": {"valid/loss": "inf"}}

    A float is written so that it reads back to the same bits, float32 included. JSON has no NaN
    and no infinity: such a value is null, and `non_finite` says "nan", "inf" or "-inf".
    """

    def __init__(self, workdir: epath.PathLike, restored_step: int):
        self._workdir = epath.Path(workdir)
        self._curves: Curves = {}
        self._there: list[dict[str, Any]] = []  # lines of the restored step
        for line in _drop_lines_beyond(restored_step, self._workdir / METRICS):
            _remember(self._curves, line)
            if line["step"] == restored_step:
                self._there.append(line)
        self._events = SummaryWriter(
            str(self._workdir / EVENTS),
            # Without it, a stop and a start within one second would share a file name.
            filename_suffix=f".from_{restored_step}",
            purge_step=restored_step + 1 if restored_step else 0,
        )
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="loss.png")
        self._drawing: Future[None] | None = None

    def write(self, step: int, values: Mapping[str, Value]) -> bool:
        """Appends one line and the same scalars to TensorBoard (where None, nan, inf are left out);
        returns whether it was not there.

        `step` is the number of updates done.
        """
        line = _line(step, values)
        if line in self._there:
            return False
        with (self._workdir / METRICS).open("a") as file:
            file.write(json.dumps(line, allow_nan=False) + "\n")
        _remember(self._curves, line)
        for name in values:
            if line[name] is not None:
                self._events.add_scalar(name, line[name], step)
        return True

    def sample(self, step: int, text: str) -> None:
        """Appends a sampled continuation under a heading with its step."""
        with (self._workdir / SAMPLES).open("a") as file:
            file.write(f"==== step {step} ====\n{text}\n\n")

    def draw(self) -> None:
        """Draws loss.png in the background; a call while one is being drawn does nothing."""
        if self._drawing is not None:
            if not self._drawing.done():
                return
            self._drawing.result()
        snapshot = {name: list(points) for name, points in self._curves.items()}
        self._drawing = self._thread.submit(self._draw, snapshot)

    def close(self) -> None:
        """Draws loss.png a last time and ends the background threads."""
        try:
            self._thread.submit(self._draw, self._curves).result()
        finally:
            self._thread.shutdown()
            self._events.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _draw(self, curves: Curves) -> None:
        if curves.keys() & CURVES.keys():
            _replace(self._workdir / PICTURE, _picture(curves))


def _drop_lines_beyond(step: int, path: epath.Path) -> list[dict[str, Any]]:
    """Rewrites the file without those lines and returns the others."""
    if not path.exists():
        return []
    text = path.read_text()
    kept = [line for line in text.splitlines() if step and _step_of(line) <= step]
    whole = "".join(f"{line}\n" for line in kept)
    if whole != text:
        _replace(path, whole.encode())
    return [json.loads(line) for line in kept]


def _step_of(line: str) -> float:
    """The step of a line; infinite for a torn one, which is then dropped."""
    try:
        return json.loads(line)["step"]
    except (ValueError, KeyError, TypeError):
        return math.inf


def _line(step: int, values: Mapping[str, Value]) -> dict[str, Any]:
    line: dict[str, Any] = {"step": int(step)}
    non_finite: dict[str, str] = {}
    for name, value in values.items():
        if value is None or isinstance(value, Integral):
            line[name] = None if value is None else int(value)
        elif math.isfinite(number := float(value)):
            line[name] = number
        else:
            line[name] = None
            non_finite[name] = str(number)
    return line | ({"non_finite": non_finite} if non_finite else {})


def _remember(curves: Curves, line: dict[str, Any]) -> None:
    """Keeps what the picture needs: the points of the curves, of a yardstick the last alone."""
    for name, value in line.items():
        if value is not None and name in CURVES:
            curves.setdefault(name, []).append((line["step"], value))
        elif name.startswith(ACCURACIES):
            continue
        elif value is not None and name.startswith(YARDSTICK):
            curves[name] = [(line["step"], value)]


def _replace(path: epath.Path, content: bytes) -> None:
    """Whole or not at all, for whoever is looking at the file."""
    beside = path.parent / f"{path.name}.tmp"
    beside.write_bytes(content)
    beside.replace(path)


def _picture(curves: Curves) -> bytes:
    """The curves over steps, the yardsticks as horizontal lines, as a PNG of 800 x 500."""
    # Imported when first drawn, in the drawing thread, and used without pyplot's global state.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.add_subplot()
    for name, label in CURVES.items():
        points = curves.get(name, [])
        # From the end backwards, so that the last point is always there.
        thinned = points[:: -(len(points) // MOST_POINTS + 1)][::-1]
        if thinned:
            marker = "." if len(thinned) < 50 else ""
            steps, losses = zip(*thinned, strict=True)
            axes.plot(steps, losses, marker=marker, label=f"{label} {losses[-1]:.3f}")
    for place, name in enumerate(sorted(name for name in curves if name.startswith(YARDSTICK))):
        ((_, loss),) = curves[name]
        label = f"{name.removeprefix(YARDSTICK)} {loss:.3f}"
        axes.axhline(loss, linestyle="--", linewidth=1, color=f"C{place + 4}", label=label)
    axes.set_xlabel("updates")
    axes.set_ylabel("loss (nats a token)")
    axes.grid(alpha=0.3)
    axes.legend(loc="upper right")
    png = io.BytesIO()
    FigureCanvasAgg(figure).print_png(png)
    return png.getvalue()


class Throughput:
    """Tokens a second between two readings, leaving out what is put aside.

    Begun at 0 s; 200 tokens; the 3 s from 1 s to 4 s put aside; read at 5 s:

    >>> throughput = Throughput(clock=iter([0.0, 1.0, 4.0, 5.0]).__next__)
    >>> throughput.count(200)
    >>> with throughput.aside():
    ...     pass
    >>> throughput.read()
    100.0
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter):
        self._clock = clock
        self._tokens = 0
        self._flops = self._aside = 0.0
        self.flops_per_second: float | None = None
        self._since = clock()

    def count(self, tokens: int, flops: float = 0.0) -> None:
        """Counts the tokens of a step, and its FLOPs where they are of interest; not those of a
        step whose own time was put aside."""
        self._tokens += tokens
        self._flops += flops

    @contextlib.contextmanager
    def aside(self) -> Iterator[None]:
        """Leaves the time of the block out: compilation, evaluation, saving."""
        start = self._clock()
        try:
            yield
        finally:
            self._aside += self._clock() - start

    def read(self) -> float | None:
        """Tokens a second since the last reading, or None when nothing was counted.

        `flops_per_second` is of the same time.
        """
        now = self._clock()
        seconds = now - self._since - self._aside
        tokens, flops = self._tokens, self._flops
        self._tokens, self._flops, self._aside, self._since = 0, 0.0, 0.0, now
        counted = tokens and seconds > 0
        self.flops_per_second = flops / seconds if counted else None
        return tokens / seconds if counted else None


class Progress:
    """A bar on a terminal; elsewhere one plain line at most every `seconds`.

    `total` is train.steps, `restored_step` where this process began. The estimate of the time
    left starts from the second update of this process, so it knows nothing of compilation, nor
    of how long earlier processes took.

    >>> with Progress(total=1000, restored_step=200, stream=sys.stdout) as progress:
    ...     progress.update(300, loss=3.21, tokens_per_second=51234.0, mfu=0.412)
    step 300/1000, loss 3.210, 51.2k tokens/s, MFU 41.2%
    """

    def __init__(
        self,
        total: int,
        restored_step: int,
        stream: TextIO | None = None,
        seconds: float = 10.0,
        clock: Callable[[], float] = time.perf_counter,
    ):
        self._stream = sys.stderr if stream is None else stream
        self._total = total
        self._first = restored_step
        self._seconds = seconds
        self._clock = clock
        self._begun: tuple[int, float] | None = None
        self._shown = ""
        self._last_line = -math.inf
        self._bar: tqdm | None = None
        if _is_terminal(self._stream):
            self._bar = tqdm(
                total=total,
                initial=restored_step,
                file=self._stream,
                dynamic_ncols=True,
                bar_format="{percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} [{elapsed}{postfix}]",
            )

    def update(
        self,
        step: int,
        loss: float | None = None,
        tokens_per_second: float | None = None,
        mfu: float | None = None,
    ) -> None:
        """Shows that `step` updates are done; what is not given stays as it was shown last."""
        now = self._clock()
        if self._begun is None and step >= self._first + 2:
            self._begun = (step, now)
        if loss is not None:
            self._shown = _shown(loss, tokens_per_second, mfu)
        last = step == self._total and loss is not None
        text = ", ".join(part for part in (self._shown, self._left(step, now)) if part)
        if self._bar is not None:
            self._bar.set_postfix_str(text, refresh=False)
            self._bar.update(step - self._bar.n)
        elif self._shown and (now - self._last_line >= self._seconds or last):
            self._last_line = now
            self.say(f"step {step}/{self._total}, {text}")

    def say(self, text: str) -> None:
        """Prints a line above the bar."""
        if self._bar is not None:
            self._bar.write(text, file=self._stream)
        else:
            print(text, file=self._stream, flush=True)

    def close(self) -> None:
        """Leaves the bar where it is; safe to call twice."""
        if self._bar is not None:
            self._bar.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _left(self, step: int, now: float) -> str:
        if self._begun is None or step == self._begun[0] or step >= self._total:
            return ""
        per_step = (now - self._begun[1]) / (step - self._begun[0])
        return f"{tqdm.format_interval((self._total - step) * per_step)} left"


class Silent:
    """In place of Writer and Progress where another process speaks for all."""

    def write(self, step: int, values: Mapping[str, Value]) -> bool:
        return True

    def sample(self, step: int, text: str) -> None: ...

    def draw(self) -> None: ...

    def update(self, step: int, **shown: Value) -> None: ...

    def say(self, text: str) -> None: ...


SILENT = Silent()


def _is_terminal(stream: TextIO) -> bool:
    # A terminal that says it has no columns (some containers) would get an invisible bar.
    return stream.isatty() and os.get_terminal_size(stream.fileno()).columns > 0


def _shown(loss: float, tokens_per_second: float | None, mfu: float | None) -> str:
    parts = [f"loss {loss:.3f}"]
    if tokens_per_second is not None:
        parts.append(f"{tqdm.format_sizeof(tokens_per_second)} tokens/s")
    if mfu is not None:
        parts.append(f"MFU {mfu:.1%}")
    return ", ".join(parts)
