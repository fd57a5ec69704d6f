"""The command: what it writes, that an imported run trains on, what it leaves after an error."""

import json
import os
import shlex
import shutil
import subprocess
import sys

import jax
import numpy as np
import pytest
import tiny_runs

import pretrain_jax
from pretrain_jax import convert, generate, main
from pretrain_jax.errors import ConfigError, DataError, InputMissing, WorkdirMismatch
from pretrain_jax.files import draft_folder
from pretrain_jax.huggingface import _check
from pretrain_jax.inference import restore


@pytest.fixture(autouse=True)
def unchecked(monkeypatch):
    """As without torch; test_parity.py is for the check."""
    monkeypatch.setattr(_check, "find_spec", lambda name: None)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with the runs `gpt` and `electra` and their exports, gpt_hf and electra_hf."""
    root = tmp_path_factory.mktemp("convert")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_check, "find_spec", lambda name: None)
        for name in ("gpt", "electra"):
            workdir = tiny_runs.write(root, name)
            line = {"step": 7, "train/loss": 2.5, "tokens": 12345, "valid/loss": 3.25,
                    "valid/bits_per_byte": 4.5, "yardstick/unigram": 5.5}  # fmt: skip
            (workdir / "metrics.jsonl").write_text(json.dumps(line) + "\n")
            convert.main([f"--workdir={workdir}", f"--to_hf={root / f'{name}_hf'}"])
    return root


@pytest.fixture(scope="module")
def imported(folder):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_check, "find_spec", lambda name: None)
        convert.main([f"--from_hf={folder / 'gpt_hf'}", f"--workdir={folder / 'imported'}"])
    return folder / "imported"


def test_an_export_has_the_files_of_a_model(folder):
    files = {path.name for path in (folder / "gpt_hf").iterdir()}
    assert files >= {"config.json", "generation_config.json", "model.safetensors", "README.md"}
    assert files >= {"tokenizer.json", "tokenizer_config.json"}
    config = json.loads((folder / "gpt_hf/config.json").read_text())
    wanted = {"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], "n_inner": 44,
              "bos_token_id": 257, "eos_token_id": 258, "vocab_size": 275}  # fmt: skip
    assert {**config, **wanted} == config
    ids = json.loads((folder / "gpt_hf/generation_config.json").read_text())
    assert ids == {"bos_token_id": 257, "eos_token_id": 258, "pad_token_id": 256}
    modes = {path.stat().st_mode for path in (folder / "gpt_hf").iterdir()}
    assert len(modes) == 1, "all files can be read by the same people"
    parts = {path.name for path in (folder / "electra_hf").iterdir()}
    assert parts == {"generator", "discriminator"}


def test_the_card_has_the_figures_of_the_run_and_no_license(folder):
    card = (folder / "gpt_hf/README.md").read_text()
    assert card.startswith("---\nlibrary_name: transformers\n")
    for text in ("text-generation", "| steps | 7 |", "12,345", "3.2500", "4.5000", "5.5000"):
        assert text in card
    assert "license" not in card and "mask" not in card


def test_an_imported_run_has_the_same_parameters_and_generates(folder, imported, capsys):
    before, after = tiny_runs.params_of(folder / "gpt"), tiny_runs.params_of(imported)
    assert before.keys() == after.keys()
    for name, array in before.items():
        rows = 275 if len(array) == 384 else len(array)
        assert np.array_equal(array[:rows], after[name][:rows])
    assert generate.main([f"--workdir={imported}", "--prompt=ab", "--tokens=3"]) == 0
    assert capsys.readouterr().out.startswith("ab")


def test_an_imported_run_is_evaluated_on_any_text(imported, tmp_path, capsys):
    text = tmp_path / "text.txt"
    text.write_text("A ship left the harbour. " * 40)
    options = [f"--config.data.source=text:{text}", "--config.eval.tokens=200"]
    assert main.main(["--mode=eval", f"--workdir={imported}", *options]) == 0
    assert json.loads(capsys.readouterr().out)["valid/loss"] > 0


CONFIG = """
import json
from pathlib import Path


def get_config():
    config = json.loads(Path({source!r}, "config.json").read_text())
    config["init_from"] = {init!r}
    config["data"]["source"] = "text:" + {text!r}
    config["train"].update(steps=1, log_every=1)
    config["eval"].update(tokens=100, sample_tokens=0)
    return config
"""


def train_on(imported, tmp_path, init):
    text, config = tmp_path / "text.txt", tmp_path / "on.py"
    text.write_text("A ship left the harbour at dawn.\n\n" * 400)
    config.write_text(CONFIG.format(source=str(imported), init=init, text=str(text)))
    options = [f"--config.data.cache_dir={tmp_path / 'cache'}"]
    return [f"--config={config}", *options]


def test_an_imported_run_trains_on(imported, tmp_path):
    words = train_on(imported, tmp_path, str(imported))
    assert main.main([*words, f"--workdir={tmp_path / 'on'}"]) == 0
    trained, start = (
        restore.restore_params(restore.load_design(folder), folder).params
        for folder in (tmp_path / "on", imported)
    )
    moved = jax.tree.map(lambda a, b: float(abs(a - b).max()), trained, start)
    assert 0 < max(jax.tree.leaves(moved)) < 1e-2


def test_an_imported_run_is_not_resumed_in_place(imported, tmp_path):
    words = train_on(imported, tmp_path, "")
    with pytest.raises(WorkdirMismatch, match="another --workdir"):
        main.main([*words, f"--workdir={imported}"])


# --- what is refused ------------------------------------------------------------------------------


def test_options_that_do_not_belong_together(tmp_path):
    for words, message in (
        ([], "received none of them"),
        (["--to_hf=a", "--from_hf=b"], "received to_hf and from_hf"),
        (["--to_hf=a"], "--workdir must name"),
        (["--from_hf=a", "--workdir=b", "--step=1"], "--step belongs to --to_hf"),
        (["--from_hf=a", "--workdir=b", "--dtype=float16"], "--dtype belongs to --to_hf"),
        (["--to_hf=a", "--workdir=b", "--dtype=int8"], "--dtype must be one of"),
        (["--to_hf=a", "--workdir=b", "--step=-1"], "--step must be a number"),
        (["--to_hf=gs://b/a", "--workdir=b"], "--to_hf must be a local folder"),
    ):
        with pytest.raises(ConfigError, match=message):
            convert.main(words)


def test_an_output_with_content_is_refused_and_kept(folder, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    for words in (
        [f"--workdir={folder / 'gpt'}", f"--to_hf={tmp_path}"],
        [f"--from_hf={folder / 'gpt_hf'}", f"--workdir={tmp_path}"],
        [f"--from_hf={folder / 'gpt_hf'}", f"--workdir={tmp_path / 'mine.txt'}"],
    ):
        with pytest.raises(ConfigError, match="has content"):
            convert.main(words)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["mine"]


def test_an_empty_output_is_used(folder, tmp_path):
    convert.main([f"--workdir={folder / 'gpt'}", f"--to_hf={tmp_path}"])
    assert (tmp_path / "config.json").exists()


def test_a_run_that_is_missing_or_has_no_such_step(folder, tmp_path):
    out = f"--to_hf={tmp_path / 'out'}"
    with pytest.raises(InputMissing, match=r"has no config\.json"):
        convert.main([f"--workdir={tmp_path / 'none'}", out])
    with pytest.raises(InputMissing, match="no committed step 8; committed steps: 7"):
        convert.main([f"--workdir={folder / 'gpt'}", out, "--step=8"])
    assert list(tmp_path.iterdir()) == []


def change_config(**changes):
    def change(folder):
        file = folder / "config.json"
        file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))

    return change


def truncate(folder):
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-10])


def only_a_pickle(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


BAD = {
    "no config": (InputMissing, lambda f: (f / "config.json").unlink(), "must exist"),
    "no JSON": (DataError, lambda f: (f / "config.json").write_text("{"), "must hold a JSON"),
    "list": (DataError, lambda f: (f / "config.json").write_text("[]"), "must hold a JSON object"),
    "no type": (DataError, lambda f: (f / "config.json").write_text("{}"), '"model_type" in'),
    "unknown": (ConfigError, change_config(model_type="mamba"), "must be one of bert, electra"),
    "another": (ConfigError, change_config(model_type="electra"), "generator and discriminator"),
    "no model": (DataError, change_config(model_type="bert"), "missing: .*unknown: "),
    "wider": (DataError, change_config(n_embd=32), "instead of"),
    "no heads": (ConfigError, change_config(n_head=5), "model.width must be a multiple"),
    "relu": (ConfigError, change_config(activation_function="relu"), "activation_function in"),
    "truncated": (DataError, truncate, "must be a complete safetensors file"),
    "pickle": (InputMissing, only_a_pickle, r"only pytorch_model\.bin"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_folder_is_refused_and_nothing_is_written(name, folder, tmp_path):
    error, change, message = BAD[name]
    source = tmp_path / "source"
    shutil.copytree(folder / "gpt_hf", source)
    change(source)
    with pytest.raises(error, match=message):
        convert.main([f"--from_hf={source}", f"--workdir={tmp_path / 'run'}"])
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_one_of_two_folders_is_refused(folder, tmp_path):
    with pytest.raises(ConfigError, match="must name a folder that has both"):
        source = folder / "electra_hf" / "discriminator"
        convert.main([f"--from_hf={source}", f"--workdir={tmp_path / 'run'}"])
    with pytest.raises(InputMissing, match="must name an existing folder"):
        convert.main([f"--from_hf={tmp_path / 'none'}", f"--workdir={tmp_path / 'run'}"])


def test_a_composition_without_a_class_is_refused(tmp_path):
    model = {"name": "gopher", **tiny_runs.SIZES, "head_width": 6}
    workdir = tiny_runs.write_run(tmp_path / "g", tiny_runs.CAUSAL, model)
    with pytest.raises(ConfigError, match=r"no class for model.name=gopher: none computes Trans"):
        convert.main([f"--workdir={workdir}", f"--to_hf={tmp_path / 'out'}"])
    assert [path.name for path in tmp_path.iterdir()] == ["g"]


def test_any_error_removes_the_draft(tmp_path):
    with pytest.raises(KeyError), draft_folder.publish(tmp_path / "out") as draft:
        (draft / "file").write_text("half")
        raise KeyError
    assert list(tmp_path.iterdir()) == []


FULL = "ulimit -f 8; exec "
"""In a shell: from here on, writing more than 8 KiB into a file fails, as on a full disk."""


@pytest.mark.parametrize("code", [74, 65])
def test_the_exit_code_of_the_command(code, folder, tmp_path):
    """A full disk, and a damaged file: one message, no traceback, nothing left."""
    words = [f"--workdir={folder / 'gpt'}", f"--to_hf={tmp_path / 'out'}"]
    if code == 65:
        shutil.copytree(folder / "gpt_hf", tmp_path / "source")
        truncate(tmp_path / "source")
        words = [f"--from_hf={tmp_path / 'source'}", f"--workdir={tmp_path / 'out'}"]
    line = shlex.join([sys.executable, "-m", "pretrain_jax.convert", *words])
    done = subprocess.run(
        ["bash", "-c", FULL * (code == 74) + line],
        capture_output=True,
        text=True,
        env={**os.environ, "JAX_COMPILATION_CACHE_DIR": ""},
    )
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr and str(tmp_path) in done.stderr
    assert {path.name for path in tmp_path.iterdir()} <= {"source"}


def test_a_folder_of_transformers_is_used_without_an_import(folder, tmp_path):
    """pretrain_jax.load gives the same model as the run that was exported."""
    ours, theirs = (pretrain_jax.load(folder / name) for name in ("gpt", "gpt_hf"))
    np.testing.assert_array_equal(ours.logits([[5, 6, 7]]), theirs.logits([[5, 6, 7]]))
    for beams in (1, 2):
        how = {"temperature": 0.0, "beams": beams}
        a, b = (model.generate(["the ship"], 6, **how)[0] for model in (ours, theirs))
        assert a.tokens.tolist() == b.tokens.tolist()
    assert pretrain_jax.load(folder / "electra_hf").fill("a <mask>", top=1)[0]
    with pytest.raises(ConfigError, match="has no steps"):
        pretrain_jax.load(folder / "gpt_hf", step=3)
    with pytest.raises(InputMissing, match="a folder that exists"):
        pretrain_jax.load(tmp_path / "nothing")
