"""A data set that TFDS prepared in ArrayRecord format, read without TensorFlow."""

import os
import subprocess
import sys

import numpy as np
import pytest
import tensorflow_datasets as tfds
import tiny_job
from tensorflow_datasets.core import constants

from pretrain_jax.data.corpus import open_corpus
from pretrain_jax.data.sources import Columns
from pretrain_jax.errors import DataError, InputMissing

TEXTS = [f"döcument {i} " * (i % 4 + 1) for i in range(150)]


def prepare(folder, texts=TEXTS, file_format="array_record", split="train"):
    """Writes a data set with TFDS's own writer."""
    folder.mkdir(parents=True)
    identity = tfds.core.DatasetIdentity(
        name=folder.parent.name,
        version=tfds.core.Version(folder.name),
        data_dir=str(folder),
        module_name="",
    )
    features = tfds.features.FeaturesDict({"text": tfds.features.Text(), "id": np.int64})
    info = tfds.core.DatasetInfo(builder=identity, features=features)
    writer = tfds.core.SequentialWriter(info, max_examples_per_shard=70, file_format=file_format)
    writer.initialize_splits([split])
    if file_format == "array_record":
        writer.add_examples({split: [{"text": t, "id": i} for i, t in enumerate(texts)]})
    writer.close_all()
    return folder


@pytest.fixture
def prepared(tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "DATA_DIR", str(tmp_path))
    return prepare(tmp_path / "my_set" / "1.0.0")


def documents(source, **options):
    corpus = open_corpus(source, split="hash", **options)
    return {"".join(d) for half in ("train", "valid") for d in corpus.documents(half)}


@pytest.mark.parametrize("name", ["my_set", "my_set:1.0.0", "{folder}"])
def test_by_name_by_version_and_by_folder(prepared, name):
    assert documents(f"tfds:{name.format(folder=prepared)}") == set(TEXTS)


def test_it_trains_and_tensorflow_stays_out_of_the_process(prepared, tmp_path):
    """Were TensorFlow imported, even if it is not installed, this one would be found first."""
    decoy = tmp_path / "decoy" / "tensorflow"
    decoy.mkdir(parents=True)
    (decoy / "__init__.py").write_text("raise SystemExit('tensorflow was imported')")
    options = [
        f"--config={tiny_job.write(tmp_path)}",
        f"--workdir={tmp_path / 'run'}",
        f"--config.data.source=tfds:{prepared}",
        "--config.train.steps=3",
    ]
    program = (
        "import sys\n"
        "from pretrain_jax import main\n"
        f"main.main({options})\n"
        "assert 'tensorflow' not in sys.modules"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(decoy.parent), *sys.path])}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert tiny_job.losses(tmp_path / "run").keys() == {1, 2, 3}


def test_fingerprint_is_of_the_records(prepared, tmp_path):
    twin = prepare(tmp_path / "twin" / "my_set" / "1.0.0")
    other = prepare(tmp_path / "other" / "my_set" / "1.0.0", [*TEXTS[:-1], "changed"])
    first, second, third = (
        open_corpus(f"tfds:{folder}").fingerprint for folder in (prepared, twin, other)
    )
    assert first == second != third


def test_a_missing_data_set_is_said_in_one_sentence(prepared, tmp_path):
    with pytest.raises(InputMissing, match=r"there is none in .*, which holds my_set") as caught:
        open_corpus("tfds:my_sett")
    message = str(caught.value)
    assert "download_and_prepare" in message and "mnist" not in message and len(message) < 600
    with pytest.raises(InputMissing):
        open_corpus("tfds:my_set:2.0.0")
    with pytest.raises(InputMissing):
        open_corpus(f"tfds:{tmp_path}")


def test_another_format_is_refused_with_how_to_prepare_it(prepared, tmp_path):
    folder = prepare(tmp_path / "old" / "1.0.0", file_format="tfrecord")
    with pytest.raises(
        DataError, match=r'(?s)holds tfrecord.*tfds\.builder\("old", file_format="arr'
    ):
        open_corpus(f"tfds:{folder}")


def test_the_text_feature_is_checked(prepared):
    with pytest.raises(DataError, match="received 'body'; its texts are text"):
        open_corpus(f"tfds:{prepared}", text_key="body")
    with pytest.raises(DataError, match="its texts are text"):
        open_corpus(f"tfds:{prepared}", text_key="id")


def test_a_train_split_is_needed(prepared, tmp_path):
    folder = prepare(tmp_path / "only" / "1.0.0", split="test")
    with pytest.raises(DataError, match=r"must have a train split; .* has test"):
        open_corpus(f"tfds:{folder}")


def test_a_shard_cut_short_is_named(prepared):
    shard = sorted(prepared.glob("*array_record*"))[1]
    shard.write_bytes(shard.read_bytes()[:-100])
    with pytest.raises(DataError, match=rf"{shard.name} must be an ArrayRecord file with 70"):
        open_corpus("tfds:my_set").bytes("train")
    shard.unlink()
    with pytest.raises(InputMissing, match=f"{shard.name} must be readable"):
        _ = open_corpus("tfds:my_set").fingerprint


def prepare_marked(folder):
    """A data set of pairs with spans, written with TFDS's own writer."""
    folder.mkdir(parents=True)
    identity = tfds.core.DatasetIdentity(
        name="marked", version=tfds.core.Version("1.0.0"), data_dir=str(folder), module_name=""
    )
    features = tfds.features.FeaturesDict(
        {
            "text": tfds.features.Text(),
            "answer": tfds.features.Text(),
            "spans": tfds.features.Tensor(shape=(None, 2), dtype=np.int64),
        }
    )
    info = tfds.core.DatasetInfo(builder=identity, features=features)
    writer = tfds.core.SequentialWriter(info, 70, file_format="array_record")
    writer.initialize_splits(["train"])
    spans = np.array([[0, 4], [9, 12]])
    for i in range(120):
        text = f"Änna met Bob {i}"
        record = {"text": text, "answer": f"yes {i}", "spans": spans if i else spans[:, ::-1]}
        writer.add_examples({"train": [record]})
    writer.close_all()
    return folder


def test_spans_and_targets_are_read_and_checked(tmp_path):
    source = f"tfds:{prepare_marked(tmp_path / 'marked' / '1.0.0')}"
    assert "Änna met Bob 7\ufdd1yes 7" in documents(source, target_key="answer")
    with pytest.raises(DataError, match=r'record 0 .* "spans" that must list .* received \[4, 0\]'):
        documents(source, spans_key="spans")
    with pytest.raises(DataError, match=r"spans_key must be a feature .* its spans are spans$"):
        documents(source, spans_key="answer")
    with pytest.raises(DataError, match=r"data\.target_key must be a feature"):
        documents(source, target_key="spans")
    keys = [{}, {"spans_key": "spans"}, {"target_key": "answer"}]
    assert len({open_corpus(source, **key).fingerprint for key in keys}) == 3


def test_objectives_with_labels_are_refused(prepared):
    with pytest.raises(DataError, match=r"needs records, .*; tfds:my_set has none"):
        open_corpus("tfds:my_set", columns=Columns())
