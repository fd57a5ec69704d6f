"""The page of runs that train, as a browser gets it."""

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
