"""Records with labels: which columns are read, from which files, and how texts are truncated."""

import json
from functools import partial
from typing import Any

import numpy as np
import pytest

from pretrain_jax.data import annotations
from pretrain_jax.data.cache import open_token_cache
from pretrain_jax.data.corpus import open_corpus
from pretrain_jax.data.records import Choices, Records
from pretrain_jax.data.sources import Columns
from pretrain_jax.errors import BadLabel, DataError
from pretrain_jax.objectives import multiple_choice
from pretrain_jax.objectives._labelled import read_each
from pretrain_jax.tokenizers.bytes import Bytes


def opened(path, columns=None, **options):
    return open_corpus(f"text:{path}", columns=columns or Columns(), split="all", **options)


def read(path, columns=None):
    """(texts, label) of every record of a file."""
    corpus = opened(path, columns)
    texts = ["".join(blocks) for blocks in corpus.documents("valid")]
    for switch in "\ufdd1\ufdd2":
        texts = [text.replace(switch, "|") for text in texts]
    return list(zip(texts, corpus.labels("valid"), strict=True))


FILES = {
    "header.tsv": ("id\ttext\tlabel\n7\tgood\tyes\n8\tbad\tno\n", None),
    "plain.tsv": ("good\tyes\nbad\tno\n", None),
    "no newline at the end.tsv": ("good\tyes\nbad\tno", None),
    "mark.tsv": ("\ufefftext\tlabel\ngood\tyes\nbad\tno\n", None),
    "blank lines.tsv": ("good\tyes\n\n  \nbad\tno\n\n", None),
    "windows.tsv": ("good\tyes\r\nbad\tno\r\n", None),
    "places.tsv": ("x\tyes\t\tgood\nx\tno\t*\tbad\n", Columns(("3",), "1")),
    "named.tsv": ("#1\tQ\ngood\tyes\nbad\tno\n", Columns(("#1",), "Q")),
    "a.csv": ('label,text\nyes,"good"\nno,bad\n', None),
    "any.txt": ("good\tyes\nbad\tno\n", None),
    "a.jsonl": ('{"text": "good", "label": "yes"}\n{"label": "no", "text": "bad"}\n', None),
}


@pytest.mark.parametrize("name", FILES)
def test_columns_are_found_by_header_by_place_and_by_name(tmp_path, name):
    content, columns = FILES[name]
    (tmp_path / name).write_text(content, newline="")
    assert read(tmp_path / name, columns) == [("good", "yes"), ("bad", "no")]


def test_a_tsv_has_no_quoting_and_a_csv_has(tmp_path):
    (tmp_path / "a.tsv").write_text('"He said "no.\tyes\n')
    assert read(tmp_path / "a.tsv") == [('"He said "no.', "yes")]
    (tmp_path / "a.csv").write_text('"He said ""no"",\ntwice",yes\nb,no\n')
    assert read(tmp_path / "a.csv") == [('He said "no",\ntwice', "yes"), ("b", "no")]


def test_the_same_bytes_in_another_format_are_other_records(tmp_path):
    """A cache must not serve the records of a .csv to a .tsv: their texts differ."""
    fingerprints = []
    for name in ("a.tsv", "a.csv", "a.txt"):
        (tmp_path / name).write_text('text\tlabel,text,label\n"a"\tyes,"b",no\n')
        fingerprints.append(opened(tmp_path / name).fingerprint)
    tsv, csv, txt = fingerprints
    assert csv != tsv == txt


def test_pairs_numbers_and_lists_are_read(tmp_path):
    (tmp_path / "pairs.tsv").write_text("a b\tc\t3.8\nd\te f\t0.5\n")
    assert read(tmp_path / "pairs.tsv") == [("a b|c", "3.8"), ("d|e f", "0.5")]
    records = [
        {"query": "q", "choices": ["a", "b", "c"], "gold": 2},
        {"query": "r", "choices": ["d", "e"], "gold": True},
    ]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    columns = Columns(("query", "choices"), "gold")
    assert read(tmp_path / "a.jsonl", columns) == [("q|a|b|c", "2"), ("r|d|e", "true")]


def test_an_empty_label_is_none(tmp_path):
    (tmp_path / "a.tsv").write_text("good\t1\nbad\t\nfine\t \n")
    (tmp_path / "b.jsonl").write_text('{"text": "a", "label": null}\n{"text": "b", "label": ""}\n')
    assert [label for _, label in read(tmp_path / "a.tsv")] == ["1", None, None]
    assert [label for _, label in read(tmp_path / "b.jsonl")] == [None, None]


def test_a_label_is_below_the_choices_of_its_own_record(tmp_path):
    lines = ['{"text": ["q", "a", "b", "c"], "label": 2}', '{"text": ["q", "a", "b"], "label": 2}']
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    cache = open_token_cache(opened(tmp_path / "a.jsonl"), "valid", Bytes(0), str(tmp_path / "c"))
    read_labels = partial(multiple_choice.read_numbers, choices=3)
    with pytest.raises(BadLabel, match="record 2 has 2 choices and the label 2") as caught:
        Choices(cache, tokens=16, choices=3, read_labels=read_labels)
    assert "a.jsonl line 2 has 2 choices" in str(caught.value.at("a.jsonl line 2"))
    for label in ("3", "-1", "9" * 5000, "1.0"):
        with pytest.raises(BadLabel, match="number of the right choice"):
            multiple_choice.read_numbers([label], 3)


def test_a_text_between_others_must_have_a_token():
    """Without it, the texts on its sides would have one annotation and be one text."""
    text = annotations.annotate_parts(["q", "a", "b", "c"])
    with pytest.raises(DataError, match="makes nothing of 'b'"):
        annotations.check_tokens(text, [np.ones(1), np.ones(1), np.ones(0), np.ones(1)])
    annotations.check_tokens(text, [np.ones(1)] * 4)


def test_a_file_without_labels_is_read_where_none_are_required(tmp_path):
    (tmp_path / "a.tsv").write_text("good film\nbad film\n")
    columns = Columns(count=1, required=False)
    assert read(tmp_path / "a.tsv", columns) == [("good film", None), ("bad film", None)]
    (tmp_path / "b.tsv").write_text("a\tb\nc\td\n")
    assert read(tmp_path / "b.tsv", Columns(count=2, required=False)) == [
        ("a|b", None),
        ("c|d", None),
    ]


WRONG = {
    "one column": ("a.tsv", "good\nbad\n", None, "has 1: "),
    "four columns": ("a.tsv", "a\tb\tc\td\n", None, "by their places, from 0"),
    "a header of other names": ("a.tsv", "sentence\tlabel\na\t1\n", None, "is a header"),
    "a missing column": ("a.tsv", "text\tlabel\na\t1\n", Columns(("body",), "label"), "'body'"),
    "a place that is missing": ("a.tsv", "a\t1\n", Columns(("3",), "1"), "columns '3'"),
    "a header and places": ("a.tsv", "text\tlabel\na\t1\n", Columns(("0",), "1"), "is a header"),
    "two columns of one name": (
        "a.tsv",
        "text\ttext\tlabel\na\tb\t1\n",
        None,
        "has 2 of the name 'text'",
    ),
    "a number that is not finite": ("a.jsonl", '{"text": "a", "label": NaN}\n', None, "finite"),
    "a ragged row": ("a.tsv", "a\t1\nb\tc\t0\n", None, "line 2 has 3.*NF == 2"),
    "an empty text": ("a.tsv", "a\t1\n \t0\n", None, "text 1 of .* line 2 must not be empty"),
    "a missing key": ("a.jsonl", '{"text": "a"}\n', None, "line 1 must have the columns 'label'"),
    "no JSON": ("a.jsonl", "{text}\n", None, "line 1 must be a JSON object"),
    "no object": ("a.jsonl", "[1]\n", None, "line 1 must be a JSON object"),
    "a number as a text": ("a.jsonl", '{"text": 3, "label": 1}\n', None, "must be strings"),
    "an open quote": ("a.csv", 'text,label\n"a,1\n', None, "must be comma-separated"),
    "a pair where one text is read": ("a.tsv", "a\tb\t1\n", Columns(count=1), "has 2"),
    "one text where a pair is read": ("a.tsv", "a\t1\n", Columns(count=2), "2 texts; .* has 1"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_file_ends_in_one_sentence_that_names_the_line(tmp_path, case):
    name, content, columns, message = WRONG[case]
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=message):
        read(tmp_path / name, columns)


def test_validation_text_may_be_another_source(tmp_path):
    (tmp_path / "a.tsv").write_text("good\tyes\nbad\tno\n")
    (tmp_path / "b.tsv").write_text("fine\tyes\n")
    corpus = open_corpus(
        f"text:{tmp_path}/a.tsv", validation=f"text:{tmp_path}/b.tsv", columns=Columns()
    )
    assert [["".join(d) for d in corpus.documents(half)] for half in ("train", "valid")] == [
        ["good", "bad"],
        ["fine"],
    ]
    assert corpus.labels("train") == ["yes", "no"] and corpus.labels("valid") == ["yes"]
    alone = open_corpus(f"text:{tmp_path}/a.tsv", columns=Columns())
    swapped = open_corpus(
        f"text:{tmp_path}/b.tsv", validation=f"text:{tmp_path}/a.tsv", columns=Columns()
    )
    assert len({corpus.fingerprint, alone.fingerprint, swapped.fingerprint}) == 3


def cache_of(tmp_path, lines, **columns):
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    corpus = opened(tmp_path / "a.jsonl", Columns(**columns))
    return open_token_cache(corpus, "valid", Bytes(0), tmp_path / "cache")


def read_numbers(labels):
    return read_each(int, np.int32, labels)


def truncated(first, second, room):
    """google-research/bert run_classifier.py, _truncate_seq_pair, in its own steps."""
    first, second = list(first), list(second)
    while len(first) + len(second) > room:
        (first if len(first) > len(second) else second).pop()
    return "".join(first), "".join(second)


@pytest.mark.parametrize("room", [2, 3, 5, 8, 40])
def test_pairs_are_truncated_as_in_bert(tmp_path, room):
    draw = np.random.default_rng(0)
    words = ["abcdefghijklmnop"[: draw.integers(1, 17)] for _ in range(60)]
    lines = [{"a": a, "b": b, "label": 1} for a, b in zip(words[::2], words[1::2], strict=True)]
    cache = cache_of(tmp_path, lines, texts=("a", "b"))
    examples = Records(cache, tokens=room, texts=2, read_labels=read_numbers)
    taken = examples.take(np.arange(len(lines)))
    for number, line in enumerate(lines):
        parts = [
            bytes(taken[name].split()[number]).decode("latin1") for name in ("first", "second")
        ]
        parts = ["".join(map(chr, taken[name].split()[number])) for name in ("first", "second")]
        assert tuple(parts) == truncated(line["a"], line["b"], room)
        assert examples.length[number].tolist() == list(map(len, parts))


def test_choices_of_different_numbers_keep_their_places(tmp_path):
    lines = [
        {"query": "qqqq", "choices": ["a", "bb", "ccc"], "gold": 2},
        {"query": "r", "choices": ["dddd", "e"], "gold": 0},
    ]
    cache = cache_of(tmp_path, lines, texts=("query", "choices"), label="gold")
    examples = Choices(cache, tokens=5, choices=3, read_labels=read_numbers)
    taken = examples.take(np.array([1, 0]))
    rows = {name: ["".join(map(chr, row)) for row in taken[name].split()] for name in taken}
    assert rows["first"] == ["r", "r", "", "qqqq", "qqq", "qqq"]
    assert rows["second"] == ["dddd", "e", "", "a", "bb", "cc"]
    assert taken["labels"].values.tolist() == [0, 2]
    assert examples.length.tolist() == [[15, 3], [7, 2]]


KINDS = {
    "a.tsv": ("first\tlabel\tsecond\ngood\t1\tfun\nbad\t2\tsad\n", ("first", "second")),
    "b.tsv": ("1\tgood\tfun\n2\tbad\tsad\n", ("1", "2")),
    "c.csv": ('"good",fun\nbad,"sad"\n', ("0", "1")),
    "d.jsonl": ('{"a": "good", "b": "fun"}\n{"a": "bad", "b": "sad", "label": 1}\n', ("a", "b")),
}


@pytest.mark.parametrize("name", KINDS)
def test_plain_text_has_the_columns_of_a_record_on_a_line_each(tmp_path, name):
    """For pretraining on the texts of a task: no label is needed, and none is read."""
    content, fields = KINDS[name]
    (tmp_path / name).write_text(content)
    corpus = opened(tmp_path / name, Columns(fields, required=False, kind="text"))
    assert corpus.annotation_kind == ""
    documents = ["".join(blocks) for blocks in corpus.documents("valid")]
    assert documents == ["good\nfun", "bad\nsad"]
    assert corpus.labels("valid") == [None, None]


def test_a_table_has_pairs_of_a_text_and_its_target(tmp_path):
    (tmp_path / "a.tsv").write_text("en\tde\nYes.\tJa.\nNo\t\n")
    (tmp_path / "b.csv").write_text('"Yes.",Ja.\n')
    for name, keys in (("a.tsv", ("en", "de")), ("b.csv", ("0", "1"))):
        options: Any = {"text_key": keys[0], "target_key": keys[1], "split": "all"}
        corpus = open_corpus(f"text:{tmp_path}/{name}", **options)
        documents = ["".join(blocks) for blocks in corpus.documents("valid")]
        assert corpus.annotation_kind == "targets" and documents[0] == "Yes.\ufdd1Ja."
        assert documents[1:] == (["No\ufdd1"] if name == "a.tsv" else [])
    with pytest.raises(DataError, match=r"'fr'.*'en', 'de'.*data\.target_key"):
        corpus = open_corpus(f"text:{tmp_path}/a.tsv", text_key="en", target_key="fr", split="all")
        list(corpus.documents("valid"))


def test_the_same_columns_as_text_and_as_records_have_other_digests(tmp_path):
    (tmp_path / "a.tsv").write_text("good\tfun\n")
    made = [
        opened(tmp_path / "a.tsv", Columns(("0",), required=False, kind=kind)).fingerprint
        for kind in ("records", "text")
    ]
    assert made[0] != made[1]
