"""Checkpoints: each step atomically stores the state, the data state and the resolved config.

    checkpoints/200/state    arrays (Orbax, OCDBT), readable from any mesh
    checkpoints/200/data     JSON: {"seed": 0, "step": 200, "fingerprints": {...}}
    checkpoints/200/config   JSON: the resolved config
    checkpoints/200/commit_success.txt

The commit marker is written last; a step without it does not count. Nothing here depends on the
wall clock, and no stored value can choose code.
"""

import contextlib
from typing import Any, Literal, Self

import jax
import orbax.checkpoint as ocp
from etils import epath

from pretrain_jax.errors import (
    ConfigError,
    DataError,
    InputMissing,
    UnwritableWorkdir,
    WorkdirMismatch,
)
from pretrain_jax.files import outputs
from pretrain_jax.optim.trees import named_leaves
from pretrain_jax.workdir import orbax_options, step_folders
from pretrain_jax.workdir.array_diff import describe_differences

Json = dict[str, Any]


class Checkpoints:
    """The checkpoints of one run: written in the background, restored onto any mesh.

    `every`, `keep` and `keep_every` are the config keys of the section `checkpoint`:

    every: steps between checkpoints
    keep: number of latest checkpoints to keep
    keep_every: also keep each checkpoint at a multiple of this step, forever; 0 = none

    With every=100, keep=2, keep_every=1000 a run of 2,300 steps ends with 1000, 2000, 2200 and
    2300.

    `read_only` neither creates, cleans nor saves: for commands that read a workdir while a run may
    be active. Only one process at a time (or one `jax.distributed` group, whose members make the
    same calls) may write to a directory; `claim.claim` ensures that.

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
        _check_minimum("checkpoint.every", every, 1)
        _check_minimum("checkpoint.keep", keep, 1)
        _check_minimum("checkpoint.keep_every", keep_every, 0)
        self.directory = epath.Path(directory).resolve()
        self.every = every
        self.failed = False
        self._unconfirmed: int | None = None
        self._protected = orbax_options.OneStep()
        orbax_options.quiet_orbax()
        with contextlib.nullcontext() if read_only else outputs.report_unwritable(self.directory):
            if not read_only and jax.process_index() == 0:
                step_folders.set_aside_uncommitted(self.directory)
            self._manager = ocp.CheckpointManager(
                self.directory,
                options=orbax_options.manager_options(read_only, keep, keep_every, self._protected),
                handler_registry=orbax_options.handler_registry(),
            )
        self._last = self.confirmed = self.latest()

    def protect(self, step: int) -> None:
        """Keeps the checkpoint of `step`, present or future, and no longer that of an earlier
        call."""
        self._protected.step = step

    def steps(self) -> list[int]:
        """The committed steps, ascending."""
        return step_folders.committed_steps(self.directory)

    def latest(self) -> int | None:
        """The highest committed step; None if no step is committed."""
        return max(self.steps(), default=None)

    def due(self, step: int) -> bool:
        """Whether `save` writes this step without `force`."""
        return step > 0 and step % self.every == 0

    def is_saved(self, step: int) -> bool:
        """Whether `step` is the last step that was restored, committed or handed to Orbax."""
        return step == self._last

    def raise_failure(self) -> None:
        """Raises UnwritableWorkdir if a background save has ended with an error; never waits.

        Takes microseconds. Does nothing with several processes: there, Orbax would wait for all.
        """
        if (
            self._unconfirmed is not None
            and jax.process_count() == 1
            and not self._manager.is_saving_in_progress()
        ):
            self.wait()

    def save(self, step: int, state: Any, data: Json, config: Json, force: bool = False) -> bool:
        """Writes a tree of jax arrays in the background; False if it is not due or already saved.

        On return the state may be donated to the next update: arrays of an accelerator have been
        copied to the host, and on CPU JAX donates no buffer that is still being read. First waits
        for the previous save; raises UnwritableWorkdir if that failed.
        """
        if not (force or self.due(step)):
            return False
        self.wait()
        if self.is_saved(step):
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
        """Waits until the last save is committed. Raises UnwritableWorkdir if it failed."""
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
        """Waits for the last save, then ends the background threads. Raises UnwritableWorkdir."""
        try:
            self.wait()
        finally:
            with outputs.report_unwritable(self.directory):
                self._manager.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        """Closes; if another error propagates, a failed save becomes a note of it."""
        outputs.close_or_note(self.close, error)

    def metadata(self, step: int) -> dict[str, jax.ShapeDtypeStruct]:
        """Shape and dtype of every stored array, by path; reads no arrays.

        For example, metadata(200)["params/embedding/kernel"] is
        ShapeDtypeStruct(shape=(256, 32), dtype=float32). Raises InputMissing or DataError.
        """
        self._require(step)
        try:
            parts = self._manager.metadata(step).item_metadata or {}
            tree = parts["state"].tree
        except Exception as error:
            raise self._damaged(step, error) from error
        return {
            path: jax.ShapeDtypeStruct(array.shape, array.dtype)
            for path, array in sorted(named_leaves(tree))
        }

    def restore(self, step: int, abstract_state: Any, partial: bool = False) -> Any:
        """The state of a step, each array with the sharding of its `jax.ShapeDtypeStruct`.

        Works on any mesh; an array without a sharding goes to the first device. `partial` ignores
        stored arrays that `abstract_state` lacks ({"params": ...} without the optimizer); otherwise
        they are an error.

        Raises WorkdirMismatch before reading if a path, a shape or a dtype differs: Orbax itself
        would silently cast, cut or pad. Raises InputMissing or DataError for an unusable step.
        """
        self.check_arrays(step, abstract_state, partial)
        self._last = step
        placed = jax.tree.map(_with_sharding, abstract_state)
        arguments = ocp.args.PyTreeRestore(
            item=placed,
            restore_args=ocp.checkpoint_utils.construct_restore_args(placed),
            partial_restore=partial,
        )
        return self._read(step, "state", arguments)

    def read_json(self, step: int, part: Literal["data", "config"]) -> Json:
        """The data state or the config of a step. Tuples were stored as lists."""
        self._require(step)
        content = self._read(step, part, ocp.args.JsonRestore())
        if not isinstance(content, dict):
            raise self._damaged(step, ValueError(f"{part} is a {type(content).__name__}"))
        return content

    def _read(self, step: int, part: str, arguments: ocp.args.CheckpointArgs) -> Any:
        try:
            return self._manager.restore(step, args=ocp.args.Composite(**{part: arguments}))[part]
        except (jax.errors.JaxRuntimeError, MemoryError):
            raise  # out of memory: the checkpoint is fine
        except Exception as error:
            raise self._damaged(step, error) from error

    def _marked(self, step: int) -> bool:
        """Whether a step is committed. Only process 0 looks: a network disk may show the marker to
        other processes later, and all processes must decide the same."""
        return jax.process_index() != 0 or step_folders.is_committed(self.directory, step)

    def _require(self, step: int) -> None:
        if not self._marked(step):
            committed = ", ".join(map(str, self.steps())) or "none"
            raise InputMissing(
                f"{self.directory} has no committed step {step}; committed steps: {committed}"
            )

    def check_arrays(self, step: int, abstract_state: Any, partial: bool = False) -> None:
        """Raises WorkdirMismatch if a path, a shape or a dtype of a step differs."""
        expected = dict(named_leaves(abstract_state))
        differences = describe_differences(self.metadata(step), expected, partial)
        if differences:
            raise WorkdirMismatch(
                f"step {step} in {self.directory} must hold exactly the arrays of this "
                f"configuration, but differs:\n{differences}\n"
                "restore it with the configuration that wrote it (its part `config`), "
                "or start in another --workdir"
            )

    def _save_failed(self, step: int, cause: object) -> UnwritableWorkdir:
        self.failed = True
        return UnwritableWorkdir(
            f"cannot write the checkpoint of step {step} to {self.directory}: {_one_line(cause)}; "
            f"the last complete one is step {self.latest()}. Free some space or fix the "
            "permissions, then run the same command again"
        )

    def _damaged(self, step: int, cause: Exception) -> DataError:
        others = [other for other in self.steps() if other != step]
        return DataError(
            f"cannot read the checkpoint {self.directory / str(step)}: {_one_line(cause)}. Move "
            "that directory away and add --go_back to resume from "
            + (f"step {others[-1]}" if others else "the beginning")
        )


def _with_sharding(leaf: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
    sharding = leaf.sharding or jax.sharding.SingleDeviceSharding(jax.devices()[0])
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)


def _one_line(cause: object) -> str:
    """The first line of an error, without the settings that TensorStore appends."""
    first = (str(cause).strip() or repr(cause)).splitlines()[0]
    return first.partition(" [tensorstore_spec=")[0]


def _check_minimum(key: str, value: int, minimum: int) -> None:
    if value < minimum:
        raise ConfigError(f"{key} must be at least {minimum}; received {value}")
