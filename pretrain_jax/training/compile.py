"""The training step of each phase, compiled; the first while the text is being read."""

from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Self

from pretrain_jax.composition.build import Design
from pretrain_jax.composition.phases import Phase
from pretrain_jax.progress import progress


class CompiledSteps:
    """steps(phase)(state, batch) -> (state, metrics).

    Compiling needs shapes alone, so it runs while the text is tokenized. Its errors are raised
    where the step is used.
    """

    def __init__(self, design: Design):
        self._design = design
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="compiling")
        self._found: dict[Phase, Future[Any]] = {}

    def begin(self, phase: Phase) -> None:
        """Begins to compile in the background; returns at once."""
        if phase not in self._found:
            self._found[phase] = self._thread.submit(self._compile, phase)

    def __call__(self, phase: Phase) -> Any:
        """The step of a phase, once it is compiled."""
        self.begin(phase)
        with progress("compiling the training step"):
            return self._found[phase].result()

    def _compile(self, phase: Phase) -> Any:
        return self._design.update.trace(phase).lower().compile()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # Report an error elsewhere at once, not when the compiler is done.
        self._thread.shutdown(wait=False, cancel_futures=True)
