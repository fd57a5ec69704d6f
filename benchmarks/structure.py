"""The structure of a checkout in numbers: call depth, files, sizes.

    python benchmarks/structure.py [--tree=FOLDER] [--other=FOLDER]

One column for each checkout (--other: for example a worktree of an earlier commit):

    hops from main to gradient   calls from `main.main` to the first function that calls jax.grad,
                                 counted in a tiny run; functions of the package alone, and a
                                 closure counts as its function. Once where the step runs (without
                                 jit, so that the calls are visible), once where it is compiled
                                 (in the background: the calls that start it come first). The paths
                                 are printed below the table
    files that `config` visits   modules of the package, found from the syntax trees, in which a
                                 name or an attribute is `config`
    largest class                members: methods, properties, fields, and attributes that methods
                                 assign
    __init__.py                  lines in all of them together
    largest folder               Python files directly in one folder of the package
    tests / source               lines in tests/ over lines in the package
    README                       lines
"""

import argparse
import ast
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from jobs import overrides, table, write_tiny

PACKAGE = "pretrain_jax"
ONE_STEP = {"train.steps": 1, "eval.every": 0, "eval.sample_tokens": 0}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--tree", default=str(Path(__file__).parents[1]))
    parser.add_argument("--other", default="", help="a second checkout")
    parser.add_argument("--trace", default="", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.trace:
        print(json.dumps(trace_gradients(Path(options.trace))))
        return
    trees = [Path(tree).resolve() for tree in (options.tree, options.other) if tree]
    columns = [measure(tree) for tree in trees]
    paths = [gradient_paths(tree) for tree in trees]
    rows = [
        [f"hops from main to gradient, {kind}", *(str(len(path[kind]) - 1) for path in paths)]
        for kind in paths[0]
    ]
    rows += [[name, *(column[name] for column in columns)] for name in columns[0]]
    print(table(["measure", *(str(tree) for tree in trees)], rows))
    for tree, path in zip(trees, paths, strict=True):
        for kind, functions in path.items():
            print(f"\n{tree}, {kind}: {' -> '.join(functions)}")


def measure(tree: Path) -> dict[str, str]:
    """The figures that files alone give, by name."""
    sources = sorted((tree / PACKAGE).rglob("*.py"))
    parsed = {path: ast.parse(path.read_text()) for path in sources}
    folders: dict[Path, int] = {}
    for path in sources:
        folders[path.parent] = folders.get(path.parent, 0) + 1
    folder, files = max(folders.items(), key=lambda item: item[1])
    members, class_name = max(class_sizes(parsed))
    inits = [path for path in sources if path.name == "__init__.py"]
    tests = count_lines((tree / "tests").rglob("*.py"))
    lines = count_lines(sources)
    return {
        "files that `config` visits": str(sum(map(mentions_config, parsed.values()))),
        "members of the largest class": f"{members} ({class_name})",
        "lines in all `__init__.py`": str(count_lines(inits)),
        "files in the largest folder": f"{files} ({folder.relative_to(tree)})",
        "lines of tests / of source": f"{tests:,} / {lines:,} = {tests / lines:.2f}",
        "lines of README": str(count_lines([tree / "README.md"])),
    }


def count_lines(paths: Iterable[Path]) -> int:
    """Lines of these files together."""
    return sum(len(path.read_text().splitlines()) for path in paths)


def mentions_config(module: ast.Module) -> bool:
    """Whether a module passes or reads a value named `config`; an import of a module does not
    count."""
    modules = {
        alias.asname or alias.name
        for node in ast.walk(module)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    for node in ast.walk(module):
        if isinstance(node, ast.arg) and node.arg == "config":
            return True
        if isinstance(node, ast.Attribute) and node.attr == "config":
            return True
        if isinstance(node, ast.Name) and node.id == "config" and "config" not in modules:
            return True
    return False


def class_sizes(parsed: dict[Path, ast.Module]) -> Iterator[tuple[int, str]]:
    """(members, "module.Class") of every class."""
    for path, module in parsed.items():
        for node in ast.walk(module):
            if isinstance(node, ast.ClassDef):
                yield len(members_of(node)), f"{path.stem}.{node.name}"


def members_of(node: ast.ClassDef) -> set[str]:
    """Names of methods, properties, fields, and of attributes that methods assign."""
    names: set[str] = set()
    for item in node.body:
        if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(item.name)
        elif isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name):
            names.add(item.target.id)
        elif isinstance(item, ast.Assign):
            names |= {target.id for target in item.targets if isinstance(target, ast.Name)}
    for item in ast.walk(node):
        if (
            isinstance(item, ast.Attribute)
            and isinstance(item.ctx, ast.Store)
            and isinstance(item.value, ast.Name)
            and item.value.id == "self"
        ):
            names.add(item.attr)
    return {name for name in names if not name.startswith("__")}


def gradient_paths(tree: Path) -> dict[str, list[str]]:
    """`trace_gradients`, in a process that imports the package from `tree`."""
    command = [sys.executable, __file__, f"--trace={tree}"]
    environment = {**os.environ, "PYTHONPATH": str(tree), "JAX_PLATFORMS": "cpu", "XLA_FLAGS": ""}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tree)
    if done.returncode:
        raise SystemExit(f"the tiny run in {tree} ended with {done.returncode}:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def trace_gradients(tree: Path) -> dict[str, list[str]]:
    """Functions of the package from `main.main` to the gradient, in two tiny runs of one step."""
    import jax

    from pretrain_jax import main as command

    stacks: list[list[str]] = []
    started = threading.local()
    grad, jit, submit = jax.grad, jax.jit, ThreadPoolExecutor.submit

    def recorded_grad(*arguments, **keywords):
        stacks.append(stack(tree, getattr(started, "by", [])))
        return grad(*arguments, **keywords)

    def linked_submit(self, function, *arguments, **keywords):
        starting = stack(tree, getattr(started, "by", []))

        def linked(*arguments, **keywords):
            started.by = starting
            return function(*arguments, **keywords)

        return submit(self, linked, *arguments, **keywords)

    def eager_jit(function, **keywords):
        is_step = getattr(function, "__name__", "") == "train_step"
        return Eager(function) if is_step else jit(function, **keywords)

    def train(name: str) -> list[str]:
        stacks.clear()
        with tempfile.TemporaryDirectory() as folder:
            options = [f"--config={write_tiny(Path(folder))}", f"--workdir={folder}/{name}"]
            command.main([*options, *overrides(ONE_STEP)])
        return stacks[0]

    setattr(jax, "grad", recorded_grad)  # noqa: B010
    setattr(ThreadPoolExecutor, "submit", linked_submit)  # noqa: B010
    compiled = train("compiled")
    setattr(jax, "jit", eager_jit)  # noqa: B010
    return {"running": train("running"), "compiling": compiled}


class Eager:
    """In place of `jax.jit(function)`: every stage of its compilation is the function itself."""

    def __init__(self, function: Callable[..., Any], static: tuple[Any, ...] = ()):
        self.function, self.static = function, static

    def trace(self, state: Any, batch: Any, *static: Any) -> "Eager":
        return Eager(self.function, static)

    def lower(self, *arguments: Any) -> "Eager":
        return self.trace(*arguments) if arguments else self

    def compile(self) -> Callable[..., Any]:
        return lambda state, batch: self.function(state, batch, *self.static)


def stack(tree: Path, before: list[str]) -> list[str]:
    """The calls of this thread after those that started it, the outermost first, each once."""
    calls, frame = [], sys._getframe(1)
    while frame is not None:
        path = Path(frame.f_code.co_filename)
        if path.is_relative_to(tree / PACKAGE):
            function = frame.f_code.co_qualname.partition(".<locals>")[0]
            calls.append(f"{path.stem}.{function}")
        frame = frame.f_back
    calls = [*before, *reversed(calls)]
    return [call for call, previous in zip(calls, [None, *calls], strict=False) if call != previous]


if __name__ == "__main__":
    main()
