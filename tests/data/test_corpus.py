"""The split, the fingerprint, and text in pieces."""

import gzip
import itertools
import os
import random

import numpy as np
import pytest
from data_toys import write_lines

from pretrain_jax.data import corpus as corpus_module
from pretrain_jax.data.corpus import open_corpus, split_into_blocks
from pretrain_jax.errors import ConfigError, DataError


def whole(corpus, half):
    return ["".join(document) for document in corpus.documents(half)]


def test_tail_of_a_single_ascii_file_is_nanogpts(tmp_path):
    data = "".join(random.Random(0).choices("abc \n", k=12_347))
    (tmp_path / "a.txt").write_text(data)
    corpus = open_corpus(f"text:{tmp_path}/a.txt")
    assert corpus.split_method == "tail"
    assert whole(corpus, "train") == [data[: int(0.9 * len(data))]]
    assert whole(corpus, "valid") == [data[int(0.9 * len(data)) :]]


@pytest.mark.parametrize("length", range(2, 40))
def test_tail_never_cuts_a_character(tmp_path, length):
    data = ("aé€😀" * 10)[:length]
    (tmp_path / "a.txt").write_text(data, encoding="utf-8")
    corpus = open_corpus(f"text:{tmp_path}/a.txt", split="tail")
    if len(data.encode()) < 8:
        return  # too short to have a tail
    halves = whole(corpus, "train") + whole(corpus, "valid")
    assert "".join(halves) == data and len(halves) == 2
    assert corpus.bytes("train") + corpus.bytes("valid") == len(data.encode())


def test_hash_splits_whole_documents_by_content(tmp_path):
    texts = [f"document {i}" for i in range(2000)]
    first = open_corpus(write_lines(tmp_path / "a.jsonl", texts))
    assert first.split_method == "hash"
    train, valid = whole(first, "train"), whole(first, "valid")
    assert sorted(train + valid) == sorted(texts)
    assert 60 < len(valid) < 140
    assert (first.count("train"), first.count("valid")) == (len(train), len(valid))
    assert first.bytes("valid") == sum(map(len, valid))
    # The order of documents, and equal documents elsewhere, do not change where one falls.
    second = open_corpus(write_lines(tmp_path / "b.jsonl", texts[::-1] + texts))
    assert set(whole(second, "valid")) == set(valid)


def test_auto_takes_tails_under_100_documents(tmp_path):
    for count, split in ((99, "tail"), (300, "hash")):
        texts = [f"document number {i}" for i in range(count)] + [""] * 5
        source = write_lines(tmp_path / f"{count}.jsonl", texts)
        corpus = open_corpus(source)
        assert corpus.split_method == split
        assert corpus.count("train") and corpus.count("valid")


def test_no_half_is_ever_empty(tmp_path):
    source = write_lines(tmp_path / "a.jsonl", ["only one"])
    with pytest.raises(DataError, match=r"has no text in the split '(train|valid)'"):
        open_corpus(source, split="hash").bytes("train")
    (tmp_path / "b.txt").write_text("x")
    with pytest.raises(DataError, match="has no text in the split 'train'"):
        open_corpus(f"text:{tmp_path}/b.txt").bytes("train")
    with pytest.raises(ConfigError, match="did you mean hash"):
        open_corpus(source, split="hashed")


def test_fingerprint_is_of_bytes_and_order_not_of_places(tmp_path):
    for folder in ("x", "y", "z"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.txt").write_text("first")
        (tmp_path / folder / "b.txt").write_text("second")
    (tmp_path / "z" / "b.txt").write_text("Second")
    x, y, z = (open_corpus(f"text:{tmp_path}/{f}/*.txt").fingerprint for f in "xyz")
    assert x == y != z
    os.rename(tmp_path / "y" / "a.txt", tmp_path / "y" / "c.txt")
    assert open_corpus(f"text:{tmp_path}/y/*.txt").fingerprint != x


def test_fingerprint_depends_on_the_field_and_the_split(tmp_path):
    """It also stands for what a tokenizer is trained on: the training half."""
    source = write_lines(tmp_path / "a.jsonl", ["x"])
    options = [{}, {"text_key": "body"}, {"split": "hash"}, {"split": "tail"}]
    assert len({open_corpus(source, **o).fingerprint for o in options}) == 4


def test_pieces_join_to_the_text_and_keep_the_limit():
    draw = random.Random(1)
    for _ in range(200):
        text = "".join(draw.choices("ab \n", weights=[5, 5, 2, 1], k=draw.randrange(300)))
        cuts = sorted(draw.choices(range(len(text) + 1), k=3))
        parts = [text[a:b] for a, b in itertools.pairwise([0, *cuts, len(text)])]
        made = list(split_into_blocks(parts, limit=17))
        assert "".join(made) == text
        assert all(0 < len(piece) <= 17 for piece in made)


def test_pieces_are_cut_where_words_stay_whole():
    text = "one  two\n\nthree\nfour five"
    assert list(split_into_blocks([text], limit=20)) == ["one  two\n\nthree\n", "four five"]
    assert list(split_into_blocks(["one two three"], limit=9)) == ["one two", " three"]
    assert list(split_into_blocks(["x" * 25], limit=10)) == ["x" * 10, "x" * 10, "x" * 5]


def test_characters_are_whole_across_the_pieces_that_files_are_read_in(tmp_path):
    text = "aé€😀" * 100_000
    (tmp_path / "a.txt").write_text(text, encoding="utf-8")
    (tmp_path / "b.txt.gz").write_bytes(gzip.compress(text.encode()))
    corpus = open_corpus(f"text:{tmp_path}/*")
    train, valid = whole(corpus, "train"), whole(corpus, "valid")
    assert [a + b for a, b in zip(train, valid, strict=True)] == [text, text]
    assert len(valid[0].encode()) == pytest.approx(100_000, abs=4)


def test_a_long_document_is_read_in_bounded_pieces(tmp_path, monkeypatch):
    monkeypatch.setattr(corpus_module, "BLOCK_CHARACTERS", 1000)
    text = "some words in a line\n" * 20_000
    (tmp_path / "a.txt").write_text(text)
    made = list(open_corpus(f"text:{tmp_path}/a.txt").texts("train"))
    assert "".join(made) == text[: int(0.9 * len(text))]
    assert max(map(len, made)) <= 1000 and np.mean([len(piece) for piece in made]) > 900
