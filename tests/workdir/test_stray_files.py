"""Every stored file with invalid content: the run rebuilds it, or names it in an error."""

import shutil

import jax
import pytest
import tiny_job
from etils import epath
from stray import STRAY

from pretrain_jax.composition import config, resume
from pretrain_jax.composition.build import build_design
from pretrain_jax.composition.feed import Feed
from pretrain_jax.errors import UnwritableWorkdir, UserError
from pretrain_jax.reporting import writer
from pretrain_jax.training import loop
from pretrain_jax.workdir import claim
from pretrain_jax.workdir.checkpoint import Checkpoints

MORE = {
    "stray types": b'{"step": [], "fingerprint": 1, "split": {}, "fingerprints": 7, "files": 0}',
    "a flipped byte": None,
}
KINDS = {**{kind: STRAY[kind] for kind in ("nested", "number", "latin-1")}, **MORE}
REBUILT = ("tokens.bin", "offsets.npy", "note.json", "row_offsets.npy", "order.npy", "digests.json")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    job = tiny_job.write(folder)
    loop.train(config.read(str(job), [("train.steps", "2")]), str(folder / "run"))
    return folder


def files(folder):
    """Every small file of the workdir and of the cache, except those of libraries."""
    names = [p.relative_to(folder) for p in sorted(folder.rglob("*")) if p.is_file()]
    ours = [n for n in names if n.parts[0] == "cache" and n.suffix != ".lock"]
    ours += [n for n in names if n.parts[:2] in (("run", "config.json"), ("run", "metrics.jsonl"))]
    ours += [n for n in names if n.parts[:2] in (("run", "run.lock"), ("run", "tokenizer"))]
    ours += [n for n in names if n.parts[-2:] in (("data", "metadata"), ("config", "metadata"))]
    assert len(ours) >= 12
    return ours


def read_all(folder):
    """Reads what a resumed run reads, in the same order; returns the training tokens."""
    settings = config.read(str(folder / "tiny.py"), [("train.steps", "2")])
    path = epath.Path(folder / "run")
    claim.owner(path)
    fixed, _ = resume.config_to_resume(settings, path)
    design = build_design(fixed, (jax.devices()[0],))
    with Checkpoints(path / "checkpoints", read_only=True) as checkpoints:
        resume.check_code_version(checkpoints, 2, design.spec, accept=False)
        feed = Feed.open(design, path, resume.read_fingerprints(checkpoints, 2, design.spec))
    writer.Writer(path, 2).close()
    return feed.cache(feed.sources[0], "train").tokens.copy()


@pytest.mark.parametrize("kind", KINDS)
def test_invalid_content_is_rebuilt_or_named_in_an_error(trained, tmp_path, caplog, kind):
    cache = trained / "cache"
    kept = tmp_path / "kept"
    shutil.copytree(trained, kept)
    right = read_all(trained)
    for name in files(kept):
        path, caplog_before = trained / name, len(caplog.text)
        content = KINDS[kind]
        if content is None:
            data = bytearray((kept / name).read_bytes())
            data[len(data) // 2] ^= 1
            content = bytes(data)
        path.write_bytes(content)
        try:
            assert (read_all(trained) == right).all()
            if name.name in REBUILT and name.parts[0] == "cache":
                assert "damaged" in caplog.text[caplog_before:]
        except UserError as error:
            assert name.parts[0] != "cache", error
            assert error.exit_code in (65, 78), (name, error)
        shutil.rmtree(trained / "run")
        shutil.copytree(kept / "run", trained / "run")
    shutil.rmtree(cache)
    shutil.copytree(kept / "cache", cache)


@pytest.mark.parametrize("name", ["checkpoints", "config.json", "metrics.jsonl", "tokenizer"])
def test_a_file_or_folder_in_place_of_an_output_exits_with_74(name, tmp_path):
    """A file in place of a folder, or a folder in place of a file, raises no traceback."""
    job = tiny_job.write(tmp_path)
    workdir = tmp_path / "run"
    workdir.mkdir()
    here = workdir / name
    here.mkdir() if "." in name else here.write_text("not ours")
    with pytest.raises(UnwritableWorkdir, match=name):
        loop.train(config.read(str(job)), str(workdir))
    assert here.exists()
