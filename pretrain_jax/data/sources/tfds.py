"""`tfds:NAME`: the train split of a data set that TFDS prepared in ArrayRecord format.

NAME is TFDS's own (my_set, my_set:1.0.0, my_set/config) and is looked up in TFDS_DATA_DIR, by
default ~/tensorflow_datasets; or it is the path of a prepared folder. Only its files are read:
nothing is downloaded or prepared, and TensorFlow is never imported.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from array_record.python.array_record_module import ArrayRecordReader

from pretrain_jax.data.sources import Document, Shard, Source, hash_file
from pretrain_jax.errors import DataError, InputMissing

TAKES_NAME = "NAME"
GROUP = 64  # records read at once
PREPARE = (
    "Prepare it once, on a machine that has TensorFlow if the data set's code needs it:\n"
    "    python -c 'import tensorflow_datasets as tfds; "
    'tfds.builder("{name}", file_format="array_record").download_and_prepare()\''
)


class Records(Shard):
    """One ArrayRecord file of tf.train.Example records; their bytes feature `text_key` is text."""

    def __init__(self, path: str, count: int, text_key: str):
        self.name = path
        self.count = count
        self.text_key = text_key

    def digest(self) -> str:
        try:
            return f"records {self.text_key} {hash_file(self.name)}"
        except OSError as error:
            raise InputMissing(f"{self.name} must be readable; {error.strerror}") from error

    def documents(self) -> Iterator[Document]:
        # tfds carries the protos of tf.train.Example, so that they need no TensorFlow.
        from tensorflow_datasets.proto import tf_example_pb2

        example = tf_example_pb2.Example  # pyright: ignore[reportAttributeAccessIssue]
        for number, record in enumerate(self.records()):
            feature = example.FromString(record).features.feature
            values = feature[self.text_key].bytes_list.value
            if len(values) != 1:
                raise DataError(
                    f'record {number} of {self.name} must hold one text in "{self.text_key}"; it '
                    f"holds {len(values)}. Name the field that holds the text with data.text_key"
                )
            yield Document.of(f"{self.name} record {number}", values[0])

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


def find(name: str, *, text_key: str) -> Source:
    """The shards of the train split of the data set `name`.

    Raises InputMissing when it was never prepared here, DataError when it was in another format,
    has no train split or no feature `text_key`.
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
    texts = text_features(info)
    if text_key not in texts:
        raise DataError(
            f'data.text_key must name a text of {info.full_name}; received "{text_key}", its texts '
            f"are {', '.join(texts) or 'none'}"
        )
    split = info.splits["train"]
    files = zip(split.filepaths, split.shard_lengths, strict=True)
    return Source("tfds", [Records(os.fspath(path), n, text_key) for path, n in files])


def prepared(name: str) -> Any:
    """TFDS's builder for a data set that lies prepared on disk."""
    # Imported here: it takes a second, and no other source needs it.
    import tensorflow_datasets as tfds
    from tensorflow_datasets.core import constants, read_only_builder

    folder = Path(name).expanduser()
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
