"""Checks that all processes of a run are present, before jax.distributed waits for them.

When jax.distributed times out, it aborts without naming the missing processes. So every process
first sends its number to process 0, over TCP at the address that jax uses next. Process 0 answers
all of them when all are present or when time is up, with the numbers of the missing processes.
"""

import contextlib
import ipaddress
import socket
import time

from pretrain_jax.errors import ConfigError, HostMissing

MESSAGE_BYTES = 4096
"""Most bytes of a message."""
PAUSE = 0.5
"""Seconds between two attempts to reach process 0."""
READ_TIMEOUT = 5.0
"""Seconds that process 0 waits for a caller's number."""
GRACE = 60.0
"""Seconds that the answer of process 0 may come after its own timeout."""


def wait_for_all(address: str, processes: int, process: int, timeout: float) -> None:
    """Returns when all processes 0 .. processes - 1 have made this call, each with its number.

    address   "HOST:PORT" of process 0
    timeout   seconds from this call. A process that has reached process 0 waits for its answer,
              which comes at most `timeout` seconds after process 0 made its call.

    Raises HostMissing, with the missing processes, or ConfigError where two processes have the same
    number or another number of processes.
    """
    host, port = parse_address(address)
    if process == 0:
        answer = serve(host, port, processes, timeout)
    else:
        answer = report(host, port, processes, process, timeout)
    if answer:
        kind, _, message = answer.partition(" ")
        raise {"missing": HostMissing, "wrong": ConfigError}[kind](
            f"{message}: all {processes} processes must be at {address} within {timeout:g} s. See "
            "the logs of the others; --wait=SECONDS waits longer"
        )


def parse_address(address: str) -> tuple[str, int]:
    """("10.0.0.1", 1234) of "10.0.0.1:1234"; an IPv6 address is in brackets."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise ConfigError(f"--coordinator must be HOST:PORT of process 0; received {address!r}")
    return host.strip("[]"), int(port)


def serve(host: str, port: int, processes: int, timeout: float) -> str:
    """Process 0: waits for the others and answers all. Returns the answer; "" if all came."""
    came: set[int] = set()
    until, wrong = time.monotonic() + timeout, ""
    with contextlib.ExitStack() as stack:
        server, callers = stack.enter_context(listening_socket(host, port)), []
        while len(came) < processes - 1 and (remaining := until - time.monotonic()) > 0:
            server.settimeout(remaining)
            try:
                caller = stack.enter_context(server.accept()[0])
            except TimeoutError:
                break
            try:
                caller.settimeout(READ_TIMEOUT)
                number, count = (int(word) for word in caller.recv(MESSAGE_BYTES).split())
            except (OSError, ValueError):
                caller.close()  # not a process of this run, or one that calls again
                continue
            callers.append(caller)
            if count != processes:
                wrong = f"process {number} expects {count} processes, process 0 expects {processes}"
            elif number in came or not 0 < number < processes:
                wrong = f"two processes have the number {number}"
            if wrong:  # wait for those that are calling now, so that they get the answer too
                until = min(until, time.monotonic() + 3 * PAUSE)
            came.add(number)
        answer = (
            f"wrong {wrong}" if wrong else missing_message(sorted(set(range(1, processes)) - came))
        )
        for caller in callers:
            with contextlib.suppress(OSError):
                caller.sendall(f"{answer}\n".encode())
    return answer


def listening_socket(host: str, port: int) -> socket.socket:
    """A listening socket at process 0's own address, or on all interfaces (`local_address`)."""
    address = local_address(host)
    try:
        if address:
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            return socket.create_server((address, port), family=family)
        if socket.has_dualstack_ipv6():
            return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
        return socket.create_server(("", port))
    except OSError as error:
        raise ConfigError(
            f"process 0 must listen at the port of --coordinator; port {port} is not available: "
            f"{error.strerror}. Choose another"
        ) from error


def local_address(host: str) -> str:
    """The one address of this machine that `host` means, at which process 0 listens.

    "" makes it listen on all interfaces. This happens where `host` belongs to another machine (a
    load balancer, a translated address), and where the name is local to this machine: many machines
    have a line "127.0.1.1 NAME" in /etc/hosts, but NAME is another address for the others.
    """
    try:
        resolved = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        return ""
    for family, _, _, _, (address, *_) in resolved:
        address = str(address)
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            try:
                probe.bind((address, 0))
            except OSError:
                continue
        shared = host in (address, "localhost") or not ipaddress.ip_address(address).is_loopback
        return address if shared else ""
    return ""


def report(host: str, port: int, processes: int, process: int, timeout: float) -> str:
    """Other processes: call process 0 until it accepts the call. Returns its answer."""
    until, reason = time.monotonic() + timeout, "no attempt was made"
    while (remaining := until - time.monotonic()) > 0:
        try:
            with socket.create_connection((host, port), timeout=remaining) as caller:
                caller.sendall(f"{process} {processes}".encode())
                caller.settimeout(timeout + GRACE)
                answer = caller.makefile().readline(MESSAGE_BYTES)
            if answer:
                return answer.strip()
            reason = "it closed the connection"
        except OSError as error:
            reason = error.strerror or str(error)
        time.sleep(PAUSE)
    return f"missing process 0 did not answer process {process} ({reason})"


def missing_message(missing: list[int]) -> str:
    """The answer that names the missing processes; "" where none is missing.

    >>> missing_message([2, 3])
    'missing processes 2 and 3 did not come'
    """
    if not missing:
        return ""
    *before, last = map(str, missing)
    names = f"es {', '.join(before)} and {last}" if before else f" {last}"
    return f"missing process{names} did not come"
