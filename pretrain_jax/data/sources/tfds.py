"""`tfds:NAME`: the train split of a TFDS data set that was prepared in ArrayRecord format.

NAME is a TFDS name (my_set, my_set:1.0.0, my_set/config) in TFDS_DATA_DIR (default:
~/tensorflow_datasets), or the path of a prepared folder. This only reads files: it downloads and
prepares nothing and never imports TensorFlow.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from array_record.python.array_record_module import ArrayRecordReader

from pretrain_jax.data import annotations
from pretrain_jax.data.sources import (
    Document,
    Keys,
    Shard,
    TextSource,
    check_no_fields,
    hash_file,
)
from pretrain_jax.errors import DataError, InputMissing
from pretrain_jax.files import paths

TAKES_NAME = "NAME"
GROUP = 64  # records per read
PREPARE = (
    "Prepare it once, on a machine with TensorFlow if the code of the data set needs it:\n"
    "    python -c 'import tensorflow_datasets as tfds; "
    'tfds.builder("{name}", file_format="array_record").download_and_prepare()\''
)


class RecordShard(Shard):
    """An ArrayRecord file of tf.train.Example records with the text in the feature `keys.text`.

    Spans are a flat list of integers: start, end, start, end, ...
    """

    def __init__(self, path: str, count: int, keys: Keys):
        self.name = path
        self.count = count
        self.keys = keys

    def digest(self) -> str:
        try:
            return f"records {self.keys.digest(hash_file(self.name))}"
        except OSError as error:
            raise InputMissing(f"{self.name} must be readable; {error.strerror}") from error

    def documents(self) -> Iterator[Document]:
        # tfds has the protos of tf.train.Example, so they do not need TensorFlow.
        from tensorflow_datasets.proto import tf_example_pb2

        example = tf_example_pb2.Example  # pyright: ignore[reportAttributeAccessIssue]
        for number, record in enumerate(self.records()):
            name = f"{self.name} record {number}"
            yield self.document(example.FromString(record).features.feature, name)

    def document(self, feature: Any, name: str) -> Document:
        keys = self.keys
        found = {key: feature[key].bytes_list.value for key in (keys.text, keys.target) if key}
        if all(len(values) == 1 for values in found.values()):
            if not keys.annotation_kind:
                return Document.from_bytes(name, found[keys.text][0])
            wrong = "is not valid UTF-8"
            with contextlib.suppress(UnicodeDecodeError):
                text, target = (found.get(k, [b""])[0].decode() for k in (keys.text, keys.target))
                flat = list(feature[keys.spans].int64_list.value) if keys.spans else []
                spans = [flat[at : at + 2] for at in range(0, len(flat), 2)]
                complaint = annotations.spans_error(spans, len(text))
                if complaint is None:
                    return keys.document(name, text, spans, target)
                wrong = f'has "{keys.spans}" that {complaint}'
        else:
            wrong = "holds " + " and ".join(str(len(values)) for values in found.values())
        fields = " and ".join(f'"{key}"' for key in found)
        more = (
            f", and the key of its {keys.annotation_kind} likewise" if keys.annotation_kind else ""
        )
        raise DataError(
            f"{name} must hold one text in {fields}; it {wrong}. Set data.text_key to the field "
            f"that holds the text{more}"
        )

    def records(self) -> Iterator[bytes]:
        if self.count == 0:
            return
        try:
            reader = ArrayRecordReader(self.name)
            count = reader.num_records()
            if count == self.count:
                for at in range(0, count, GROUP):
                    yield from reader.read(at, min(at + GROUP, count))
                reader.close()
                return
            wrong = f"it has {count} records"
        except (RuntimeError, ValueError, IndexError) as error:
            wrong = str(error)
        raise DataError(
            f"{self.name} must be an ArrayRecord file with {self.count} records, as in its "
            f"dataset_info.json; {wrong}. Copy or prepare the data set again"
        )


def find(name: str, keys: Keys) -> TextSource:
    """The shards of the train split of the data set `name`.

    Raises InputMissing if it is not prepared on this machine, DataError if it has another format,
    no train split, or not the features in `keys`, and for objectives with labels.
    """
    if keys.columns:
        check_no_fields(f"tfds:{name}", keys)
    info = prepared_builder(name).info
    file_format = info.file_format.value if info.file_format else "an unknown format"
    if file_format != "array_record":
        raise DataError(
            f"a data set must be prepared in array_record format; {info.data_dir} holds "
            f"{file_format}. "
            + PREPARE.format(name=info.full_name.replace("/" + str(info.version), ""))
        )
    if "train" not in info.splits:
        raise DataError(
            f"a data set must have a train split; {info.data_dir} has {', '.join(info.splits)}"
        )
    texts, spans = text_features(info), span_features(info)
    named = (
        ("text", keys.text, texts),
        ("target", keys.target, texts),
        ("spans", keys.spans, spans),
    )
    for option, key, known in named:
        if key and key not in known:
            kind = "spans" if option == "spans" else "texts"
            raise DataError(
                f"data.{option}_key must be a feature of {info.full_name} with {kind}; received "
                f"{key!r}; its {kind} are {', '.join(known) or 'none'}"
            )
    split = info.splits["train"]
    files = zip(split.filepaths, split.shard_lengths, strict=True)
    shards = [RecordShard(os.fspath(path), n, keys) for path, n in files]
    return TextSource("tfds", shards, keys.annotation_kind)


def prepared_builder(name: str) -> Any:
    """The TFDS builder of a prepared data set."""
    # Imported here because it takes a second and no other source needs it.
    import tensorflow_datasets as tfds
    from tensorflow_datasets.core import constants, read_only_builder

    folder = Path(paths.expand_user(name, "data.source"))
    try:
        if folder.is_dir():
            return tfds.builder_from_directory(folder)
        return read_only_builder.builder_from_files(name)
    # TFDS raises ValueError or FileNotFoundError, possibly with a list of all data sets.
    except (ValueError, OSError) as error:
        where = folder.absolute() if folder.is_dir() else Path(constants.DATA_DIR).expanduser()
        raise InputMissing(
            f"data.source 'tfds:{name}' must be a prepared TFDS data set; there is none in "
            f"{where}, which holds {list_folder(where)} (set TFDS_DATA_DIR for another folder). "
            + PREPARE.format(name=name)
        ) from error


def list_folder(folder: Path) -> str:
    """The first names in a folder, for a message."""
    names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    return ", ".join(names[:8]) + ", ..." * (len(names) > 8) or "nothing"


def text_features(info: Any) -> list[str]:
    """The names of the features that are strings."""
    specs = info.features.get_serialized_info()
    return sorted(
        name
        for name, spec in specs.items()
        if not isinstance(spec, dict) and spec.shape == () and spec.np_dtype in (object, bytes, str)
    )


def span_features(info: Any) -> list[str]:
    """The names of the features that are lists of pairs of integers."""
    specs = info.features.get_serialized_info()
    return sorted(
        name
        for name, spec in specs.items()
        if not isinstance(spec, dict)
        and spec.shape in ((None, 2), (None, None))
        and np.issubdtype(spec.np_dtype, np.integer)
    )
