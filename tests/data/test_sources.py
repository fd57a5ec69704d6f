"""text: and stdlib: what is a document, and the error when it cannot be read."""

import gzip
import json
import platform
import re

import pytest

from pretrain_jax import code_version
from pretrain_jax.data.corpus import open_corpus
from pretrain_jax.data.sources import open_source
from pretrain_jax.data.sources.stdlib import LibraryShard
from pretrain_jax.errors import ConfigError, DataError, InputMissing


def texts(source, **options):
    shards = open_source(source, **options).shards
    return [b"".join(d.chunks(0)).decode() for shard in shards for d in shard.documents()]


def test_each_kind_of_file_in_the_order_of_names(tmp_path):
    (tmp_path / "a.txt").write_bytes("one\r\nfile ü".encode())
    (tmp_path / "b.jsonl").write_text('{"text": "line 1"}\n\n{"text": "line\\n2", "id": 7}\n')
    (tmp_path / "c.md").write_text("# three")
    (tmp_path / "d.txt.gz").write_bytes(gzip.compress(b"four"))
    (tmp_path / "e.jsonl.gz").write_bytes(gzip.compress(b'{"text": "five"}'))
    expected = ["one\r\nfile ü", "line 1", "line\n2", "# three", "four", "five"]
    assert texts(f"text:{tmp_path}/*") == expected
    assert texts(f"text:{tmp_path.parent}/**/{tmp_path.name}/*") == expected


def test_a_document_streams_from_any_byte(tmp_path):
    data = bytes(range(65, 91)) * 30_000
    (tmp_path / "a.txt").write_bytes(data)
    (tmp_path / "b.txt.gz").write_bytes(gzip.compress(data))
    for shard in open_source(f"text:{tmp_path}/*").shards:
        (document,) = shard.documents()
        chunks = list(document.chunks(300_001))
        assert b"".join(chunks) == data[300_001:]
        assert max(map(len, chunks)) <= 1 << 18


def test_no_file_matches_names_the_glob_and_what_is_there(tmp_path):
    (tmp_path / "books.txt").write_text("x")
    (tmp_path / "notes").mkdir()
    with pytest.raises(InputMissing, match=r"book\.txt.*holds books\.txt, notes/"):
        open_source(f"text:{tmp_path}/book.txt")
    with pytest.raises(InputMissing, match=r"The folder .* holds notes/, books\.txt"):
        open_source(f"text:{tmp_path}/note/*.txt")


def test_unknown_scheme_and_malformed_source():
    with pytest.raises(ConfigError, match="did you mean text"):
        open_source("txt:a.txt")
    with pytest.raises(ConfigError, match="text:GLOB"):
        open_source("text")
    with pytest.raises(ConfigError, match="must be written stdlib"):
        open_source("stdlib:3.11")


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        (b'{"text": "a"', "it is not JSON: .*delimiter"),
        (b'["a"]', "it is a list"),
        (b'{"txt": "a", "id": 1}', "its fields are 'txt', 'id'"),
        (b'{"text": 5}', 'its "text" is a int'),
        (b'{"text": "\xff"}', "byte 10 is not valid UTF-8"),
        (b'{"text": "\\ud800"}', "an unpaired surrogate"),
    ],
)
def test_a_malformed_line_is_named(tmp_path, line, complaint):
    (tmp_path / "a.jsonl").write_bytes(b'{"text": "good"}\n\n' + line + b"\n")
    with pytest.raises(DataError, match=rf"a\.jsonl line 3 must .*{complaint}"):
        texts(f"text:{tmp_path}/a.jsonl")


def test_text_key(tmp_path):
    (tmp_path / "a.jsonl").write_text(json.dumps({"body": "hello"}))
    assert texts(f"text:{tmp_path}/a.jsonl", text_key="body") == ["hello"]


@pytest.mark.parametrize(
    "data", [b"plain text", gzip.compress(b"text " * 9999)[:-20]], ids=["plain", "cut short"]
)
def test_a_bad_gzip_file_is_named(tmp_path, data):
    (tmp_path / "a.txt.gz").write_bytes(data)
    with pytest.raises(DataError, match=r"a\.txt\.gz must be a complete gzip file"):
        texts(f"text:{tmp_path}/*")


@pytest.mark.parametrize("suffix", [".txt", ".txt.gz"])
@pytest.mark.parametrize(
    ("data", "byte"), [(b"ab\xff", 2), (b"a" * 262_143 + "é".encode()[:1] + b"b", 262_143)]
)
def test_invalid_utf8_names_file_and_byte(tmp_path, suffix, data, byte):
    file = tmp_path / f"a{suffix}"
    file.write_bytes(gzip.compress(data) if suffix.endswith("gz") else data)
    with pytest.raises(DataError, match=rf"a{suffix} is not at byte {byte} \(0x"):
        open_corpus(f"text:{file}").bytes("train")


def test_text_that_ends_inside_a_character(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"abc" + "é".encode()[:1])
    with pytest.raises(DataError, match="byte 3"):
        open_corpus(f"text:{tmp_path}/a.txt").bytes("train")


def test_empty_corpus(tmp_path):
    (tmp_path / "a.txt").write_text("")
    with pytest.raises(DataError, match="have no text"):
        open_corpus(f"text:{tmp_path}/a.txt").bytes("train")


def test_stdlib_is_large_named_by_its_python_and_leaves_tests_out():
    source = open_source("stdlib")
    assert source.label == f"stdlib-{platform.python_version()}"
    (shard,) = source.shards
    documents = list(shard.documents())
    names = [document.name for document in documents]
    assert names == sorted(names)
    assert {"json/decoder.py", "argparse.py"} <= set(names)
    left_out = {"test", "tests", "site-packages", "idlelib", "tkinter", "distutils", "lib2to3"}
    assert not left_out & {part for name in names for part in name.split("/")[:-1]}
    assert sum(len(c) for d in documents for c in d.chunks(0)) > 5_000_000
    assert open_corpus("stdlib").fingerprint.startswith(source.label)


def test_stdlib_holds_no_tables():
    """Of a table few lines are distinct, numbers and quoted strings aside."""
    (shard,) = open_source("stdlib").shards
    for document in shard.documents():
        text = b"".join(document.chunks(0)).decode()
        plain = re.sub(r"#.*|0x[0-9a-fA-F]+|\d+|'[^'\n]*'|\"[^\"\n]*\"", "", text)
        lines = [line.strip() for line in plain.splitlines() if line.strip()]
        assert len(text) < 2000 or len(set(lines)) > 0.3 * len(lines), document.name


@pytest.mark.parametrize(
    ("data", "concerned"),
    [
        ({"source": "stdlib", "mixture": []}, True),
        ({"source": "text:a", "mixture": []}, False),
        ({"source": "text:a", "mixture": [["stdlib", "causal_lm", 1.0]]}, True),
        ({"source": "stdlib", "mixture": [["text:a", "causal_lm", 1.0]]}, False),
    ],
)
def test_older_runs_on_the_library_are_concerned_and_no_others(data, concerned):
    changes = code_version.changes_since(2, {"data": {"split": "auto", **data}})
    assert any("tables" in what for what in changes) == concerned


def test_files_of_the_library_that_are_not_utf8_are_left_out_and_counted(tmp_path, caplog):
    caplog.set_level("INFO")
    (tmp_path / "b.py").write_bytes(b"name = 'caf\xe9'")
    (tmp_path / "a.py").write_text("x = 1")
    (tmp_path / "json").mkdir()
    (tmp_path / "json" / "c.py").write_text("y = 2")
    library = LibraryShard(tmp_path)
    assert [document.name for document in library.documents()] == ["a.py", "json/c.py"]
    assert "skipped 1 files" in caplog.text
