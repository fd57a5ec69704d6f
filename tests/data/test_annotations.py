"""Marked parts of texts, from the source into the examples."""

import itertools
import json
import pickle
from typing import Any

import numpy as np
import pytest
from data_toys import ByteTokenizer, cache_of, write_lines
from sequences import taken

from pretrain_jax import switches
from pretrain_jax.data import annotations
from pretrain_jax.data import corpus as corpus_module
from pretrain_jax.data.cache import open_token_cache
from pretrain_jax.data.corpus import open_corpus
from pretrain_jax.data.examples import DocumentChunks, TextPairs
from pretrain_jax.errors import ConfigError, DataError
from pretrain_jax.tokenizers import byte_bpe

SPANS: dict[str, Any] = {"spans_key": "spans"}
TARGET: dict[str, Any] = {"target_key": "answer"}


def write_records(path, records):
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return f"text:{path}"


def build(source, folder, half="train", tokenizer=None, **options):
    return open_token_cache(
        open_corpus(source, **options), half, tokenizer or ByteTokenizer(), folder
    )


def marked_text(cache, document):
    """The text of a document with its marked parts in brackets: "[1:Anna] lives"."""
    at, stop = cache.offsets[document], cache.offsets[document + 1]
    ids, found = cache.tokens[at:stop].astype(np.uint8), cache.annotations[at:stop]
    edges = [0, *(np.flatnonzero(np.diff(found)) + 1), stop - at]
    parts = []
    for a, b in itertools.pairwise(edges):
        part = bytes(ids[a:b]).decode()
        parts.append(f"[{found[a]}:{part}]" if found[a] else part)
    return "".join(parts)


def annotated(count=120):
    """Records whose words that begin with a capital are spans."""
    records = []
    for i in range(count):
        words = f"no{i} Anna lives in Paris with BobCarl and Ünal".split()
        text, spans = "", []
        for word in words:
            text += " " * bool(text)
            if word[0].isupper():
                spans.append([len(text), len(text) + len(word)])
            text += word
        records.append({"text": text, "spans": spans})
    return records


def test_spans_alternate_and_take_the_space_before_them(tmp_path):
    source = write_records(tmp_path / "a.jsonl", annotated())
    cache = build(source, tmp_path / "cache", **SPANS)
    assert cache.annotations is not None and cache.annotations.dtype == np.uint8
    assert len(cache.annotations) == len(cache.tokens)
    first = marked_text(cache, 0)
    assert first[first.index("[") :] == (
        "[1: Anna] lives in[2: Paris] with[1: BobCarl] and[2: Ünal]"
    )


def test_tokens_bytes_and_split_are_those_of_the_plain_text(tmp_path):
    records = annotated(200)
    plain = write_lines(tmp_path / "plain.jsonl", [record["text"] for record in records])
    source = write_records(tmp_path / "a.jsonl", records)
    for half in ("train", "valid"):
        with_marks = build(source, tmp_path / "cache", half, **SPANS)
        without = build(plain, tmp_path / "cache", half)
        np.testing.assert_array_equal(with_marks.tokens, without.tokens)
        np.testing.assert_array_equal(with_marks.offsets, without.offsets)
        assert with_marks.text_bytes == without.text_bytes and without.annotations is None
        assert with_marks.fingerprint != without.fingerprint
    texts = ["".join(open_corpus(s, **o).texts("train")) for s, o in ((source, SPANS), (plain, {}))]
    assert texts[0] == texts[1]


@pytest.mark.parametrize("limit", [16, 64, 1 << 18])
def test_ids_of_bpe_do_not_depend_on_marks_wherever_they_stand(tmp_path, monkeypatch, limit):
    """Spans drawn anywhere, inside words too: ids stay, and each span covers its tokens."""
    monkeypatch.setattr(corpus_module, "BLOCK_CHARACTERS", limit)
    draw = np.random.default_rng(0)
    records = []
    for _ in range(120):
        words = draw.choice("the Paris of trains, and  Ünal's\n 1234 (an) café".split(" "), 30)
        text = " ".join(words)
        places = np.sort(draw.choice(np.arange(len(text) + 1), 8, replace=False))
        records.append({"text": text, "spans": places.reshape(-1, 2).tolist()})
    byte_bpe.train([record["text"] for record in records], tmp_path, vocab_size=330)
    tokenizer = byte_bpe.load(tmp_path)
    source = write_records(tmp_path / "a.jsonl", records)
    cache = build(source, tmp_path / "cache", tokenizer=tokenizer, **SPANS)
    assert cache.annotations is not None
    texts = ["".join(d) for d in open_corpus(source, **SPANS).documents("train")]
    by_text = {record["text"]: record["spans"] for record in records}
    for i, travelling in enumerate(texts):
        text = switches.strip_switches(travelling)
        if limit > 1000:
            np.testing.assert_array_equal(cache[i], tokenizer.encode(text))
        found = cache.annotations[cache.offsets[i] : cache.offsets[i + 1]]
        stops = np.cumsum([len(tokenizer.decode([t]).encode("utf-8", "replace")) for t in cache[i]])
        if text.isascii():  # tokens of half a character decode to another size
            for number, (start, stop) in enumerate(by_text[text]):
                inside = (stops > start) & (np.append(0, stops[:-1]) < stop)
                assert set(found[inside].tolist()) <= {1 + number % 2, 2 - number % 2}
                assert 1 + number % 2 in found[inside]


def test_a_mark_carries_on_from_piece_to_piece(tmp_path, monkeypatch):
    monkeypatch.setattr(corpus_module, "BLOCK_CHARACTERS", 50)
    text = "before " + "a long span of many words " * 20 + "behind it all"
    start, stop = text.index("a long"), text.index("behind") - 1
    records = [{"text": f"{i:03d} {text}", "spans": [[start + 4, stop + 4]]} for i in range(120)]
    cache = build(write_records(tmp_path / "a.jsonl", records), tmp_path / "c", **SPANS)
    for i in range(0, len(cache), 10):
        assert marked_text(cache, i)[4:] == (f"before[1: {text[start:stop]}] behind it all")


def test_noncharacters_of_the_users_own_are_dropped_where_marks_are_used(tmp_path):
    text = "Anna\ufdd1 and\ufdd0 Bob\ufdd2"
    records = [
        {"text": text + str(i), "spans": [[10, 14]], "answer": "no\ufdd2"} for i in range(120)
    ]
    source = write_records(tmp_path / "a.jsonl", records)
    spans = build(source, tmp_path / "c", **SPANS)
    assert marked_text(spans, 0)[:17] == "Anna and[1: Bob]0"
    pair = build(source, tmp_path / "c", **TARGET)
    assert marked_text(pair, 0) == "Anna and Bob0[1:no]"
    plain = build(source, tmp_path / "c")
    assert bytes(plain[0].astype(np.uint8)).decode() == text + "0"


def test_each_choice_of_fields_has_its_own_fingerprint(tmp_path):
    source = write_records(
        tmp_path / "a.jsonl", [{"text": "x", "a": [], "b": [], "c": "y", "d": "z"}]
    )
    options = [{}, {"spans_key": "a"}, {"spans_key": "b"}, {"target_key": "c"}, {"target_key": "d"}]
    assert len({open_corpus(source, **o).fingerprint for o in options}) == len(options)


@pytest.mark.parametrize(
    ("fields", "options", "message"),
    [
        ({}, SPANS, "its fields are 'text'.*data.text_key and data.spans_key"),
        ({"spans": "0-3"}, SPANS, 'its "spans" is a str'),
        ({"spans": [[0]]}, SPANS, r"received \[0\]"),
        ({"spans": [[2, 2]]}, SPANS, r"received \[2, 2\]"),
        ({"spans": [[0, 2], [1, 3]]}, SPANS, r"without overlap.*received \[1, 3\]"),
        ({"spans": [[0, 99]]}, SPANS, r"within the 4 characters.*received \[0, 99\]"),
        ({"spans": [[0, 1.5]]}, SPANS, r"received \[0, 1.5\]"),
        ({}, TARGET, "its fields are 'text'.*data.text_key and data.target_key"),
        ({"answer": 3}, TARGET, 'a string "answer".*its "answer" is a int'),
    ],
)
def test_a_malformed_record_is_named(tmp_path, fields, options, message):
    good = {"text": "good", "spans": [[0, 4]], "answer": "yes"}
    source = write_records(tmp_path / "a.jsonl", [good, {"text": "text"} | fields])
    with pytest.raises(DataError, match=rf"a\.jsonl line 2 must be .*{message}"):
        open_corpus(source, **options).bytes("train")


def test_marks_need_fields_that_can_hold_them(tmp_path):
    (tmp_path / "a.txt").write_text("some text")
    with pytest.raises(DataError, match=r"a\.txt has no fields, and data\.spans_key is 'spans'"):
        open_corpus(f"text:{tmp_path}/a.txt", **SPANS)
    with pytest.raises(DataError, match=r"'stdlib' has no fields, and data\.target_key"):
        open_corpus("stdlib", **TARGET)
    with pytest.raises(ConfigError, match="not both"):
        open_corpus("stdlib", **TARGET, **SPANS)


def pairs_of(count=120):
    return [{"text": f"question {i}?", "answer": f"answer {i}"} for i in range(count)]


def test_pairs_are_split_whole(tmp_path):
    source = write_records(tmp_path / "a.jsonl", pairs_of(60))
    with pytest.raises(ConfigError, match=r"Use data\.split=hash"):
        open_corpus(source, split="tail", **TARGET)
    corpus = open_corpus(source, **TARGET)
    assert corpus.split_method == "hash"  # under 100 documents too
    assert corpus.count("train") + corpus.count("valid") == 60
    few = write_records(tmp_path / "b.jsonl", pairs_of(2))
    with pytest.raises(DataError, match="Add records, or name others"):
        open_corpus(few, **TARGET).bytes("train")
    texts = list(open_corpus(source, **TARGET).texts("train"))
    assert texts[0].startswith("question") and texts[1].startswith("answer")


def test_texts_are_inputs_and_targets_cut_to_their_budgets(tmp_path):
    records = [*pairs_of(), {"text": "", "answer": "alone"}, {"text": "alone", "answer": ""}]
    records += [{"text": "long " * 50, "answer": "an answer " * 50}] * 3
    source = write_records(tmp_path / "a.jsonl", records)
    halves = [build(source, tmp_path / "c", half, **TARGET) for half in ("train", "valid")]
    made = [TextPairs(cache, inputs=20, targets=8) for cache in halves]
    found = []
    for texts in made:
        assert texts.length.dtype == np.int32 and texts.length.shape == (len(texts), 2)
        for k in range(len(texts)):
            example = taken(texts, k)
            assert all(array.dtype == np.int32 for array in example.values())
            assert [len(example["inputs"]), len(example["targets"])] == texts.length[k].tolist()
            parts = (bytes(example[name].astype(np.uint8)).decode() for name in example)
            found.append(tuple(parts))
    whole = [(r["text"][:20], r["answer"][:8]) for r in records if r["text"] and r["answer"]]
    assert sorted(found) == sorted(whole)
    copy = pickle.loads(pickle.dumps(made[0]))
    np.testing.assert_array_equal(taken(copy, 3)["inputs"], taken(made[0], 3)["inputs"])


def test_texts_need_pairs(tmp_path):
    for options in (SPANS, {}):
        source = write_records(tmp_path / "a.jsonl", annotated())
        with pytest.raises(DataError, match=r"Set data\.target_key"):
            TextPairs(build(source, tmp_path / "c", **options), inputs=8, targets=8)


@pytest.mark.parametrize("ends", [{}, {"begin": 256}, {"end": 257}, {"begin": 256, "end": 257}])
def test_chunks_carry_the_marks_of_their_tokens(ends):
    tokens = np.arange(1, 31)
    stored = (tokens % 3).astype(np.uint8)
    cache = cache_of(tokens, [0, 11, 11, 30], stored, "spans")
    chunks = DocumentChunks(cache, raw_length=7, overlap=2, **ends)
    for k in range(len(chunks)):
        example = taken(chunks, k)
        found, text = example["annotations"], example["tokens"]
        assert found.dtype == np.uint8
        assert found.tolist() == np.where(text > 255, 0, text % 3).tolist()
    without = DocumentChunks(cache_of(tokens, [0, 11, 11, 30]), raw_length=7, overlap=2)
    assert set(taken(without, 0)) == {"tokens"}


def test_the_grammar_of_switches():
    travelling = annotations.annotate_spans("Anna met Bob", [(0, 4), (9, 12)])
    assert list(switches.split_at_switches(travelling)) == [
        (0, ""),
        (1, "Anna"),
        (0, " met"),
        (2, " Bob"),
        (0, ""),
    ]
    assert switches.strip_switches(travelling) == "Anna met Bob"
    assert [
        switches.final_annotation(text, 2) for text in ("plain", "a\ufdd1b", "\ufdd1a\ufdd0")
    ] == [
        2,
        1,
        0,
    ]
