"""Paths as a user writes them: on the command line, in a config, in `data.source`.

A shell leaves the ~ of `--workdir=~/runs` as it stands. Configs keep paths as they were written, so
that a run is the same for another home; they are expanded where they are used.
"""

import os

from pretrain_jax.errors import ConfigError


def expanded(path: str | os.PathLike[str], key: str) -> str:
    """The path with the user's home for a leading "~"; gs:// and the like stay as they are.

    key: what named the path, for the message. Raises ConfigError where there is no such home.

    >>> expanded("gs://bucket/run", "--workdir")
    'gs://bucket/run'
    """
    path = os.fspath(path)
    made = path if "://" in path else os.path.expanduser(path)
    if made.startswith("~"):
        raise ConfigError(
            f"{key} must be a path; {path} begins with ~, and that user has no home: write the "
            "path out, or set HOME (a file of that name is ./~)"
        )
    return made
