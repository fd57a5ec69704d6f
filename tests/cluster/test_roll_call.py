"""Errors name every missing process. Threads stand for hosts: the roll call only needs sockets."""

import socket
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from pretrain_jax.cluster import roll_call
from pretrain_jax.errors import ConfigError, HostMissing


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def calls(numbers, processes, timeout=1.5, counts=None):
    """The result of the roll call on each of these processes: None, or its error.

    counts: the number of processes that some of them expect, by process number.
    """
    address = f"127.0.0.1:{free_port()}"

    def one(number):
        try:
            count = (counts or {}).get(number, processes)
            roll_call.wait_for_all(address, count, number, timeout)
        except (HostMissing, ConfigError) as error:
            return error
        return None

    with ThreadPoolExecutor(len(numbers)) as pool:
        return list(pool.map(one, numbers))


@pytest.mark.parametrize("numbers", [[0, 1], [3, 2, 1, 0]])
def test_no_error_when_all_are_present(numbers):
    assert calls(numbers, len(numbers), timeout=20) == [None] * len(numbers)


def test_all_present_processes_name_the_missing_ones():
    begin = time.monotonic()
    found = calls([0, 1, 4], 5)
    assert time.monotonic() - begin < 5
    assert all(isinstance(error, HostMissing) for error in found)
    for error in found:
        assert str(error).startswith(
            "processes 2 and 3 did not come: all 5 processes must be at 127.0.0.1:"
        )
        assert "within 1.5 s" in str(error)


def test_a_missing_process_0_is_named():
    (found,) = calls([1], 2)
    assert isinstance(found, HostMissing)
    assert "process 0 did not answer process 1 (Connection refused)" in str(found)


def test_another_count_and_a_number_used_twice_are_errors():
    found = calls([0, 1, 2], 3, counts={2: 4}, timeout=10)
    assert all(isinstance(error, ConfigError) for error in (found[0], found[2]))
    assert "process 2 expects 4 processes, process 0 expects 3" in str(found[0])
    found = calls([0, 1, 1], 3, timeout=10)
    assert "two processes have the number 1" in str(found[0])


def test_other_connections_change_nothing():
    """An HTTP client calls process 0 while it waits for process 1."""
    address = f"127.0.0.1:{free_port()}"
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(roll_call.wait_for_all, address, 2, 0, 30.0)
        until = time.monotonic() + 20
        while True:
            try:
                caller = socket.create_connection(roll_call.parse_address(address), timeout=5)
                break
            except OSError:
                assert time.monotonic() < until
        with caller:
            caller.sendall(b"GET / HTTP/1.1\r\n\r\n")
            assert caller.recv(10) == b""  # the connection is closed
        roll_call.wait_for_all(address, 2, 1, 30.0)
        assert first.result() is None


@pytest.mark.parametrize("address", ["", "localhost", "localhost:", "localhost:http", ":80", "a:0"])
def test_an_address_without_a_port_is_refused(address):
    with pytest.raises(ConfigError, match="--coordinator must be HOST:PORT of process 0"):
        roll_call.wait_for_all(address, 2, 1, 1.0)


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("127.0.0.2", "127.0.0.2"),
        ("198.51.100.7", ""),  # reserved for documentation
        ("no-such-host.invalid", ""),
    ],
)
def test_the_address_at_which_process_0_listens(host, address):
    assert roll_call.local_address(host) == address


def test_a_name_that_is_local_to_this_machine_is_not_an_address(monkeypatch):
    answer = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: answer)
    assert roll_call.local_address("myhost") == ""
    assert roll_call.local_address("localhost") == "127.0.0.1"


def test_process_0_listens_at_that_address_alone():
    port = free_port()
    with roll_call.listening_socket("127.0.0.1", port) as server:
        assert server.getsockname() == ("127.0.0.1", port)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.2", port), timeout=5)
    with roll_call.listening_socket("198.51.100.7", port):
        socket.create_connection(("127.0.0.2", port), timeout=5).close()


def test_a_port_that_is_taken_is_refused():
    with socket.create_server(("", 0), family=socket.AF_INET6, dualstack_ipv6=True) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"port {port} is not available: .*Choose another"):
            roll_call.wait_for_all(f"127.0.0.1:{port}", 2, 0, 1.0)
