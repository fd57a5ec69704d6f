"""`train.profile`: a profile of some steps, by jax's profiler."""

import logging
from collections.abc import Callable
from typing import Any

import jax
from etils import epath

log = logging.getLogger(__name__)
FOLDER = "profile"
"""In the workdir."""


class Profile:
    """Captures the steps `first` .. `last` of a run in a folder.

    Step n is the n-th update. A run that resumes within these steps captures the rest of them. A
    failure of the profiler is logged, and training goes on.
    """

    def __init__(
        self,
        steps: tuple[int, int] | None,
        workdir: epath.Path,
        print_line: Callable[[str], None],
    ):
        self.steps = steps
        self.folder, self.print_line = workdir / FOLDER, print_line
        self.active = False

    def begin(self, step: int) -> None:
        """Before the update after `step` updates: starts where it is the first to capture."""
        if self.steps and not self.active and self.steps[0] <= step + 1 <= self.steps[1]:
            self.active = self._try(lambda: jax.profiler.start_trace(str(self.folder)))
            if not self.active:
                self.steps = None

    def end(self, step: int, state: Any) -> None:
        """After `step` updates: stops after the last to capture, when the device has done it."""
        if self.active and self.steps and step >= self.steps[1]:
            jax.block_until_ready(state)
            self.close()

    def close(self) -> None:
        """Stops, and says how to look at the profile."""
        if not self.active:
            return
        self.active, self.steps = False, None
        if self._try(jax.profiler.stop_trace):
            self.print_line(
                f"profile: {self.folder}; look at it with: pip install xprof && "
                f"xprof --logdir={self.folder} --port=6006"
            )

    def _try(self, action: Callable[[], None]) -> bool:
        try:
            action()
        except Exception as error:  # the profiler's own failures have no common class
            log.warning("no profile: %s: %s", type(error).__name__, error)
            return False
        return True
