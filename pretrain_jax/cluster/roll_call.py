"""Whether all processes of a run are there, before jax.distributed waits for them.

Its own waiting ends in an abort that names nobody. So every process first tells process 0, over
TCP at the address that jax will use next, which one it is; process 0 answers all of them when all
have come, or when time is up, with the names of those that have not.
"""

import contextlib
import ipaddress
import socket
import time

from pretrain_jax.errors import ConfigError, HostMissing

LONGEST = 4096
"""Bytes of a message."""
PAUSE = 0.5
"""Seconds between two tries to reach process 0."""
SPEAK = 5.0
"""Seconds that process 0 waits for a caller to say its number."""
LATER = 60.0
"""Seconds that an answer may come after process 0's own time is up."""


def wait_for_all(address: str, processes: int, process: int, wait: float) -> None:
    """Returns when processes 0 .. processes - 1 have all called; each calls with its own number.

    address: "HOST:PORT" of process 0. wait: seconds from this call; who has reached process 0
    waits for its answer, which comes at most so many seconds after process 0 began.

    Raises HostMissing naming those that did not come, ConfigError where two have the same number
    or another idea of how many there are.
    """
    host, port = parse_address(address)
    if process == 0:
        said = serve(host, port, processes, wait)
    else:
        said = report(host, port, processes, process, wait)
    if said:
        kind, _, message = said.partition(" ")
        raise {"missing": HostMissing, "wrong": ConfigError}[kind](
            f"{message}: all {processes} must be at {address} within {wait:g} s. See what the logs "
            "of the others say; --wait=SECONDS waits longer"
        )


def parse_address(address: str) -> tuple[str, int]:
    """("10.0.0.1", 1234) of "10.0.0.1:1234"; an IPv6 address stands in brackets."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise ConfigError(f"--coordinator is HOST:PORT of process 0; received {address!r}")
    return host.strip("[]"), int(port)


def serve(host: str, port: int, processes: int, wait: float) -> str:
    """Process 0: hears the others out and answers them. Returns the answer, "" when all came."""
    came: set[int] = set()
    until, wrong = time.monotonic() + wait, ""
    with contextlib.ExitStack() as stack:
        server, callers = stack.enter_context(listening_socket(host, port)), []
        while len(came) < processes - 1 and (left := until - time.monotonic()) > 0:
            server.settimeout(left)
            try:
                caller = stack.enter_context(server.accept()[0])
            except TimeoutError:
                break
            try:
                caller.settimeout(SPEAK)
                number, count = (int(word) for word in caller.recv(LONGEST).split())
            except (OSError, ValueError):
                caller.close()  # a stranger; one of us calls again
                continue
            callers.append(caller)
            if count != processes:
                wrong = f"process {number} was told of {count} processes, process 0 of {processes}"
            elif number in came or not 0 < number < processes:
                wrong = f"two processes say that they are number {number}"
            if wrong:  # those that are calling now are told, too
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
            f"process 0 listens at the port of --coordinator; {port} cannot be had: "
            f"{error.strerror}. Choose another"
        ) from error


def local_address(host: str) -> str:
    """The address of this machine that a host stands for: the only one that process 0 listens at.

    "" where there is none, so that it listens on all interfaces: `host` is another machine's (a
    load balancer, an address that is translated), or a name that only this machine takes for
    itself: many have a line "127.0.1.1 NAME" in /etc/hosts, and to the others NAME is elsewhere.
    """
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        return ""
    for family, _, _, _, (address, *_) in found:
        address = str(address)
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            try:
                probe.bind((address, 0))
            except OSError:
                continue
        shared = host in (address, "localhost") or not ipaddress.ip_address(address).is_loopback
        return address if shared else ""
    return ""


def report(host: str, port: int, processes: int, process: int, wait: float) -> str:
    """Another process: calls until process 0 hears it, and returns its answer."""
    until, reason = time.monotonic() + wait, "it was not tried"
    while (left := until - time.monotonic()) > 0:
        try:
            with socket.create_connection((host, port), timeout=left) as caller:
                caller.sendall(f"{process} {processes}".encode())
                caller.settimeout(wait + LATER)
                answer = caller.makefile().readline(LONGEST)
            if answer:
                return answer.strip()
            reason = "it hung up"
        except OSError as error:
            reason = error.strerror or str(error)
        time.sleep(PAUSE)
    return f"missing process 0 did not answer process {process} ({reason})"


def missing_message(missing: list[int]) -> str:
    """missing_message([2, 3]) is "missing processes 2 and 3 did not come"; "" where none is missing."""
    if not missing:
        return ""
    *before, last = map(str, missing)
    names = f"es {', '.join(before)} and {last}" if before else f" {last}"
    return f"missing process{names} did not come"
