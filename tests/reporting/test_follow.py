"""The page of runs that train, as a browser gets it."""

import contextlib
import http.client
import os
import subprocess
import sys
import threading
import urllib.error
import urllib.request

import pytest
from report_runs import data_of, write_run

from pretrain_jax import follow
from pretrain_jax.errors import ConfigError
from pretrain_jax.reporting import report_page, run_files


@pytest.fixture
def runs(tmp_path):
    return [write_run(tmp_path, "first", [4.0, 3.0, 2.5])]


def test_following_serves_the_page_as_it_grows(runs):
    make = lambda: report_page.make_page(run_files.read_runs(runs[:1]), refresh=7)  # noqa: E731
    with follow.open_server(0, make) as server:
        assert server.server_address[0] == "127.0.0.1"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_address[1]}"
        with urllib.request.urlopen(f"{address}/") as answer:
            page = answer.read().decode()
        assert 'http-equiv="refresh" content="7"' in page
        with (runs[0] / "metrics.jsonl").open("a") as file:
            file.write('{"step": 9, "train/grad_norm": 0.5}\n')
        with urllib.request.urlopen(f"{address}/") as answer:
            made = data_of(answer.read().decode())
        assert {
            chart["title"]: chart["series"][0]["points"][-1]
            for chart in made["charts"]
            if chart["title"] == "Gradient norm"
        } == {"Gradient norm": [9, 0.5]}
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(f"{address}/../config.json")
        with pytest.raises(ConfigError, match="--port must be free"):
            follow.open_server(server.server_address[1], make)
        server.shutdown()


@contextlib.contextmanager
def serve(make):
    """Yields the port of a server, and what sends it a request and returns (status, text)."""
    with follow.open_server(0, make) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        port = server.server_address[1]

        def ask(path="/", method="GET", **headers):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
            with contextlib.closing(connection):
                connection.request(method, path, headers=headers)
                answer = connection.getresponse()
                return answer.status, answer.read().decode()

        yield port, ask
        server.shutdown()


def test_a_page_of_another_site_gets_nothing():
    with serve(lambda: "page") as (port, ask):
        # A browser leaves out port 80, and a tunnel may have another port than the server.
        for host in (
            f"127.0.0.1:{port}",
            f"localhost:{port}",
            "localhost",
            f"localhost:{port + 1}",
        ):
            assert ask(Host=host) == (200, "page")
        other = "evil.example.com"
        for host in (other, f"{other}:{port}", "", "[::1]", f"127.0.0.1.{other}",
                     f"127.0.0.1:{port}.{other}"):  # fmt: skip
            for method in ("GET", "HEAD"):
                status, text = ask(method=method, Host=host)
                assert status == 403 and "page" not in text
            assert repr(host) in ask(Host=host)[1] and "127.0.0.1 or localhost" in ask(Host=host)[1]


def test_the_page_has_one_path_with_any_query_and_a_head():
    with serve(lambda: "page") as (port, ask):
        assert ask("/?x=1") == ask("/?") == (200, "page")
        assert ask("/x")[0] == ask("/x?/")[0] == ask("/config.json")[0] == 404
        assert ask("/x", "HEAD") == (404, "")
        assert ask("/", "HEAD") == (200, "")
        with urllib.request.urlopen(
            urllib.request.Request(f"http://127.0.0.1:{port}/", method="HEAD")
        ) as answer:
            assert answer.headers["Content-Length"] == "4"


def test_a_damaged_file_is_named_in_the_browser(tmp_path):
    run = write_run(tmp_path, os.fsdecode(b"first\xff"), [4.0])
    with serve(lambda: report_page.make_page(run_files.read_runs([run]))) as (_, ask):
        status, text = ask()
        assert status == 200 and "first\\udcff" in text
        (run / "config.json").write_text('{"model": "x"}')
        status, text = ask()
        assert status == 500 and text.startswith('DataError: "model" in ') and "\n" not in text
        (run / "config.json").unlink()
        status, text = ask()
        assert status == 500 and text.startswith("InputMissing: --workdir must be")


def test_the_command_follows_until_it_is_stopped(runs):
    command = [sys.executable, "-m", "pretrain_jax.follow", f"--workdir={runs[0]}"]
    with subprocess.Popen(
        [*command, "--port=0", "--every=9"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        with urllib.request.urlopen(process.stdout.readline().decode().strip()) as answer:
            assert 'content="9"' in answer.read().decode()
        process.terminate()
        assert process.wait(30) == 75
