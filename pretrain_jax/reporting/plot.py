"""loss.png: the curves of training and validation over what counting alone would reach."""

import copy
import io
import logging
import threading
from typing import Any

from etils import epath

from pretrain_jax.errors import UnwritableWorkdir
from pretrain_jax.files import outputs

log = logging.getLogger(__name__)
PICTURE = "loss.png"
YARDSTICK = "yardstick/"
ACCURACIES = "yardstick/always_"
"""Yardsticks that are no losses: the accuracy of always giving one answer."""
CURVES = {"train/loss": "training", "valid/loss": "validation"}
MOST_POINTS = 4000
PATIENCE = 60.0
"""Seconds that the last picture may take; the first of a machine lists its fonts."""

Curves = dict[str, list[tuple[int, float]]]


class Picture:
    """Draws loss.png in a thread that nobody waits for, until the end of the run.

    What cannot be drawn is said in the log, for training goes on without it. What cannot be written
    is raised by the next call, as for every output of a run.
    """

    def __init__(self, folder: epath.Path):
        self._path = folder / PICTURE
        self._thread: threading.Thread | None = None
        self._failed: UnwritableWorkdir | None = None

    def draw(self, curves: Curves) -> None:
        """Begins to draw; does nothing while an earlier picture is being drawn."""
        if self._thread is not None and self._thread.is_alive():
            return
        if self._failed is not None:
            raise self._failed
        drawn = copy.deepcopy(curves)
        self._thread = threading.Thread(target=self._draw, args=(drawn,), daemon=True)
        self._thread.start()

    def close(self, curves: Curves) -> None:
        """Draws a last time. Raises UnwritableWorkdir."""
        self._wait()
        self.draw(curves)
        self._wait()
        if self._failed is not None:
            raise self._failed

    def _wait(self) -> None:
        if self._thread is not None:
            self._thread.join(PATIENCE)
            if self._thread.is_alive():
                raise UnwritableWorkdir(
                    f"{self._path} must be drawn and written within {PATIENCE:g} s; it was not: "
                    "does its disk answer?"
                )

    def _draw(self, curves: Curves) -> None:
        try:
            if curves.keys() & CURVES.keys():
                outputs.write_atomic(self._path, png(curves))
        except UnwritableWorkdir as error:
            self._failed = error
        except Exception as error:
            log.warning("%s could not be drawn: %s: %s", PICTURE, type(error).__name__, error)


def remember(curves: Curves, line: dict[str, Any]) -> None:
    """Keeps what the picture needs: the points of the curves, of a yardstick the last alone."""
    for name, value in line.items():
        if not isinstance(value, int | float):
            continue  # null where a number is not finite
        if name in CURVES:
            curves.setdefault(name, []).append((line["step"], value))
        elif name.startswith(ACCURACIES):
            continue
        elif name.startswith(YARDSTICK):
            curves[name] = [(line["step"], value)]


def png(curves: Curves) -> bytes:
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
