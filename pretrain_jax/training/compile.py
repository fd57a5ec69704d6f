"""Compiles the training step of each phase, the first one while the text is tokenized."""

from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Self

from pretrain_jax.composition.build import Design
from pretrain_jax.composition.phases import Phase
from pretrain_jax.progress import progress


class CompiledSteps:
    """steps(phase)(state, batch, frozen) -> (state, metrics).

    Compiling needs only shapes, so it runs in a thread while the text is tokenized. Using the step
    raises its errors.
    """

    def __init__(self, design: Design):
        self._design = design
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="compiling")
        self._futures: dict[Phase, Future[Any]] = {}

    def start(self, phase: Phase) -> None:
        """Starts to compile in the background; returns at once."""

        def compile_step() -> Any:
            update = self._design.update
            return update.step.trace(*update.abstract_arguments(phase)).lower().compile()

        if phase not in self._futures:
            self._futures[phase] = self._thread.submit(compile_step)

    def __call__(self, phase: Phase) -> Any:
        """The compiled step of a phase; waits for it."""
        self.start(phase)
        with progress("compiling the training step"):
            return self._futures[phase].result()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # Do not wait for the compiler if another part of the run fails.
        self._thread.shutdown(wait=False, cancel_futures=True)
