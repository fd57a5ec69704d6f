"""The documentation: its commands run, and what it names exists.

A block that begins with ```sh in a page below docs/ is run, in the order of the page, in a folder
with small configs, a few text files and a trained run. A block that begins with ```text is not.
"""

import ast
import importlib
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pretrain_jax import registry
from pretrain_jax.composition import sections

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(path for path in DOCS.rglob("*.md") if "_build" not in path.parts)
TEXTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *PAGES]
BLOCK = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)
PYTHON = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
ASSIGNMENT = re.compile(r"[A-Z_]+=\S*")
STEPS = re.compile(r"(--config\.(?:train|optimizer)\.\w*steps=)(\d+)")
SHORTER = 250
"""Numbers of steps in commands are divided by this."""

sys.path.append(str(DOCS / "_ext"))
descriptions = importlib.import_module("descriptions")
docstrings = importlib.import_module("docstrings")
choices = importlib.import_module("choices")


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def commands(page: Path) -> list[str]:
    """The command lines of a page that are run."""
    blocks = BLOCK.findall(page.read_text(encoding="utf-8"))
    return [line for block in blocks for line in block.splitlines() if line]


# --- commands -------------------------------------------------------------------------------------

SMALL = """
from pretrain_jax.composition import config_files


def get_config():
    config = config_files.run({path!r}).get_config()
    config.data.update(source="text:books/*.txt", seq_len=16, cache_dir="cache")
    config.tokenizer.name = "bytes"
    config.model.update(vocab_size=300, layers=1, width=16, heads=4, feed_forward=16, unroll=1)
    for key, value in dict(max_length=16, head_width=4).items():
        if key in config.model:
            config.model[key] = value
    config.train.update(steps=config.train.steps // {shorter}, batch_size=8)
    config.eval.update(every=4, tokens=200, sample_tokens=4)
    config.optimizer.warmup_steps = 1
    return config
"""
SENTENCE = "The ship left the harbour at dawn, and nobody on board knew where it would go. "


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder in which the quickstart's first command has run."""
    folder = tmp_path_factory.mktemp("docs")
    (folder / "configs").mkdir()
    for path in (ROOT / "configs").glob("*.py"):
        small = path.stem.endswith("_nano")
        text = SMALL.format(path=str(path), shorter=SHORTER) if small else path.read_text()
        (folder / "configs" / path.name).write_text(text)
    (folder / "books").mkdir()
    for number in range(3):
        (folder / "books" / f"{number}.txt").write_text(f"Chapter {number}. " + SENTENCE * 40)
    (folder / "other.txt").write_text(SENTENCE[::-1] * 20)
    shutil.copytree(ROOT / "launch", folder / "launch")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        run("python -m pretrain_jax.main --config=configs/gpt2_nano.py")
    return folder


def run(line: str) -> None:
    """Runs one command line; a command of the package runs in this process."""
    line = STEPS.sub(lambda match: f"{match[1]}{max(int(match[2]) // SHORTER, 1)}", line)
    words = shlex.split(line)
    while words and ASSIGNMENT.fullmatch(words[0]):
        del words[0]  # XLA_FLAGS: tests have eight devices in any case
    if words[:2] == ["python", "-m"]:
        name = words[2] if "." in words[2] else f"{words[2]}.__main__"
        assert importlib.import_module(name).main(words[3:]) == 0, line
    else:
        subprocess.run(["sh", "-c", line], check=True, timeout=60)


@pytest.mark.parametrize("page", [page for page in PAGES if commands(page)], ids=name_of)
def test_the_commands_of_a_page_run(page, trained, tmp_path, monkeypatch):
    folder = tmp_path / "copy"
    shutil.copytree(trained, folder)
    monkeypatch.chdir(folder)
    if page.stem == "add_objective":
        add_objective(page, folder, monkeypatch)
    for line in commands(page):
        run(line)


def add_objective(page: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes the objective of the page one of the package's."""
    text = page.read_text(encoding="utf-8")
    pattern = r"`pretrain_jax/objectives/(\w+\.py)`:\n\n```python\n(.*?)^```"
    found = re.search(pattern, text, re.MULTILINE | re.DOTALL)
    assert found
    (folder / found[1]).write_text(found[2])
    package = importlib.import_module("pretrain_jax.objectives")
    monkeypatch.setattr(package, "__path__", [*package.__path__, str(folder)])


# --- what pages name ------------------------------------------------------------------------------


@pytest.mark.parametrize("page", TEXTS, ids=name_of)
def test_config_keys_that_are_named_exist(page):
    text = page.read_text(encoding="utf-8")
    inline = rf"`((?:{'|'.join(sections.SECTIONS)})\.(?!py\b|md\b)[a-z_0-9]+)\b"
    named = {*re.findall(r"--config\.([a-z_.0-9]+)", text), *re.findall(inline, text)}
    assert named <= {*sections.every_key()}


ROOMS = {path.name for folder in (ROOT, ROOT / "pretrain_jax") for path in folder.iterdir()}
ABSENT = re.compile(
    r"NAME\.py|^tasks/\w+/|reversed_lm|^(utils|common|misc)\.py|^data/(vocab|golden)"
)
"""Names of no files of ours: a reader's own, those that are rejected, and keys of metrics."""


@pytest.mark.parametrize("page", TEXTS, ids=name_of)
def test_files_that_are_named_exist(page):
    text = page.read_text(encoding="utf-8")
    named = re.findall(r"`((?:[\w.]+/)+[\w.]*)`", text) + re.findall(r"`([a-z_]+\.py)`", text)
    named = [name for name in named if name.split("/")[0] in ROOMS or name.endswith(".py")]
    folders = [ROOT, page.parent, ROOT / "benchmarks", *(ROOT / "pretrain_jax").rglob("./")]
    assert not {
        name
        for name in named
        if not ABSENT.search(name) and not any((folder / name).exists() for folder in folders)
    }


@pytest.mark.parametrize("page", TEXTS, ids=name_of)
def test_links_to_files_lead_somewhere(page):
    links = re.findall(r"\]\(([^)#\s]+)\)", page.read_text(encoding="utf-8"))
    assert all((page.parent / link).exists() for link in links if "://" not in link)


def test_the_readme_stays_short():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 150


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_python_blocks_parse(page):
    for block in PYTHON.findall(page.read_text(encoding="utf-8")):
        ast.parse(block)


# --- the reference of keys ------------------------------------------------------------------------


@pytest.mark.parametrize("section", sections.SECTIONS)
def test_every_key_has_a_description(section):
    missing = {
        f"{section}.{key}, taken by {getattr(option.builder, '__qualname__', 'no builder')}"
        for chosen in sections.choices(section)
        for key, option in sections.section_options(section, chosen).items()
        if not descriptions.describe(key, option, sections.__doc__ or "")
    }
    assert not missing, 'describe them in the docstring: a line "key: what it does"'


def test_every_key_outside_sections_has_a_description():
    for key, option in sections.TOP.items():
        assert descriptions.describe(key, option, sections.__doc__ or "")


def test_a_description_is_read_from_the_nearest_docstring():
    def build(*, rate: float, mode: int = 0):
        """Builds.

        rate: share of the text
            that is noise
        """

    options = registry.options(build)
    assert descriptions.describe("rate", options["rate"]) == "share of the text that is noise"
    assert descriptions.describe("mode", options["mode"]) == ""
    assert descriptions.describe("mode", options["mode"], "mode: a number") == "a number"


def test_docstrings_become_restructured_text():
    written = "A `name` and a*b.\n\n    x  y\n\nsize: of `x`\n    in bytes\n\n>>> 1\n1"
    assert docstrings.convert(written.splitlines()) == [
        *("A ``name`` and a\\*b.", "", "::", "", "        x  y", ""),
        *("* ``size``: of ``x`` in bytes", "", ">>> 1", "1", ""),
    ]


@pytest.mark.parametrize("table", ["objectives", "models", "tokenizers", "sources"])
def test_the_tables_of_choices_have_a_row_for_each(table):
    """The site builds them; an objective may depend on the architecture."""
    made = getattr(choices, table)()
    rows = [line.split("|")[1].strip() for line in made.splitlines() if line.startswith("| `")]
    assert len(rows) == len(set(rows)) > 2
    if table == "objectives":
        fits = {line.split("`")[1]: line for line in made.splitlines() if line.startswith("| `")}
        assert "`t5_encoder`" in fits["tag"] and "`t5`" not in fits["tag"]
        assert "`gpt`" in fits["classify"] and "memory: `t5`" in fits["text_to_text"]
