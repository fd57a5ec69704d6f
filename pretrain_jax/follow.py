"""Show a page about runs while they train, in a browser on this machine.

    python -m pretrain_jax.follow --workdir=runs/a [--workdir=runs/b ...] [--port=8000] [--every=30]

--workdir  Folder of a run; several runs are drawn over each other.
--port     Port of 127.0.0.1; 0 takes a free one (default: 8000).
--every    Seconds after which the browser loads the page again (30).

The page is that of `python -m pretrain_jax.report`, made anew for each visit. Only this machine can
visit it; from another one, forward the port: ssh -L 8000:127.0.0.1:8000 HOST. Ctrl-C ends.
"""

import http.server
import logging
import re
import sys
from collections.abc import Callable
from typing import Any

from pretrain_jax import command
from pretrain_jax.composition.ranges import COUNT
from pretrain_jax.errors import ConfigError, UserError, short_repr
from pretrain_jax.files import paths
from pretrain_jax.registry import Range
from pretrain_jax.report import take_workdirs

FLAGS = {"workdir": "", "port": "8000", "every": "30"}
HOST = "127.0.0.1"
log = logging.getLogger(__name__)


def main(argv: list[str]) -> int:
    """Runs one command line; returns the exit code."""
    workdirs, rest = take_workdirs(argv)
    line = command.parse(rest, FLAGS, takes_config=False)
    port = command.parse_number(line, "port", int, Range(0, 65_535))
    every = command.parse_number(line, "every", int, COUNT)
    if not workdirs:
        raise ConfigError("--workdir must name the workdir of a run, such as runs/gpt2_nano")
    from pretrain_jax.reporting import report_page, run_files

    folders = [paths.expand_user(workdir, "--workdir") for workdir in workdirs]

    def make() -> str:
        return report_page.make_page(run_files.read_runs(folders), refresh=every)

    make()  # errors of the command line show here, not in the browser
    with open_server(port, make) as server:
        print(f"http://{HOST}:{server.server_address[1]}/", flush=True)
        server.serve_forever()
    return 0


def open_server(port: int, make: Callable[[], str]) -> http.server.HTTPServer:
    """A server of the page that `make` returns. Raises ConfigError for a port that is taken."""

    class Page(http.server.BaseHTTPRequestHandler):
        server: http.server.HTTPServer

        def do_GET(self) -> None:
            status, text = answer(self.headers.get("Host", ""), self.path, make)
            content = text.encode(errors="backslashreplace")  # as in report.py
            kind = "html" if status == 200 else "plain"
            self.send_response(status)
            self.send_header("Content-Type", f"text/{kind}; charset=utf-8")
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        do_HEAD = do_GET

        def log_message(self, format: str, *args: Any) -> None:
            log.debug(format, *args)

    try:
        return http.server.ThreadingHTTPServer((HOST, port), Page)
    except OSError as error:
        raise ConfigError(
            f"--port must be free on {HOST}; {port} is not: {error.strerror}. Use another, or "
            "--port=0"
        ) from error


def answer(host: str, path: str, make: Callable[[], str]) -> tuple[int, str]:
    """(status, text) of a request to a host and a path.

    The port of the host may be any: a tunnel (ssh -L) may have another one than this server.
    """
    # A page of another site can give a name of its own the address 127.0.0.1, and then read ours.
    if not re.fullmatch(rf"({re.escape(HOST)}|localhost)(:\d+)?", host):
        return 403, f"the host must be {HOST} or localhost; received {short_repr(host)}"
    if path.partition("?")[0] != "/":
        return 404, f"the only page is /; received {short_repr(path)}"
    try:
        return 200, make()
    except UserError as error:
        return 500, f"{type(error).__name__}: {error}"


if __name__ == "__main__":
    sys.exit(command.run(main, __doc__))
