"""Whatever a disk gives back ends in a value or in a DataError that names the file."""

import io

import numpy as np
import pytest
from stray import STRAY

from pretrain_jax.errors import DataError, InputMissing
from pretrain_jax.files import parsing


@pytest.mark.parametrize("content", STRAY.values(), ids=STRAY)
def test_what_is_no_object_is_refused_by_the_name_of_the_file(tmp_path, content):
    (tmp_path / "note.json").write_bytes(content)
    with pytest.raises(DataError, match=r"note\.json must .*; mend it"):
        parsing.read_json(tmp_path / "note.json", "mend it")


def test_keys_have_their_types(tmp_path):
    path = tmp_path / "note.json"
    path.write_text('{"count": 3, "flag": true}')
    assert parsing.read_json(path, "", {"count": int})["count"] == 3
    for key, kind in (("count", str), ("missing", int), ("flag", int)):
        with pytest.raises(DataError, match=rf'"{key}" in .*note\.json'):
            parsing.read_json(path, "mend it", {key: kind})


def test_what_is_not_there_and_what_is_a_folder(tmp_path):
    with pytest.raises(InputMissing, match="absent"):
        parsing.read_json(tmp_path / "absent", "")
    with pytest.raises(InputMissing, match="absent"):
        parsing.read_array(tmp_path / "absent", np.int64, "")
    for read in (
        lambda: parsing.read_json(tmp_path, ""),
        lambda: parsing.read_array(tmp_path, int, ""),
    ):
        with pytest.raises(DataError, match=tmp_path.name):
            read()


def npy(array, cut=None):
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()[:cut]


@pytest.mark.parametrize(
    "content",
    [
        *STRAY.values(),
        npy(np.arange(9.0)),
        npy(np.zeros((3, 3), np.int64)),
        npy(np.int64(3)),
        npy(np.arange(9), -8),
        npy(np.arange(9), 40),
        npy(np.arange(9)).replace(b"'<i8'", b"'|O8'"),
        npy(np.arange(9)).replace(b"(9,)", b"9" * 60),
        npy(np.arange(9)).replace(b"{'descr'", b"(((((((("),
        npy(np.arange(9)).replace(b"(9,), ", b"(-9,),"),
    ],
)
def test_what_is_no_row_of_integers_is_refused(tmp_path, content):
    (tmp_path / "offsets.npy").write_bytes(content)
    with pytest.raises(DataError, match=r"offsets\.npy must .*; mend it"):
        parsing.read_array(tmp_path / "offsets.npy", np.int64, "mend it")


def test_a_row_of_integers_comes_back(tmp_path):
    np.save(tmp_path / "offsets.npy", np.arange(9))
    np.testing.assert_array_equal(
        parsing.read_array(tmp_path / "offsets.npy", np.int64, ""), range(9)
    )
