"""What a wheel contains, and that it works in an empty folder without the checkout."""

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import tiny_job

import pretrain_jax

ROOT = Path(__file__).parents[1]
CONFIGS = {
    path.relative_to(ROOT / "configs").as_posix() for path in (ROOT / "configs").glob("**/*.py")
}
TINY = {
    "tokenizer.name": "bytes",
    "model.vocab_size": 264,
    "model.layers": 1,
    "model.width": 16,
    "model.heads": 2,
    "model.feed_forward": 32,
    "model.max_length": 16,
    "data.seq_len": 16,
    "train.batch_size": 8,
    "train.steps": 2,
    "train.log_every": 1,
    "eval.every": 0,
    "eval.tokens": 100,
    "eval.sample_tokens": 0,
}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel of this checkout, built in a copy, without network."""
    folder = tmp_path_factory.mktemp("wheel")
    skip = shutil.ignore_patterns("__pycache__")
    for name in ("pretrain_jax", "configs"):
        shutil.copytree(ROOT / name, folder / "copy" / name, ignore=skip)
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder / "copy")
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    done = subprocess.run(
        [*pip, f"--wheel-dir={folder}", str(folder / "copy")], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def site(wheel, tmp_path_factory):
    """A folder with the content of the wheel, as pip would install it."""
    folder = tmp_path_factory.mktemp("site")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


@pytest.fixture
def run(site, tmp_path):
    """run(words) -> what `python words` did in an empty folder that knows only the wheel."""

    def python(*words: str) -> subprocess.CompletedProcess:
        environment = {**os.environ, "PYTHONPATH": str(site)}
        return subprocess.run(
            [sys.executable, *words],
            capture_output=True,
            text=True,
            timeout=300,
            env=environment,
            cwd=tmp_path,
        )

    return python


def test_a_wheel_has_the_license_the_types_and_every_config(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    folders = {name.partition("/")[0] for name in names}
    assert folders == {"pretrain_jax", f"pretrain_jax-{pretrain_jax.__version__}.dist-info"}
    assert "pretrain_jax/py.typed" in names
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)
    root = "pretrain_jax/configs/"
    inside = {name.removeprefix(root) for name in names if name.startswith(root)}
    assert inside == CONFIGS
    sources = {path.relative_to(ROOT).as_posix() for path in ROOT.glob("pretrain_jax/**/*.py")}
    assert sources <= names


def test_its_metadata(site):
    (folder,) = site.glob("*.dist-info")
    text = (folder / "METADATA").read_text()
    assert "\nLicense-Expression: Apache-2.0\n" in text and "\nAuthor: " in text
    script = "pretrain-jax = pretrain_jax.__main__:script"
    assert script in (folder / "entry_points.txt").read_text()


def test_the_version_is_one():
    version = pretrain_jax.__version__
    assert f'version="{version}"' in (ROOT / "setup.py").read_text()
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text()


def test_commands_of_the_wheel(run):
    listed = run("-m", "pretrain_jax")
    assert listed.returncode == 0, listed.stderr
    assert re.findall(r"^  (\w+) +\S", listed.stdout, re.MULTILINE) == [
        *("convert", "describe", "evaluate", "follow", "generate", "main", "predict", "report"),
    ]
    described = run("-m", "pretrain_jax", "describe", "--config=gpt2_xl", "--json")
    assert described.returncode == 0, described.stderr
    assert '"parameters": 1557611200' in described.stdout  # gpt2_xl imports gpt2_small


def test_two_steps_of_a_named_config(run, site, tmp_path):
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("\n\n".join([" ".join(tiny_job.WORDS)] * 60))
    changes = {**TINY, "data.source": f"text:{corpus}", "data.cache_dir": tmp_path / "cache"}
    options = [f"--config.{key}={value}" for key, value in changes.items()]
    script = "import sys; from pretrain_jax.__main__ import script; sys.exit(script())"
    done = run("-c", script, "main", "--config=gpt2_nano", *options)
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith("gpt2_nano: workdir runs/gpt2_nano\n")
    assert list(tiny_job.losses(tmp_path / "runs/gpt2_nano")) == [1, 2]
    missing = run("-m", "pretrain_jax.main", "--config=gpt2_nan")
    assert missing.returncode == 66
    assert missing.stderr == "InputMissing: no such file: 'gpt2_nan'; did you mean gpt2_nano?\n"
