"""`tfds:NAME`: the train split of a data set that TFDS prepared in ArrayRecord format.

NAME is TFDS's own (my_set, my_set:1.0.0, my_set/config) and is looked up in TFDS_DATA_DIR, by
default ~/tensorflow_datasets; or it is the path of a prepared folder. Only its files are read:
nothing is downloaded or prepared, and TensorFlow is never imported.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from array_record.python.array_record_module import ArrayRecordReader

from pretrain_jax.data import annotations
from pretrain_jax.data.sources import Document, Keys, Shard, Source, hash_file
from pretrain_jax.errors import DataError, InputMissing
from pretrain_jax.files import paths

TAKES_NAME = "NAME"
GROUP = 64  # records read at once
PREPARE = (
    "Prepare it once, on a machine that has TensorFlow if the data set's code needs it:\n"
    "    python -c 'import tensorflow_datasets as tfds; "
    'tfds.builder("{name}", file_format="array_record").download_and_prepare()\''
)


class Records(Shard):
    """One ArrayRecord file of tf.train.Example records; their bytes feature `keys.text` is text.

    Spans are one flat list of integers: start, end, start, end, ...
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
        # tfds carries the protos of tf.train.Example, so that they need no TensorFlow.
        from tensorflow_datasets.proto import tf_example_pb2

        example = tf_example_pb2.Example  # pyright: ignore[reportAttributeAccessIssue]
        for number, record in enumerate(self.records()):
            name = f"{self.name} record {number}"
            yield self.document(example.FromString(record).features.feature, name)

    def document(self, feature: Any, name: str) -> Document:
        keys = self.keys
        found = {key: feature[key].bytes_list.value for key in (keys.text, keys.target) if key}
        if all(len(values) == 1 for values in found.values()):
            if not keys.kind:
                return Document.of(name, found[keys.text][0])
            wrong = "is not valid UTF-8"
            with contextlib.suppress(UnicodeDecodeError):
                text, target = (found.get(k, [b""])[0].decode() for k in (keys.text, keys.target))
                flat = list(feature[keys.spans].int64_list.value) if keys.spans else []
                spans = [flat[at : at + 2] for at in range(0, len(flat), 2)]
                complaint = annotations.complaint(spans, len(text))
                if complaint is None:
                    return keys.document(name, text, spans, target)
                wrong = f'has "{keys.spans}" that {complaint}'
        else:
            wrong = "holds " + " and ".join(str(len(values)) for values in found.values())
        fields = " and ".join(f'"{key}"' for key in found)
        more = f", and its {keys.kind} likewise" if keys.kind else ""
        raise DataError(
            f"{name} must hold one text in {fields}; it {wrong}. Name the field that holds the "
            f"text with data.text_key{more}"
        )

    def records(self) -> Iterator[bytes]:
        if self.count == 0:
            return
        try:
            reader = ArrayRecordReader(self.name)
            found = reader.num_records()
            if found == self.count:
                for at in range(0, found, GROUP):
                    yield from reader.read(at, min(at + GROUP, found))
                reader.close()
                return
            wrong = f"it has {found} records"
        except (RuntimeError, ValueError, IndexError) as error:
            wrong = str(error)
        raise DataError(
            f"{self.name} must be an ArrayRecord file with the {self.count} records that its "
            f"dataset_info.json counts; {wrong}. Copy or prepare the data set again"
        )


def find(name: str, keys: Keys) -> Source:
    """The shards of the train split of the data set `name`.

    Raises InputMissing when it was never prepared here, DataError when it was in another format,
    has no train split or not the features that `keys` names.
    """
    info = prepared(name).info
    form = info.file_format.value if info.file_format else "an unknown format"
    if form != "array_record":
        raise DataError(
            f"a data set must be prepared in array_record format; {info.data_dir} holds {form}. "
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
                f'data.{option}_key must name {kind} of {info.full_name}; received "{key}", its '
                f"{kind} are {', '.join(known) or 'none'}"
            )
    split = info.splits["train"]
    files = zip(split.filepaths, split.shard_lengths, strict=True)
    shards = [Records(os.fspath(path), n, keys) for path, n in files]
    return Source("tfds", shards, keys.kind)


def prepared(name: str) -> Any:
    """TFDS's builder for a data set that lies prepared on disk."""
    # Imported here: it takes a second, and no other source needs it.
    import tensorflow_datasets as tfds
    from tensorflow_datasets.core import constants, read_only_builder

    folder = Path(paths.expanded(name, "data.source"))
    try:
        if folder.is_dir():
            return tfds.builder_from_directory(folder)
        return read_only_builder.builder_from_files(name)
    # What TFDS raises is a ValueError or a FileNotFoundError, and may list every data set's name.
    except (ValueError, OSError) as error:
        where = folder.absolute() if folder.is_dir() else Path(constants.DATA_DIR).expanduser()
        raise InputMissing(
            f"data.source 'tfds:{name}' must be a data set that TFDS has prepared; there is no "
            f"such one in {where}, which holds {contents(where)} (TFDS_DATA_DIR names another "
            "folder). " + PREPARE.format(name=name)
        ) from error


def contents(folder: Path) -> str:
    names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    return ", ".join(names[:8]) + ", ..." * (len(names) > 8) or "nothing"


def text_features(info: Any) -> list[str]:
    """Names of the features that are one string each."""
    specs = info.features.get_serialized_info()
    return sorted(
        name
        for name, spec in specs.items()
        if not isinstance(spec, dict) and spec.shape == () and spec.np_dtype in (object, bytes, str)
    )


def span_features(info: Any) -> list[str]:
    """Names of the features that are lists of pairs of integers."""
    specs = info.features.get_serialized_info()
    return sorted(
        name
        for name, spec in specs.items()
        if not isinstance(spec, dict)
        and spec.shape in ((None, 2), (None, None))
        and np.issubdtype(spec.np_dtype, np.integer)
    )
