"""Config files: find one by its path or its name, and run it. Imports no jax, so it is quick.

The configs of `configs/` have names: `--config=gpt2_nano` works in every folder. A checkout has
them next to the package, an installed package has them inside.
"""

import contextlib
import difflib
import importlib.util
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pretrain_jax
from pretrain_jax.errors import ConfigError, InputMissing, UserError, short_repr
from pretrain_jax.files import paths


def folder() -> Path:
    """The folder of the named configs."""
    package = Path(pretrain_jax.__file__).parent
    installed = package / "configs"
    return installed if installed.is_dir() else package.parent / "configs"


def names() -> dict[str, str]:
    """The path of each named config. Files whose names begin with "_" are shared by others.

    >>> Path(names()["gpt2_nano"]).name
    'gpt2_nano.py'
    >>> Path(names()["finetune/glue"]).name
    'glue.py'
    """
    root = folder()
    files = sorted([*root.glob("*.py"), *root.glob("finetune/*.py")])
    named = {path.relative_to(root).with_suffix("").as_posix(): str(path) for path in files}
    return {name: path for name, path in named.items() if not Path(path).name.startswith("_")}


def locate(config: str) -> tuple[str, str]:
    """The file and the argument of "FILE", "FILE:argument", "NAME" or "NAME:argument".

    Raises InputMissing when there is no such file.

    >>> locate("shakespeare_char:input.txt")
    ('.../configs/shakespeare_char.py', 'input.txt')
    """
    name, _, argument = config.partition(":")
    file = paths.expand_user(name, "--config")
    file = names().get(file, file)
    if not os.path.isfile(file):  # False, not an error, for names that no file can have
        raise missing(file)
    return file, argument


def missing(file: str) -> InputMissing:
    """The error for a file that does not exist; suggests the nearest named config or neighbor."""
    path, named = Path(file), {name: name for name in names()}
    neighbors = path.parent.glob("*.py") if os.path.isdir(path.parent) else ()
    beside = {neighbor.stem: str(neighbor) for neighbor in sorted(neighbors)}
    known = {**beside, **named} if path.name == file and not path.suffix else {**named, **beside}
    close = difflib.get_close_matches(path.stem, known, n=1)
    fix = f"--config takes a Python file or the name of a config in {folder()}"
    if close:
        fix = f"did you mean {known[close[0]]}?"
    return InputMissing(f"no such file: {short_repr(file)}; {fix}")


def run(file: str) -> ModuleType:
    """Runs a config file and returns its module. Raises ConfigError.

    The file may import other files of its folder, and the named configs:

        import gpt2_small
    """
    spec = importlib.util.spec_from_file_location("config", file)
    if spec is None or spec.loader is None:
        raise ConfigError(f"--config takes a Python file, which ends in .py; received {file!r}")
    module = importlib.util.module_from_spec(spec)
    with running(file):
        spec.loader.exec_module(module)
    return module


def call(module: ModuleType, file: str, argument: str) -> Any:
    """The result of get_config([argument]), which may import what `run` allows.

    Raises ConfigError.
    """
    with running(file):
        return module.get_config(*([argument] if argument else []))


@contextlib.contextmanager
def running(file: str) -> Iterator[None]:
    """For code of a config file: what it may import, and ConfigError for every way to fail."""
    with importable(Path(file).resolve().parent, folder()):
        try:
            yield
        except UserError:
            raise
        except (Exception, SystemExit) as error:
            raise unusable(file, error) from error


@contextlib.contextmanager
def importable(*folders: Path) -> Iterator[None]:
    """Makes the modules of these folders importable inside the block.

    Forgets them afterwards: another config may have a neighbor of the same name.
    """
    before, paths = set(sys.modules), list(map(str, folders))
    sys.path[:0] = paths
    importlib.invalidate_caches()
    try:
        yield
    finally:
        for one in set(paths) & set(sys.path):  # the file may have changed it
            sys.path.remove(one)
        for name in set(sys.modules) - before:
            if Path(getattr(sys.modules[name], "__file__", None) or "").parent in folders:
                del sys.modules[name]


def unusable(file: str, error: BaseException) -> ConfigError:
    """The error for a config file that fails."""
    reason = f"{type(error).__name__}: {error}"
    if isinstance(error, ImportError):
        return ConfigError(
            f"{file} may import installed packages, files of its own folder and the named configs "
            f"(import gpt2_small); it ended with {reason}"
        )
    return ConfigError(
        f"{file} must define get_config(), or get_config(argument) when it is called as "
        f"{file}:argument; it ended with {reason}"
    )
