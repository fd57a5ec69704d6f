"""Many processes as one run, one process per host: joining, waiting, agreeing.

It builds on `jax.distributed`. At its start a run checks that all processes are present, that none
has failed, and that all have the same configuration and data. Every wait has a name and a timeout,
and its error lists the missing processes.
"""

import contextlib
import json
import logging
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from orbax.checkpoint import multihost

from pretrain_jax import errors
from pretrain_jax.cluster import roll_call
from pretrain_jax.errors import ConfigError, HostMissing, UserError
from pretrain_jax.nested_diff import diff

log = logging.getLogger(__name__)
TIMEOUT = 300.0
"""Seconds that processes wait for each other by default."""
ONE_DAY = 86_400.0
ENVIRONMENTS = ("gcetpu", "gketpu", "slurm", "ompi")
"""jax's names of the environments that are detected. Plain Kubernetes is not among them, because
jax would query a server in every pod."""


@dataclass(frozen=True)
class Hosts:
    """The processes of this run. With one process, all methods return at once.

    In the methods, `what` names the point of the program, for errors, and `timeout` replaces the
    default number of seconds. Every process must make the same calls in the same order.
    """

    timeout: float = TIMEOUT
    """Seconds that a process waits for the others before it raises HostMissing."""

    @property
    def is_primary(self) -> bool:
        """Whether this is process 0, which writes the files that all processes share."""
        return jax.process_index() == 0

    @contextlib.contextmanager
    def all_or_none(self, what: str, timeout: float | None = None) -> Iterator[None]:
        """A block that all processes run: if it fails on one, it fails on all, with that error.

        timeout: seconds between the end of the block on the fastest and on the slowest process.
        """
        failure: Exception | None = None
        try:
            yield
        except Exception as error:
            failure = error
        text = "" if failure is None else f"{type(failure).__name__} {failure}"
        for number, other in enumerate(self.all_gather(what, text, timeout)):
            if failure is not None:
                raise failure
            if other:
                kind, _, message = other.partition(" ")
                known = getattr(errors, kind, None)  # other errors leave a traceback on their host
                raise (known or HostMissing)(f"process {number}: {message or kind}")

    def require_equal(
        self, what: str, mine: Mapping[str, Any], kind: type[UserError], fix: str
    ) -> None:
        """Raises `kind` on every process, with the keys that differ and the fix, unless all
        processes pass the same nested dict."""
        for number, text in enumerate(self.all_gather(what, json.dumps(mine, sort_keys=True))):
            if number == 0:
                first = json.loads(text)
            elif pairs := diff(first, json.loads(text)):
                lines = "".join(
                    f"\n  {key}: process 0 has {one}, process {number} has {other}"
                    for key, (one, other) in pairs.items()
                )
                raise kind(
                    f"every process must have the same {what}, but they differ:{lines}\n{fix}"
                )

    def broadcast(self, what: str, mine: Any) -> Any:
        """The value of process 0, which JSON can hold, on all processes."""
        return json.loads(self.all_gather(what, json.dumps(mine))[0])

    def all_gather(self, what: str, text: str, timeout: float | None = None) -> list[str]:
        """The texts of all processes, by process number."""
        if jax.process_count() == 1:
            return [text]
        self.barrier(what, timeout)
        mine = np.frombuffer(text.encode(), np.uint8)
        sizes = np.asarray(multihost_utils.process_allgather(np.array([len(mine)]))).reshape(-1)
        padded = np.zeros(max(sizes), np.uint8)
        padded[: len(mine)] = mine
        rows = np.asarray(multihost_utils.process_allgather(padded)).reshape(len(sizes), -1)
        return [bytes(row[:size]).decode() for row, size in zip(rows, sizes, strict=True)]

    def barrier(self, what: str, timeout: float | None = None) -> None:
        """Waits until all processes are here. Raises HostMissing, which names the missing ones."""
        if jax.process_count() == 1:
            return
        seconds = self.timeout if timeout is None else timeout
        try:
            multihost.get_barrier_sync_fn()(key=what, timeout_ms=int(seconds * 1000))
        except jax.errors.JaxRuntimeError as error:
            raise HostMissing(barrier_error(str(error), what, seconds)) from None


SINGLE_PROCESS = Hosts()


def barrier_error(message: str, what: str, seconds: float) -> str:
    """The error for a barrier that failed with this message of the coordination service."""
    named = re.search(r"timed out task names:\s*([\s\S]*?)\n\n", message)
    numbers = sorted({int(n) for n in re.findall(r"\d+\b(?=\s|,|$)", named[1])} if named else ())
    if not numbers:
        return f"waiting for all processes at {what!r} failed: {message.partition(chr(10))[0]}"
    names = ", ".join(map(str, numbers))
    return (
        f"all processes must reach {what!r} within {seconds:g} s; missing: {names}. See their "
        "logs; --wait=SECONDS waits longer"
    )


def join(coordinator: str, processes: int, process: int, timeout: float) -> Hosts:
    """Joins the other processes of this run, if there are any. Call it before jax finds devices.

    coordinator          "HOST:PORT" of process 0; "" takes all three from the environment: Cloud
                         TPU VM, GKE's TPU pods, SLURM, Open MPI
    processes, process   the number of processes, and the number of this one

    Raises HostMissing, with the missing processes, when not all join within `timeout` seconds.
    """
    local: Sequence[int] | None = None
    if not 0 < timeout < math.inf:
        raise ConfigError(f"--wait must be a number of seconds above 0; received {timeout:g}")
    if not coordinator:
        if (processes, process) != (1, 0):
            raise ConfigError(
                "--processes and --process need --coordinator=HOST:PORT, the address of process 0; "
                f"received --processes={processes} --process={process} without it"
            )
        coordinator, processes, process, local = detect_cluster(timeout)
    elif not 0 <= process < processes:
        raise ConfigError(
            "--process must be one of 0 .. --processes - 1; received "
            f"--processes={processes} --process={process}"
        )
    if processes > 1:
        roll_call.wait_for_all(coordinator, processes, process, timeout)
        jax.distributed.initialize(
            coordinator,
            processes,
            process,
            local_device_ids=local,
            cluster_detection_method="deactivate",
            coordinator_bind_address=bind_address(coordinator) if process == 0 else None,
            initialization_timeout=int(timeout) + 1,
            shutdown_timeout_seconds=int(timeout) + 1,
        )
        if process:
            logging.getLogger("pretrain_jax").setLevel(logging.WARNING)  # process 0 logs the rest
        log.info("%d processes, %d devices", jax.process_count(), jax.device_count())
    return Hosts(timeout)


def bind_address(coordinator: str) -> str:
    """The address at which process 0 listens: the given one where it is this machine's own (see
    roll_call.local_address), otherwise all interfaces, with a log line.

    >>> bind_address("127.0.0.1:1234")
    '127.0.0.1:1234'
    """
    host, port = roll_call.parse_address(coordinator)
    address = roll_call.local_address(host)
    if not address:
        log.info("%s is not an address of this machine alone: listening on all interfaces", host)
        return f"[::]:{port}"
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def detect_cluster(timeout: float) -> tuple[str, int, int, Sequence[int] | None]:
    """(coordinator, processes, process, local devices) from the environment; ("", 1, 0, None) where
    it describes no cluster."""
    # Not public, but the only code that reads the settings of Google's and SLURM's machines.
    from jax._src.clusters import ClusterEnv

    try:
        kinds = [kind for kind in ClusterEnv._cluster_types if kind.name in ENVIRONMENTS]
        present = [kind.name for kind in kinds if kind.is_env_present()]
        if not present:
            return "", 1, 0, None
        coordinator, processes, process, local = ClusterEnv.auto_detect_unset_distributed_params(
            None, None, None, None, present[0], max(int(timeout), 1)
        )
    except Exception as error:  # a name that does not resolve, a service that does not answer
        raise HostMissing(f"cannot find process 0 from the environment: {error}") from error
    return str(coordinator), int(processes or 1), int(process or 0), local
