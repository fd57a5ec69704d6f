"""Checkpoints: one atomic step holds the state, the place in the data and the resolved config.

    checkpoints/200/state    arrays (Orbax, OCDBT), readable from any mesh
    checkpoints/200/data     JSON: {"seed": 0, "step": 200, "fingerprints": {...}}
    checkpoints/200/config   JSON: the resolved config
    checkpoints/200/commit_success.txt

The commit marker is written last: a step without it is not a step. Nothing here depends on the
wall clock, and nothing that is read can choose code.
"""

import contextlib
import functools
import logging
import pathlib
import sys
from collections.abc import Callable, Iterator
from typing import Any, Literal, Self

import jax
import orbax.checkpoint as ocp
from absl import logging as absl_logging
from etils import epath
from orbax.checkpoint import checkpoint_managers

from pretrain_jax.errors import (
    ConfigError,
    DataError,
    InputMissing,
    UnwritableWorkdir,
    WorkdirMismatch,
)
from pretrain_jax.files import outputs
from pretrain_jax.files import parsing as stored_files
from pretrain_jax.workdir import history

log = logging.getLogger(__name__)
Json = dict[str, Any]
COMMIT_MARKER = "commit_success.txt"


class Checkpoints:
    """The checkpoints of one run, written in the background, read onto any mesh.

    `every`, `keep` and `keep_every` are the config keys of the section `checkpoint`:

    every: steps between checkpoints
    keep: number of latest checkpoints to keep
    keep_every: also keep each checkpoint at a multiple of this step, forever; 0 = none

    With every=100, keep=2, keep_every=1000 a run of 2,300 steps ends with 1000, 2000, 2200 and
    2300.

    `read_only` neither creates nor cleans nor saves: for commands that look into a workdir where
    a run may be going on. One process (or one `jax.distributed` group, every member of which
    makes the same calls) may write to a directory at a time; `claim.claim` sees to that.

    >>> with Checkpoints("runs/xl/checkpoints", every=100) as checkpoints:
    ...     if (step := checkpoints.latest()) is not None:
    ...         state = checkpoints.restore(step, abstract_state)
    """

    def __init__(
        self,
        directory: epath.PathLike,
        read_only: bool = False,
        *,
        every: int = 1000,
        keep: int = 2,
        keep_every: int = 0,
    ):
        _check_at_least("checkpoint.every", every, 1)
        _check_at_least("checkpoint.keep", keep, 1)
        _check_at_least("checkpoint.keep_every", keep_every, 0)
        self.directory = epath.Path(directory).resolve()
        self.every = every
        self.failed = False
        self._unconfirmed: int | None = None
        _quiet_orbax()
        with contextlib.nullcontext() if read_only else outputs.report_unwritable(self.directory):
            if not read_only and jax.process_index() == 0:
                _clear_unmarked_steps(self.directory)
            self._manager = ocp.CheckpointManager(
                self.directory,
                options=_manager_options(read_only, keep, keep_every),
                handler_registry=_handlers(),
            )
        self._last = self.confirmed = self.latest()

    def steps(self) -> list[int]:
        """The committed steps, ascending."""
        return _committed_steps(self.directory)

    def latest(self) -> int | None:
        """The highest committed step, or None before the first."""
        return max(self.steps(), default=None)

    def due(self, step: int) -> bool:
        """Whether `save` would write this step without `force`."""
        return step > 0 and step % self.every == 0

    def stands(self, step: int) -> bool:
        """Whether `step` is committed, or being saved, by this process or before."""
        return step == self._last

    def settle(self) -> None:
        """Raises what a save in the background left to raise, as soon as it has ended; never waits.

        Between two steps it costs microseconds. Not with many processes, which wait for each other
        where Orbax waits for a save.
        """
        if (
            self._unconfirmed is not None
            and jax.process_count() == 1
            and not self._manager.is_saving_in_progress()
        ):
            self.wait()

    def save(self, step: int, state: Any, data: Json, config: Json, force: bool = False) -> bool:
        """Writes a step in the background; False where none is due or the step stands already.

        On return the state may be donated to the next update: an accelerator's arrays have been
        copied to the host, and on CPU JAX donates no buffer that is still being read. Waits for
        the save before this one, whose failure is raised here.
        """
        if not (force or self.due(step)):
            return False
        self.wait()
        if self.stands(step):
            return False
        parts = ocp.args.Composite(
            state=ocp.args.PyTreeSave(state),
            data=ocp.args.JsonSave(data),
            config=ocp.args.JsonSave(config),
        )
        try:
            accepted = self._manager.save(step, args=parts, force=True)
        except Exception as error:
            raise self._save_failed(step, error) from error
        if not accepted:
            raise self._save_failed(step, "Orbax declined to save it")
        self._unconfirmed = self._last = step
        return True

    def wait(self) -> None:
        """Returns when the last save is committed; raises UnwritableWorkdir when it failed."""
        step, self._unconfirmed = self._unconfirmed, None
        if step is None:
            return
        try:
            self._manager.wait_until_finished()
        except Exception as error:
            raise self._save_failed(step, error) from error
        if not self._marked(step):
            raise self._save_failed(step, "it was written but has no commit marker")
        self.confirmed = step

    def close(self) -> None:
        """Waits, raises what a save left to raise, and ends the background threads."""
        try:
            self.wait()
        finally:
            with outputs.report_unwritable(self.directory):
                self._manager.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        """Closes; a failed save is added as a note to an error that is already on its way."""
        try:
            self.close()
        except UnwritableWorkdir as failed:
            if error is None:
                raise
            error.add_note(str(failed))

    def metadata(self, step: int) -> dict[str, jax.ShapeDtypeStruct]:
        """Path, shape and dtype of every stored array, without reading any of them.

        metadata(200)["params/embedding/kernel"] is, for example,
        ShapeDtypeStruct(shape=(256, 32), dtype=float32).
        """
        self._require(step)
        try:
            parts = self._manager.metadata(step).item_metadata or {}
            tree = parts["state"].tree
        except Exception as error:
            raise self._damaged(step, error) from error
        return {
            path: jax.ShapeDtypeStruct(array.shape, array.dtype)
            for path, array in sorted(_leaves(tree))
        }

    def restore(self, step: int, abstract_state: Any, partial: bool = False) -> Any:
        """The state of a step, each array on the sharding of its `jax.ShapeDtypeStruct`.

        The mesh need not be the one that wrote the step; an array without a sharding goes to the
        first device. With `partial`, arrays that are stored but not asked for are left where they
        are ({"params": ...} without the optimizer); otherwise they are refused as unexpected.

        Raises WorkdirMismatch before reading anything where a path, a shape or a dtype differs:
        Orbax itself would cast, cut or pad in silence.
        """
        self.compare(step, abstract_state, partial)
        self._last = step
        placed = jax.tree.map(_on_a_device, abstract_state)
        arguments = ocp.args.PyTreeRestore(
            item=placed,
            restore_args=ocp.checkpoint_utils.construct_restore_args(placed),
            partial_restore=partial,
        )
        return self._read(step, "state", arguments)

    def read_json(self, step: int, part: Literal["data", "config"]) -> Json:
        """The data state or the config of a step; tuples come back as lists."""
        self._require(step)
        found = self._read(step, part, ocp.args.JsonRestore())
        if not isinstance(found, dict):
            raise self._damaged(step, ValueError(f"{part} is a {type(found).__name__}"))
        return found

    def _read(self, step: int, part: str, arguments: ocp.args.CheckpointArgs) -> Any:
        try:
            return self._manager.restore(step, args=ocp.args.Composite(**{part: arguments}))[part]
        except (jax.errors.JaxRuntimeError, MemoryError):
            raise  # out of memory: nothing is wrong with the checkpoint
        except Exception as error:
            raise self._damaged(step, error) from error

    def _marked(self, step: int) -> bool:
        """Whether a step is committed. Process 0 looks for all: a network disk may show the others
        its marker later, and what each decided for itself they would not decide alike."""
        marker = self.directory / str(step) / COMMIT_MARKER
        return jax.process_index() != 0 or marker.exists()

    def _require(self, step: int) -> None:
        if not self._marked(step):
            there = ", ".join(map(str, self.steps())) or "none"
            raise InputMissing(
                f"{self.directory} holds no committed step {step}; committed steps: {there}"
            )

    def compare(self, step: int, abstract_state: Any, partial: bool = False) -> None:
        """Raises WorkdirMismatch where a path, a shape or a dtype of a step is another."""
        stored = self.metadata(step)
        wanted = dict(_leaves(abstract_state))
        both = sorted(stored.keys() & wanted.keys())
        differences = {
            "missing from the checkpoint": sorted(wanted.keys() - stored.keys()),
            "unexpected in the checkpoint": []
            if partial
            else sorted(stored.keys() - wanted.keys()),
            "shape": [
                f"{path}: stored {stored[path].shape}, wanted {wanted[path].shape}"
                for path in both
                if stored[path].shape != wanted[path].shape
            ],
            "dtype": [
                f"{path}: stored {stored[path].dtype}, wanted {wanted[path].dtype}"
                for path in both
                if stored[path].dtype != wanted[path].dtype
            ],
        }
        if any(differences.values()):
            raise WorkdirMismatch(
                f"step {step} in {self.directory} must hold exactly the arrays of this "
                f"configuration, but differs:\n{_table(differences)}\n"
                "restore it with the configuration that wrote it (its part `config`), "
                "or start in another --workdir"
            )

    def _save_failed(self, step: int, cause: object) -> UnwritableWorkdir:
        self.failed = True
        return UnwritableWorkdir(
            f"the checkpoint of step {step} could not be written to {self.directory}: "
            f"{_one_line(cause)}; the last complete one is step {self.latest()}; free some space "
            "or mend the permissions, then start the same command again"
        )

    def _damaged(self, step: int, cause: Exception) -> DataError:
        others = [other for other in self.steps() if other != step]
        return DataError(
            f"the checkpoint {self.directory / str(step)} cannot be read: {_one_line(cause)}; move "
            "that directory away and add --go_back to go on from "
            + (f"step {others[-1]}" if others else "the beginning")
        )


def _manager_options(read_only: bool, keep: int, keep_every: int) -> ocp.CheckpointManagerOptions:
    policies: list[checkpoint_managers.PreservationPolicy] = [checkpoint_managers.LatestN(keep)]
    if keep_every:
        policies.append(checkpoint_managers.EveryNSteps(keep_every))
    return ocp.CheckpointManagerOptions(
        read_only=read_only,
        create=not read_only,
        cleanup_tmp_directories=not read_only,
        preservation_policy=checkpoint_managers.AnyPreservationPolicy(policies),
    )


def _handlers() -> ocp.handlers.CheckpointHandlerRegistry:
    """How each part is written and read: fixed here, never by what a checkpoint says."""
    registry = ocp.handlers.DefaultCheckpointHandlerRegistry()
    for part, handler, save, restore in (
        ("state", ocp.PyTreeCheckpointHandler(), ocp.args.PyTreeSave, ocp.args.PyTreeRestore),
        ("data", ocp.JsonCheckpointHandler(), ocp.args.JsonSave, ocp.args.JsonRestore),
        ("config", ocp.JsonCheckpointHandler(), ocp.args.JsonSave, ocp.args.JsonRestore),
    ):
        registry.add(part, save, handler)
        registry.add(part, restore, handler)
    return registry


def _step_directories(directory: epath.Path) -> list[int]:
    with outputs.report_unwritable(directory, OSError):  # a file may lie in its place
        if not directory.exists():
            return []
        names = [child.name for child in directory.iterdir()]
    # str.isdecimal also holds for digits of other scripts, which are never ours.
    return sorted(int(name) for name in names if name.isascii() and name.isdecimal())


def _committed_steps(directory: epath.Path) -> list[int]:
    return [
        step
        for step in _step_directories(directory)
        if (directory / str(step) / COMMIT_MARKER).exists()
    ]


def latest_config(directory: epath.Path) -> Json | None:
    """The config of the last committed step, for where config.json is missing; None before it.

    Reads the file itself: Orbax would wait for the other processes.
    """
    step = max(_committed_steps(directory), default=None)
    if step is None:
        return None
    log.warning("config.json is missing: the checkpoint of step %d says what the run is", step)
    return stored_files.read_json(
        directory / str(step) / "config" / "metadata", "put config.json back"
    )


def _clear_unmarked_steps(directory: epath.Path) -> None:
    """Takes directories that look like steps but lack the marker out of Orbax's sight.

    On a local disk Orbax takes every directory with a step's name for a step, and would count it
    among the last n. It may be what is left of a deletion cut short, or a step that lost its
    marker: nobody can tell, so it is set aside as N.incomplete for the user to judge. On gs://
    Orbax reads the marker itself and cleans up.
    """
    if "://" in str(directory):
        return
    for step in sorted(set(_step_directories(directory)) - set(_committed_steps(directory))):
        path = directory / str(step)
        aside = directory / f"{step}.incomplete"
        if aside.exists():
            aside = history.unused(directory, f"{step}.incomplete.")
        path.rename(aside)
        log.warning(
            "%s has no %s, which is written last: set aside as %s; delete it, or restore the file",
            path,
            COMMIT_MARKER,
            aside.name,
        )


def _leaves(tree: Any) -> Iterator[tuple[str, Any]]:
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        yield jax.tree_util.keystr(path, simple=True, separator="/"), leaf


def _on_a_device(leaf: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
    sharding = leaf.sharding or jax.sharding.SingleDeviceSharding(jax.devices()[0])
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)


def _table(differences: dict[str, list[str]], most: int = 20) -> str:
    lines: list[str] = []
    for title, rows in differences.items():
        lines += [f"  {title} ({len(rows)})"] if rows else []
        lines += [f"    {row}" for row in rows[:most]]
        lines += [f"    and {len(rows) - most} more"] if len(rows) > most else []
    return "\n".join(lines)


def _one_line(cause: object) -> str:
    """The first line of an error, without the dump of settings that TensorStore appends."""
    first = (str(cause).strip() or repr(cause)).splitlines()[0]
    return first.partition(" [tensorstore_spec=")[0]


def _check_at_least(key: str, value: int, least: int) -> None:
    if value < least:
        raise ConfigError(f"{key} must be at least {least}; received {value}")


def _only_when_verbose(record: logging.LogRecord) -> bool:
    """Keeps Orbax's own log lines for --verbosity=1: its failures are raised here instead."""
    from_orbax = "orbax" in pathlib.PurePath(record.pathname).parts
    return not from_orbax or absl_logging.get_verbosity() >= absl_logging.DEBUG


def _quiet_orbax() -> None:
    logger = absl_logging.get_absl_logger()
    if _only_when_verbose not in logger.filters:
        logger.addFilter(_only_when_verbose)
        logging.getLogger("asyncio").addFilter(_but_never_retrieved)
        sys.unraisablehook = functools.partial(_but_closed_loops, sys.unraisablehook)


def _but_never_retrieved(record: logging.LogRecord) -> bool:
    """Of many files that fail, Orbax raises the error of one and leaves the others in its tasks."""
    return "exception was never retrieved" not in record.getMessage()


def _but_closed_loops(others: Callable[[Any], Any], unraisable: Any) -> None:
    """After one file fails, Orbax closes its event loop while TensorStore still writes others, each
    of which then prints a traceback over what the user is to read."""
    if str(unraisable.exc_value) != "Event loop is closed":
        others(unraisable)
