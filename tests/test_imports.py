"""Imports point one way, and what has no place in the package stays out of it."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import pretrain_jax

ROOT = Path(pretrain_jax.__file__).parent
LEVELS = (
    {"__main__", "main", "describe", "evaluate", "follow", "generate", "convert", "predict"},
    {"report"},
    {"command"},
    {"planning"},
    {"training"},
    {"evaluation"},
    {"huggingface"},
    {"inference", "estimates", "reporting"},
    {"composition"},
    {"workdir"},
    {"step", "digest"},
    {
        "adapters",
        "data",
        "tasks",
        "objectives",
        "models",
        "optim",
        "sharding",
        "cluster",
        "xla",
        "devices",
    },
    {"layers", "corruption", "tokenizers", "losses", "scores", "chat_template"},
    {"batch", "code_version", "cross_entropy", "gram_hashes", "nested_diff", "ragged"}
    | {"registry", "seeds", "switches"},
    {"files"},
    {"process"},
    {"errors", "progress", "rounding"},
)
LEVEL_OF = {part: level for level, parts in enumerate(LEVELS) for part in parts}
HOST = {
    *("data", "tasks", "tokenizers", "corruption", "scores", "batch", "gram_hashes"),
    *("ragged", "registry", "chat_template", "switches"),
    *("errors", "files", "process", "progress", "rounding"),
}
AT_THE_END = "process/shutdown.py"
"""Uses jax where a process already has it: processes that compute together end together."""
DEVICE_LIBRARIES = {"jax", "jaxlib", "flax", "optax", "orbax"}
REFUSED_LIBRARIES = {"tensorflow", "torch", "pickle", "cloudpickle", "dill", "marshal", "shelve"}
IN_A_CHILD = {"huggingface/_reference.py": {"torch"}}
"""Runs in a child process, to compare with transformers; imports torch only inside its function."""
REFUSED_CALLS = {"eval", "exec", "compile", "__import__"}
MOST_LINES = 300
LONGER = {  # each with what would be lost by cutting it
    "tokenizers/byte_bpe.py": "the file format, its variants and training read as one",
}

SOURCES = {path.relative_to(ROOT).as_posix(): path.read_text() for path in ROOT.rglob("*.py")}
TREES = {name: ast.parse(source) for name, source in SOURCES.items()}


def part(name: str) -> str:
    """The folder or module of the package: "data/pack.py" -> "data"."""
    return name.partition("/")[0].removesuffix(".py")


def imported(tree: ast.AST) -> Iterator[str]:
    """Dotted names of all imports, wherever in the file they stand."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def own_parts(tree: ast.AST) -> set[str]:
    """Parts of the package that a file imports."""
    names = (name.split(".") for name in imported(tree))
    return {words[1] for words in names if words[0] == "pretrain_jax" and len(words) > 1}


def libraries(tree: ast.AST) -> set[str]:
    """First words of all imports."""
    return {name.partition(".")[0] for name in imported(tree)}


def test_every_part_has_its_level():
    parts = {part(name) for name in TREES} - {"__init__"}
    assert parts <= LEVEL_OF.keys(), "give the new part a level in LEVELS and in CONTRIBUTING.md"


def test_imports_point_down():
    """A part imports itself and lower levels: nothing above it and nothing beside it."""
    upwards = [
        f"{name} imports {found}"
        for name, tree in TREES.items()
        for found in own_parts(tree) - {part(name)}
        if part(name) in LEVEL_OF and LEVEL_OF[found] <= LEVEL_OF[part(name)]
    ]
    assert not upwards


def test_the_host_half_knows_no_jax():
    """Nor any part that does, so that nothing of the data path can depend on a device."""
    wrong = [
        f"{name} imports {', '.join(sorted(found))}"
        for name, tree in TREES.items()
        if part(name) in HOST
        and name != AT_THE_END
        and (found := (libraries(tree) & DEVICE_LIBRARIES) | (own_parts(tree) - HOST))
    ]
    assert not wrong


def test_no_other_framework_and_nothing_that_lets_data_choose_code():
    wrong = []
    for name, tree in TREES.items():
        refused = REFUSED_LIBRARIES - IN_A_CHILD.get(name, set())
        wrong += [f"{name} imports {library}" for library in libraries(tree) & refused]
        for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
            if isinstance(call.func, ast.Name) and call.func.id in REFUSED_CALLS:
                wrong.append(f"{name} line {call.lineno} calls {call.func.id}")
            if any(keyword.arg == "allow_pickle" for keyword in call.keywords):
                wrong.append(f"{name} line {call.lineno} says allow_pickle")
    assert not wrong


@pytest.mark.parametrize("name", IN_A_CHILD)
def test_a_file_for_a_child_process_imports_no_other_framework_when_it_is_imported(name):
    statements = ast.Module([node for node in TREES[name].body if not is_function(node)], [])
    assert not libraries(statements) & REFUSED_LIBRARIES


def is_function(node: ast.AST) -> bool:
    return isinstance(node, ast.FunctionDef)


def test_files_are_short_and_named_for_what_they_hold():
    long = {name for name, source in SOURCES.items() if source.count("\n") > MOST_LINES}
    assert long <= LONGER.keys(), f"over {MOST_LINES} lines; divide it, or say in LONGER why not"
    assert not [name for name in SOURCES if Path(name).stem in ("utils", "common", "misc")]


@pytest.mark.parametrize(
    "line, found",
    [
        ("import jax.numpy as jnp", {"jax"}),
        ("from jax import numpy", {"jax"}),
        ("def f():\n    import torch", {"torch"}),
        ("import tensorflow_datasets", {"tensorflow_datasets"}),
        ("from pretrain_jax import data, errors", {"data", "errors"}),
        ("from pretrain_jax.training.loop import train", {"training"}),
    ],
)
def test_the_reader_of_imports_sees_them_all(line, found):
    tree = ast.parse(line)
    assert found == own_parts(tree) or found == libraries(tree)
