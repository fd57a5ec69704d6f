"""Write a page about one or several runs.

    python -m pretrain_jax.report --workdir=runs/a [--workdir=runs/b ...] --out=report.html

--workdir  Folder of a run; several runs are drawn over each other.
--out      File to write. It is one page that needs no network; an existing report is replaced.
--data     Also show the training text as --mode=preflight does; the text must still be there.

The page has the curves of metrics.jsonl, results of tasks, samples, differences of the configs, and
the commands that made the runs.
"""

import os
import sys
from collections.abc import Sequence

from etils import epath

from pretrain_jax import command
from pretrain_jax.errors import ConfigError
from pretrain_jax.files import outputs, paths

FLAGS = {"workdir": "", "out": ""}
MARK = "<!doctype html>"


def main(argv: list[str]) -> int:
    """Runs one command line; returns the exit code."""
    workdirs, rest = take_workdirs(argv)
    flags = command.parse(rest, FLAGS, switches=("data",), takes_config=False).flags
    out = flags["out"]
    if not workdirs:
        raise ConfigError("--workdir must name the workdir of a run, such as runs/gpt2_nano")
    if not out:
        raise ConfigError("--out must name the file to write, such as report.html")
    out = paths.expand_user(out, "--out")
    check_out(out)
    from pretrain_jax.reporting import report_page, run_files

    folders = [paths.expand_user(workdir, "--workdir") for workdir in workdirs]
    runs = run_files.read_runs(folders)
    data = {}
    if flags["data"]:
        data = {run.name: preview(folder) for run, folder in zip(runs, folders, strict=True)}
    # A text may have half of a surrogate pair, as JSON allows; it is shown as JSON writes it.
    page = report_page.make_page(runs, data=data).encode(errors="backslashreplace")
    outputs.write_atomic(epath.Path(out), page)
    print(out)
    return 0


def preview(workdir: str) -> str:
    """The data page of preflight of a run. Raises InputMissing or DataError without its text."""
    from pretrain_jax.composition.feed import Feed
    from pretrain_jax.evaluation.training_text import TrainingText
    from pretrain_jax.planning.preview import format_preview

    text = TrainingText(epath.Path(workdir))
    feed = Feed.from_corpora(text.design, text.corpora, text.tokenizer)
    return "\n".join(format_preview(feed))


def take_workdirs(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """(values of all --workdir, the other words). Raises ConfigError for one without a value.

    >>> take_workdirs(["--workdir=a", "--out=x.html", "--workdir", "b"])
    (['a', 'b'], ['--out=x.html'])
    """
    found, rest, words = [], [], list(argv)
    while words:
        word = words.pop(0)
        name, equals, value = word.partition("=")
        if name != "--workdir":
            rest.append(word)
            continue
        found.append(value if equals else command.take_value("workdir", words))
        if not found[-1]:
            raise ConfigError("--workdir needs a value, such as --workdir=runs/mine; it is empty")
    return found, rest


def check_out(out: str) -> None:
    """Raises ConfigError for what is no report, and UnwritableWorkdir without its folder."""
    outputs.check_writable(epath.Path(out))
    if os.path.lexists(out):
        if not os.path.isfile(out):  # reading a pipe may never end
            raise ConfigError(
                f"--out must be a file; {out} is a folder, a pipe or the like. Name a file in the "
                "folder, or take another name"
            )
        with outputs.report_unwritable(out, OSError), open(out, "rb") as file:
            if file.read(len(MARK)) != MARK.encode():
                raise ConfigError(f"--out must be new or a report; {out} is another file. Move it")


if __name__ == "__main__":
    sys.exit(command.run(main, __doc__))
