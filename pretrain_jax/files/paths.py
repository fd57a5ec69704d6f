"""Paths that a user writes: on the command line, in a config, in `data.source`.

A shell does not expand the ~ in `--workdir=~/runs`. Configs keep paths unexpanded, so that a run
does not depend on the home folder; a path is expanded where it is used.
"""

import os

from pretrain_jax.errors import ConfigError


def expand_user(path: str | os.PathLike[str], key: str) -> str:
    """The path with a leading "~" replaced by the home folder; URLs such as gs:// are unchanged.

    key: the config key or option of the path, for the message. Raises ConfigError if the user has
    no home folder.

    >>> expand_user("gs://bucket/run", "--workdir")
    'gs://bucket/run'
    """
    path = os.fspath(path)
    full = path if is_remote(path) else os.path.expanduser(path)
    if full.startswith("~"):
        raise ConfigError(
            f"{key} must be a path; {path} starts with ~, but that user has no home folder. Write "
            "the full path, or set HOME (write ./~ for a file with that name)"
        )
    return full


def is_remote(path: str | os.PathLike[str]) -> bool:
    """Whether a path is a URL, such as gs://bucket/run.

    >>> is_remote("gs://bucket/run"), is_remote("runs/xl")
    (True, False)
    """
    return "://" in os.fspath(path)
