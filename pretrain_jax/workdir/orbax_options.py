"""Settings of Orbax: what it keeps, how it reads and writes each part, and what it logs."""

import functools
import logging
import pathlib
import sys
from collections.abc import Callable, Sequence
from typing import Any

import jax
import orbax.checkpoint as ocp
from absl import logging as absl_logging
from orbax.checkpoint import checkpoint_managers


class OneStep(checkpoint_managers.PreservationPolicy):
    """Keeps the checkpoint of one step, which can change."""

    def __init__(self) -> None:
        self.step: int | None = None

    def should_preserve(self, checkpoints: Sequence[Any], *, context: Any) -> Sequence[bool]:
        """For each checkpoint, whether this policy keeps it."""
        del context
        return [checkpoint.step == self.step for checkpoint in checkpoints]


def manager_options(
    read_only: bool, keep: int, keep_every: int, protected: OneStep
) -> ocp.CheckpointManagerOptions:
    """Options of the checkpoint manager; see `Checkpoints`."""
    policies: list[checkpoint_managers.PreservationPolicy] = [
        checkpoint_managers.LatestN(keep),
        protected,
    ]
    if keep_every:
        policies.append(checkpoint_managers.EveryNSteps(keep_every))
    return ocp.CheckpointManagerOptions(
        read_only=read_only,
        create=not read_only,
        cleanup_tmp_directories=not read_only,
        preservation_policy=checkpoint_managers.AnyPreservationPolicy(policies),
    )


def handler_registry() -> ocp.handlers.CheckpointHandlerRegistry:
    """How to write and read each part. Fixed here, so no checkpoint can choose code."""
    # Replicas that share the writing of an array save time only if each process has a disk of its
    # own; in one process, every slice of every shape would be compiled first.
    arrays = ocp.type_handlers.ArrayHandler(use_replica_parallel=jax.process_count() > 1)
    types = ocp.type_handlers.create_type_handler_registry((jax.Array, arrays))
    state = ocp.PyTreeCheckpointHandler(type_handler_registry=types)
    registry = ocp.handlers.DefaultCheckpointHandlerRegistry()
    for part, handler, save, restore in (
        ("state", state, ocp.args.PyTreeSave, ocp.args.PyTreeRestore),
        ("data", ocp.JsonCheckpointHandler(), ocp.args.JsonSave, ocp.args.JsonRestore),
        ("config", ocp.JsonCheckpointHandler(), ocp.args.JsonSave, ocp.args.JsonRestore),
    ):
        registry.add(part, save, handler)
        registry.add(part, restore, handler)
    return registry


def _only_when_verbose(record: logging.LogRecord) -> bool:
    """Drops log lines of Orbax unless the verbosity of absl is DEBUG (absl.logging)."""
    from_orbax = "orbax" in pathlib.PurePath(record.pathname).parts
    return not from_orbax or absl_logging.get_verbosity() >= absl_logging.DEBUG


def quiet_orbax() -> None:
    """Silences log lines and tracebacks of Orbax: `Checkpoints` raises its failures instead."""
    logger = absl_logging.get_absl_logger()
    if _only_when_verbose not in logger.filters:
        logger.addFilter(_only_when_verbose)
        logging.getLogger("asyncio").addFilter(_is_not_unretrieved)
        sys.unraisablehook = functools.partial(_ignore_closed_loops, sys.unraisablehook)


def _is_not_unretrieved(record: logging.LogRecord) -> bool:
    """Drops errors that no one retrieves: if many files fail, Orbax raises one error and leaves the
    others in its tasks."""
    return "exception was never retrieved" not in record.getMessage()


def _ignore_closed_loops(next_hook: Callable[[Any], Any], unraisable: Any) -> None:
    """Ignores writes into a closed event loop: after one file fails, Orbax closes its loop while
    TensorStore still writes others, and each would print a traceback over the error message."""
    if str(unraisable.exc_value) != "Event loop is closed":
        next_hook(unraisable)
