"""loss.png: the training and validation objective, and held-out loss against its baselines.

The left panel compares like with like: `train/objective` and `valid/objective` are the same sum of
terms (ELECTRA: generator + 50 x discriminator). The right panel shows `valid/loss` (nats per token
of held-out text) with the losses that counting alone reaches on exactly those tokens. Every line
has the same color in every plot.
"""

import copy
import io
import logging
import threading
from typing import Any, NamedTuple

from etils import epath

from pretrain_jax.errors import UnwritableWorkdir
from pretrain_jax.files import outputs

log = logging.getLogger(__name__)
FILE_NAME = "loss.png"
SIZE = (8.0, 5.0)
"""Inches, at 100 dots per inch."""
LEGEND: dict[str, Any] = {
    "loc": "upper center",
    "bbox_to_anchor": (0.5, -0.14),
    "ncols": 2,
    "columnspacing": 1.0,
    "handlelength": 1.5,
    "frameon": False,
}
"""Below the axes and their label."""
MAX_POINTS = 2000
"""Points of a drawn curve; a panel is about 350 pixels wide."""
DRAW_TIMEOUT = 60.0
"""Seconds that the last plot may take; the first plot on a machine lists the machine's fonts."""


class Style(NamedTuple):
    """The label and the color of a line."""

    label: str
    color: str


class Panel(NamedTuple):
    """One pair of axes."""

    title: str
    y_label: str
    curves: dict[str, Style]
    baselines: bool


OBJECTIVE = Panel(
    title="Objective (minimized)",
    y_label="loss",
    curves={
        "train/objective": Style("training", "C0"),
        "valid/objective": Style("validation", "C1"),
    },
    baselines=False,
)
HELD_OUT = Panel(
    title="Held-out text",
    y_label="nats per token",
    curves={"valid/loss": Style("validation loss", "C2")},
    baselines=True,
)
BASELINE = "yardstick/"
BASELINE_COLORS = {"uniform": "C7", "unigram": "C3", "bigram": "C4"}
ACCURACY_BASELINE = "yardstick/always_"
"""Accuracies of constant answers: not losses, so not in the plot."""
CURVES = OBJECTIVE.curves | HELD_OUT.curves

Curves = dict[str, list[tuple[int, float]]]
"""(step, value) of each point, by metric key; of a baseline, the last point alone."""


class LossPlot:
    """Draws loss.png in a background thread; only the end of a run waits for it.

    A plot that cannot be drawn is logged as a warning: training continues without it. A plot that
    cannot be written raises UnwritableWorkdir from the next call, as for every output of a run.
    """

    def __init__(self, workdir: epath.Path):
        self._path = workdir / FILE_NAME
        self._title = f"{workdir.name}: training and held-out loss"
        self._thread: threading.Thread | None = None
        self._failed: UnwritableWorkdir | None = None

    def draw(self, curves: Curves) -> None:
        """Starts to draw; does nothing while an earlier plot is being drawn."""
        if self._thread is not None and self._thread.is_alive():
            return
        if self._failed is not None:
            raise self._failed
        snapshot = copy.deepcopy(curves)
        self._thread = threading.Thread(target=self._draw, args=(snapshot,), daemon=True)
        self._thread.start()

    def close(self, curves: Curves) -> None:
        """Draws a last time and waits. Raises UnwritableWorkdir."""
        self._wait()
        self.draw(curves)
        self._wait()
        if self._failed is not None:
            raise self._failed

    def _wait(self) -> None:
        if self._thread is not None:
            self._thread.join(DRAW_TIMEOUT)
            if self._thread.is_alive():
                raise UnwritableWorkdir(
                    f"{self._path} must be drawn and written within {DRAW_TIMEOUT:g} s; it was "
                    "not: does its disk respond?"
                )

    def _draw(self, curves: Curves) -> None:
        try:
            if curves.keys() & CURVES.keys():
                outputs.write_atomic(self._path, render_png(curves, self._title))
        except UnwritableWorkdir as error:
            self._failed = error
        except Exception as error:
            log.warning("%s could not be drawn: %s: %s", FILE_NAME, type(error).__name__, error)


def record_line(curves: Curves, line: dict[str, Any]) -> None:
    """Adds what the plot needs of a line of metrics.jsonl to `curves`; other keys are ignored.

    A line of an earlier version has `train/loss` alone, which stands in for `train/objective`.
    """
    if "train/loss" in line:
        line = {"train/objective": line["train/loss"], **line}
    for name, value in line.items():
        if not isinstance(value, int | float):
            continue  # null: not finite
        if name in CURVES:
            curves.setdefault(name, []).append((line["step"], value))
        elif name.startswith(BASELINE) and not name.startswith(ACCURACY_BASELINE):
            curves[name] = [(line["step"], value)]


def render_png(curves: Curves, title: str = "") -> bytes:
    """A PNG of 800 x 500: a panel for the objective, a panel for held-out text.

    A panel without a curve is left out. Legends are below the panels; they show last values.
    """
    # Imported when first drawn, in the drawing thread, and used without pyplot's global state.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    panels = [panel for panel in (OBJECTIVE, HELD_OUT) if curves.keys() & panel.curves.keys()]
    figure = Figure(figsize=SIZE)
    figure.suptitle(title, fontsize="large", parse_math=False)
    all_axes = figure.subplots(1, len(panels), squeeze=False, sharex=True)[0]
    # Fixed margins: a layout that is computed takes as long as the rest of the plot.
    figure.subplots_adjust(left=0.08, right=0.98, bottom=0.24, top=0.86, wspace=0.2)
    for axes, panel in zip(all_axes, panels, strict=True):
        _draw_panel(axes, panel, curves)
    png = io.BytesIO()
    FigureCanvasAgg(figure).print_png(png)
    return png.getvalue()


def _draw_panel(axes: Any, panel: Panel, curves: Curves) -> None:
    for name, style in panel.curves.items():
        if points := _thin(curves.get(name, [])):
            steps, losses = zip(*points, strict=True)
            marker = "." if len(points) < 50 else ""
            label = f"{style.label} {losses[-1]:.3f}"
            axes.plot(steps, losses, marker=marker, color=style.color, label=label)
    for name in sorted(curves) if panel.baselines else ():
        if name.startswith(BASELINE):
            ((_, loss),) = curves[name]
            baseline = name.removeprefix(BASELINE)
            color = BASELINE_COLORS.get(baseline, "C5")
            label = f"{baseline} {loss:.3f}"
            axes.axhline(loss, linestyle="--", linewidth=1, color=color, label=label)
    axes.set(title=panel.title, xlabel="step", ylabel=panel.y_label)
    axes.grid(alpha=0.3)
    axes.legend(**LEGEND)


def _thin(points: list[tuple[int, float]]) -> list[tuple[int, float]]:
    """At most MAX_POINTS of them, counted from the end: the last point is always there."""
    return points[:: -(len(points) // MAX_POINTS + 1)][::-1]
