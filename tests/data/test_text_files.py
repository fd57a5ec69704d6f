"""Which files a glob names, and what is no text."""

import contextlib
import gzip
import os
import signal
import socket

import numpy as np
import pytest
from data_toys import ByteTokenizer

from pretrain_jax.data.cache import open_token_cache
from pretrain_jax.data.corpus import open_corpus
from pretrain_jax.data.sources import open_source
from pretrain_jax.errors import ConfigError, DataError, InputMissing, UserError

TEXT = "some words that are read, and a few more of them\n"


def names(source):
    return [os.path.basename(shard.name) for shard in open_source(source).shards]


def read(source, **options):
    shards = open_source(source, **options).shards
    return [b"".join(d.chunks(0)).decode() for shard in shards for d in shard.documents()]


@pytest.fixture
def folder(tmp_path):
    """Text under many names, and what is none."""
    for name in ("A.TXT", "wiki_00", "b.xml", "c.train", "d.txt", "e.md", "f.json", "g.tsv"):
        (tmp_path / name).write_text(TEXT)
    (tmp_path / "h.JSONL").write_text('{"text": "a record"}\n')
    (tmp_path / "i.TXT.GZ").write_bytes(gzip.compress(TEXT.encode()))
    (tmp_path / "j.xml.gz").write_bytes(gzip.compress(TEXT.encode()))
    (tmp_path / "k.bin").write_bytes(bytes(range(256)) * 9)
    return tmp_path


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("*.TXT", ["A.TXT"]),
        ("wiki_*", ["wiki_00"]),
        ("*.xml", ["b.xml"]),
        ("*.train", ["c.train"]),
        ("*.xml*", ["b.xml", "j.xml.gz"]),
        ("f.json", ["f.json"]),
        ("*.{xml,train}", ["b.xml", "c.train"]),
        ("{wiki_*,d.txt}", ["d.txt", "wiki_00"]),
        ("*", ["A.TXT", "d.txt", "e.md", "h.JSONL", "i.TXT.GZ"]),
        ("*.*", ["A.TXT", "d.txt", "e.md", "h.JSONL", "i.TXT.GZ"]),
        ("", ["A.TXT", "d.txt", "e.md", "h.JSONL", "i.TXT.GZ"]),
    ],
)
def test_a_name_or_an_ending_of_its_own_is_text_and_a_bare_wildcard_takes_known_endings(
    folder, caplog, pattern, found
):
    assert names(f"text:{folder}/{pattern}") == found
    texts = read(f"text:{folder}/{pattern}")
    assert set(texts) <= {TEXT, "a record"} and len(texts) == len(found)
    assert ("left out" in caplog.text) == (pattern in ("*", "*.*", ""))


def test_commas_part_paths(folder):
    assert names(f"text:{folder}/wiki_*,{folder}/d.txt") == ["d.txt", "wiki_00"]


def test_a_folder_is_read_to_its_depth_and_links_lead_to_a_file_once(folder):
    (folder / "deep" / "er").mkdir(parents=True)
    (folder / "deep" / "er" / "z.txt").write_text(TEXT)
    (folder / "deep" / "er" / "up").symlink_to(folder / "deep")
    assert names(f"text:{folder}/deep") == ["z.txt"]
    assert names(f"text:{folder}/deep/**/*.txt") == ["z.txt"]
    assert "z.txt" in names(f"text:{folder}")


def test_what_exists_is_taken_as_it_is_written(tmp_path):
    for name in ("bk[1]", "bk1", "a{b,c}", "x,y"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.txt").write_text(name)
    for name in ("bk[1]", "a{b,c}", "x,y"):
        assert read(f"text:{tmp_path}/{name}/*.txt") == [name]
        assert read(f"text:{tmp_path}/{name}/a.txt") == [name]
    assert read(f"text:{tmp_path}/bk[[]1]/*") == ["bk[1]"]
    assert read(f"text:{tmp_path}/bk[12]/*.txt") == ["bk1"]
    with pytest.raises(InputMissing, match=r"\[ \] match one"):
        open_source(f"text:{tmp_path}/nb[1]/*.txt")


@pytest.mark.parametrize(
    "missing", ["{d,q}.txt", "d.txt,q.txt", "a\0b", "x" * 5000, "**", "[", "{"]
)
def test_each_alternative_must_match_and_odd_names_are_refused(tmp_path, missing):
    (tmp_path / "d.txt").write_text(TEXT)
    empty = "none/" if missing == "**" else ""
    with pytest.raises(UserError):
        open_source(f"text:{tmp_path}/{empty}{missing}")
    with pytest.raises(UserError):
        open_source(f"text:{tmp_path}/" + "{a,b}" * 40)


@pytest.mark.parametrize("path", ["books/x.txt", "data/*.txt", "x.txt", "~/x.txt", "/abs/x"])
def test_a_path_without_a_scheme_proposes_one(path):
    with pytest.raises(ConfigError, match="write text:") as raised:
        open_source(path)
    assert f"text:{path}" in str(raised.value)


@contextlib.contextmanager
def within(seconds):
    def ring(*_):
        raise TimeoutError("still waiting")

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("kind", ["pipe", "socket", "device", "loop", "dangling", "folder"])
def test_what_is_no_file_is_refused_at_once(tmp_path, monkeypatch, kind):
    path = tmp_path / "a.txt"
    with contextlib.ExitStack() as stack:
        if kind == "pipe":
            os.mkfifo(path)
        elif kind == "socket":
            bound = stack.enter_context(socket.socket(socket.AF_UNIX))
            monkeypatch.chdir(tmp_path)  # the name of a socket must be short
            bound.bind("a.txt")
        elif kind == "device":
            path.symlink_to("/dev/zero")
        elif kind in ("loop", "dangling"):
            path.symlink_to("a.txt" if kind == "loop" else "absent")
        else:
            path.mkdir()
        with within(20), pytest.raises((DataError, InputMissing), match=r"a\.txt|nothing matches"):
            open_corpus(f"text:{path}").bytes("train")
        with within(20), pytest.raises((DataError, InputMissing)):
            _ = open_corpus(f"text:{tmp_path}/*.txt").fingerprint


def test_a_file_that_vanishes_or_changes_while_it_is_read_is_named(tmp_path):
    path = tmp_path / "a.txt"
    for change in (lambda: path.write_text(TEXT * 3), path.unlink, lambda: os.truncate(path, 0)):
        path.write_text(TEXT * 2)
        corpus = open_corpus(f"text:{path}")
        assert corpus.fingerprint
        change()
        with pytest.raises((DataError, InputMissing), match=r"a\.txt"):
            corpus.bytes("train")


def test_a_record_that_is_added_between_two_readings_is_no_traceback(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "one two three four"}\n' * 9)
    corpus = open_corpus(f"text:{path}")
    assert corpus.bytes("train")
    with path.open("a") as file:
        file.write('{"text": "five"}\n')
    with pytest.raises(DataError, match=r"a\.jsonl"):
        open_token_cache(corpus, "train", ByteTokenizer(), tmp_path / "cache")


@pytest.mark.parametrize("suffix", [".txt", ".txt.gz"])
def test_a_byte_order_mark_is_skipped_and_changes_no_token(tmp_path, suffix):
    seen = []
    for mark in ("", "\ufeff"):
        data = (mark + TEXT * 20).encode()
        (tmp_path / f"a{suffix}").write_bytes(gzip.compress(data) if "gz" in suffix else data)
        corpus = open_corpus(f"text:{tmp_path}/a{suffix}")
        halves = [
            open_token_cache(corpus, h, ByteTokenizer(), tmp_path / "c") for h in ("train", "valid")
        ]
        seen.append((corpus.fingerprint, [half.tokens.copy() for half in halves]))
    for plain, marked in zip(seen[0][1], seen[1][1], strict=True):
        np.testing.assert_array_equal(plain, marked)
    assert seen[0][0] != seen[1][0]


def test_a_byte_order_mark_before_records(tmp_path):
    (tmp_path / "a.jsonl").write_bytes('\ufeff{"text": "one"}\n{"text": "two"}'.encode())
    assert read(f"text:{tmp_path}/a.jsonl") == ["one", "two"]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le"])
@pytest.mark.parametrize("name", ["a.txt", "a.jsonl", "a.txt.gz"])
def test_wide_encodings_are_named_with_the_command_that_converts_them(tmp_path, encoding, name):
    data = (TEXT * 9).encode(encoding)
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith("gz") else data)
    named = {"utf-16-le": "UTF-16LE", "utf-16-be": "UTF-16BE", "utf-32-le": "UTF-32LE"}
    with pytest.raises(
        DataError, match=f"iconv -f {named.get(encoding, encoding.upper())} -t UTF-8"
    ):
        open_corpus(f"text:{tmp_path}/{name}").bytes("train")


def test_a_few_nuls_are_kept_with_a_line_and_many_are_refused(tmp_path, caplog):
    path = tmp_path / "a.txt"
    path.write_text(TEXT * 200 + "\0" + TEXT * 200)
    assert open_corpus(f"text:{path}").bytes("train")
    assert "NUL" in caplog.text
    path.write_text(TEXT * 200 + "\0" * 100 + TEXT)
    with pytest.raises(DataError, match="NUL"):
        open_corpus(f"text:{path}").bytes("train")
