"""Many processes as one run, one process for each host: joining, waiting, agreeing.

The engine is `jax.distributed`. Here is what a run asks of it at its start: that all are there,
that none has failed, that all have the same configuration and the same data. Every wait has a
name and an end, and says which process did not come.
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
from pretrain_jax.differences import differing
from pretrain_jax.errors import ConfigError, HostMissing, UserError

log = logging.getLogger(__name__)
WAIT = 300.0
"""Seconds that processes wait for one another."""
ONE_DAY = 86_400.0
ENVIRONMENTS = ("gcetpu", "gketpu", "slurm", "ompi")
"""As jax calls them. Not plain Kubernetes, where it would ask a server in every pod."""


@dataclass(frozen=True)
class Hosts:
    """The processes of this run; alone, there is nothing to wait for."""

    wait: float = WAIT
    """Seconds that a process waits for the others before it says who is missing."""

    @property
    def is_primary(self) -> bool:
        """Whether this is process 0, which writes what is written once."""
        return jax.process_index() == 0

    @contextlib.contextmanager
    def all_or_none(self, what: str, wait: float | None = None) -> Iterator[None]:
        """A block that all processes do: where it fails for one, it fails for all, with its error.

        wait: seconds that the slowest may take longer than the quickest.
        """
        mine: Exception | None = None
        try:
            yield
        except Exception as error:
            mine = error
        said = "" if mine is None else f"{type(mine).__name__} {mine}"
        for number, other in enumerate(self.all_gather(what, said, wait)):
            if mine is not None:
                raise mine
            if other:
                kind, _, message = other.partition(" ")
                known = getattr(errors, kind, None)  # what is no UserError has its traceback there
                raise (known or HostMissing)(f"process {number}: {message or kind}")

    def require_equal(
        self, what: str, mine: Mapping[str, Any], kind: type[UserError], fix: str
    ) -> None:
        """Raises `kind` on every process unless all have the same nested dict, naming the keys."""
        for number, text in enumerate(self.all_gather(what, json.dumps(mine, sort_keys=True))):
            if number == 0:
                first = json.loads(text)
            elif pairs := differing(first, json.loads(text)):
                lines = "".join(
                    f"\n  {key}: process 0 has {one}, process {number} has {other}"
                    for key, (one, other) in pairs.items()
                )
                raise kind(
                    f"every process must have the same {what}, but they differ:{lines}\n{fix}"
                )

    def broadcast(self, what: str, mine: str) -> str:
        """What process 0 says, on all of them."""
        return self.all_gather(what, mine)[0]

    def all_gather(self, what: str, text: str, wait: float | None = None) -> list[str]:
        """What each process says, by number; all of them call this."""
        if jax.process_count() == 1:
            return [text]
        self.barrier(what, wait)
        mine = np.frombuffer(text.encode(), np.uint8)
        sizes = np.asarray(multihost_utils.process_allgather(np.array([len(mine)]))).reshape(-1)
        padded = np.zeros(max(sizes), np.uint8)
        padded[: len(mine)] = mine
        rows = np.asarray(multihost_utils.process_allgather(padded)).reshape(len(sizes), -1)
        return [bytes(row[:size]).decode() for row, size in zip(rows, sizes, strict=True)]

    def barrier(self, what: str, wait: float | None = None) -> None:
        """Waits until all processes are here. Raises HostMissing naming those that are not."""
        if jax.process_count() == 1:
            return
        seconds = self.wait if wait is None else wait
        try:
            multihost.get_barrier_sync_fn()(key=what, timeout_ms=int(seconds * 1000))
        except jax.errors.JaxRuntimeError as error:
            raise HostMissing(barrier_error(str(error), what, seconds)) from None


SINGLE_PROCESS = Hosts()
"""One process."""


def barrier_error(message: str, what: str, seconds: float) -> str:
    """What to tell of a barrier that failed with this message of the coordination service."""
    named = re.search(r"timed out task names:\s*([\s\S]*?)\n\n", message)
    numbers = sorted({int(n) for n in re.findall(r"\d+\b(?=\s|,|$)", named[1])} if named else ())
    if not numbers:
        return f"waiting for all processes at {what!r} failed: {message.partition(chr(10))[0]}"
    names = ", ".join(map(str, numbers))
    return (
        f"all processes must come to {what!r} within {seconds:g} s; missing: {names}. See what "
        "their logs say; --wait=SECONDS waits longer"
    )


def join(coordinator: str, processes: int, process: int, wait: float) -> Hosts:
    """Joins the other processes of this run, where there are any; call it before jax has devices.

    coordinator: "HOST:PORT" of process 0, with the number of processes and this one's number; with
    an empty one the environment tells: Cloud TPU VM, GKE's TPU pods, SLURM, Open MPI.

    Raises HostMissing when not all come within `wait` seconds, naming those that did not.
    """
    local: Sequence[int] | None = None
    if not 0 < wait < math.inf:
        raise ConfigError(f"--wait is a number of seconds above 0; received {wait:g}")
    if not coordinator:
        if (processes, process) != (1, 0):
            raise ConfigError(
                "--processes and --process go with --coordinator=HOST:PORT, the address of process "
                f"0; received --processes={processes} --process={process} without it"
            )
        coordinator, processes, process, local = detect_cluster(wait)
    elif not 0 <= process < processes:
        raise ConfigError(
            "--process is one of 0 .. --processes - 1; received "
            f"--processes={processes} --process={process}"
        )
    if processes > 1:
        roll_call.wait_for_all(coordinator, processes, process, wait)
        jax.distributed.initialize(
            coordinator,
            processes,
            process,
            local_device_ids=local,
            cluster_detection_method="deactivate",
            coordinator_bind_address=bind_address(coordinator) if process == 0 else None,
            initialization_timeout=int(wait) + 1,
            shutdown_timeout_seconds=int(wait) + 1,
        )
        if process:
            logging.getLogger("pretrain_jax").setLevel(logging.WARNING)  # process 0 says it
        log.info("%d processes, %d devices", jax.process_count(), jax.device_count())
    return Hosts(wait)


def bind_address(coordinator: str) -> str:
    """Where process 0 listens: at the address it was given, or on all interfaces, which is logged.

    >>> bind_address("127.0.0.1:1234")
    '127.0.0.1:1234'
    """
    host, port = roll_call.parse_address(coordinator)
    address = roll_call.local_address(host)
    if not address:
        log.info("%s is no address of this machine alone: listening on all interfaces", host)
        return f"[::]:{port}"
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def detect_cluster(wait: float) -> tuple[str, int, int, Sequence[int] | None]:
    """What the environment says: address, processes, process, local devices; ("", 1, 0, None)
    where it says nothing."""
    # Not public, but the one place that knows how Google's and SLURM's machines tell it.
    from jax._src.clusters import ClusterEnv

    try:
        kinds = [kind for kind in ClusterEnv._cluster_types if kind.name in ENVIRONMENTS]
        there = [kind.name for kind in kinds if kind.is_env_present()]
        if not there:
            return "", 1, 0, None
        found = ClusterEnv.auto_detect_unset_distributed_params(
            None, None, None, None, there[0], max(int(wait), 1)
        )
    except Exception as error:  # a name that does not resolve, a service that does not answer
        raise HostMissing(f"the environment does not tell where process 0 is: {error}") from error
    coordinator, processes, process, local = found
    return str(coordinator), int(processes or 1), int(process or 0), local
