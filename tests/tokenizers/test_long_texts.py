"""Long texts come back from the ids of their parts, and vocabularies are learned on long runs."""

import json
import re
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from text_samples import CORPUS

from pretrain_jax.data import corpus as corpus_module
from pretrain_jax.data.cache import open_token_cache
from pretrain_jax.data.corpus import open_corpus
from pretrain_jax.tokenizers import byte_bpe, sentencepiece

LOSSLESS = ["byte_bpe", "bytes", "chars", "sentencepiece"]
WORDS = " ".join(CORPUS.split())
KINDS = {
    "lines": CORPUS,
    "words": WORDS + " ",
    "letters": "".join(CORPUS.split()),
}


def long(kind: str, size: int = 700_000) -> str:
    return (KINDS[kind] * (size // len(KINDS[kind]) + 1))[:size]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", LOSSLESS)
def test_a_long_text_comes_back_from_the_token_cache(tmp_path, trained, name, kind):
    text, tokenizer = long(kind), trained(name)
    (tmp_path / "a.txt").write_text(text)
    corpus = open_corpus(f"text:{tmp_path}/a.txt")
    read = [
        open_token_cache(corpus, half, tokenizer, tmp_path / "c") for half in ("train", "valid")
    ]
    cut = int(0.9 * len(text))
    assert [tokenizer.decode(cache[0]) for cache in read] == [text[:cut], text[cut:]]
    assert tokenizer.decode(tokenizer.encode(text)) == text


@pytest.mark.parametrize("name", LOSSLESS)
@pytest.mark.parametrize("key", ["spans_key", "target_key"])
def test_marked_texts_come_back_from_the_token_cache(tmp_path, trained, name, key):
    """Also where a piece ends in a mark: records of 300,000 characters with marks everywhere."""
    tokenizer = trained(name)
    texts = [f"{i:b} " + long("words", 600 if i else 300_000) for i in range(120)]
    starts = [[m, m + 9] for m in range(0, 299_000, 50)]
    with (tmp_path / "a.jsonl").open("w") as file:
        for text in texts:
            spans = [span for span in starts if span[1] <= len(text)]
            value = spans if key == "spans_key" else " the answer"
            file.write(json.dumps({"text": text, "marks": value}) + "\n")
    keys: dict[str, Any] = {key: "marks"}
    corpus = open_corpus(f"text:{tmp_path}/a.jsonl", **keys)
    found = []
    for half in ("train", "valid"):
        cache = open_token_cache(corpus, half, tokenizer, tmp_path / "c")
        assert cache.annotations is not None
        for i in range(len(cache)):
            marks = cache.annotations[cache.offsets[i] : cache.offsets[i + 1]]
            if key == "spans_key":
                found.append(tokenizer.decode(cache[i]))
                continue
            assert tokenizer.decode(cache[i][marks == 1]) == " the answer"
            found.append(tokenizer.decode(cache[i][marks == 0]))
    assert sorted(found) == sorted(texts)


def test_no_space_where_a_run_is_cut(tmp_path, trained):
    """T5's way of white space would put one there."""
    tokenizer, text = trained("sentencepiece", lossless=False), long("letters")
    (tmp_path / "a.txt").write_text(text)
    cache = open_token_cache(
        open_corpus(f"text:{tmp_path}/a.txt"), "train", tokenizer, tmp_path / "c"
    )
    assert tokenizer.decode(cache[0]) == tokenizer.decode(
        tokenizer.encode(text[: len(text) * 9 // 10])
    )


@pytest.mark.parametrize("kind", ["lines", "words"])
@pytest.mark.parametrize("options", [{}, {"lossless": False}, {"kind": "bpe"}], ids=str)
def test_sentencepiece_reads_parts_as_it_reads_the_text(
    tmp_path, trained, monkeypatch, options, kind
):
    """Short ones: a unigram model adds up scores in 32 bits, so that much text changes its mind."""
    monkeypatch.setattr(corpus_module, "BLOCK_CHARACTERS", 300)
    tokenizer, text = trained("sentencepiece", **options), long(kind, 3000)
    (tmp_path / "a.txt").write_text(text)
    cache = open_token_cache(
        open_corpus(f"text:{tmp_path}/a.txt"), "train", tokenizer, tmp_path / "c"
    )
    np.testing.assert_array_equal(cache[0], tokenizer.encode(text[: int(0.9 * len(text))]))


LEARN = """
import random, sys
from pretrain_jax import registry
name, kind, folder = sys.argv[1:]
letters = {"dna": "ACGT", "spaces": " ", "thai": "\u0e01\u0e02\u0e04\u0e07\u0e08"}[kind]
text = "one line " + "".join(random.Random(0).choices(letters, k=1_000_000)) + " two"
options = {"kind": "bpe"} if name == "sentencepiece" else {}
module = registry.load("tokenizers", name, "")
module.train([text], folder, vocab_size=2000, **options)
"""


@pytest.mark.parametrize(
    "name, kind",
    [
        ("byte_bpe", "dna"),
        ("byte_bpe", "spaces"),
        ("byte_bpe", "thai"),
        ("wordpiece", "dna"),
        ("sentencepiece", "dna"),
    ],
)
def test_a_run_without_spaces_is_learned_from(tmp_path, name, kind):
    """A million characters without a space, or of nothing else; before, minutes without end."""
    command = [sys.executable, "-c", LEARN, name, kind, str(tmp_path)]
    subprocess.run(command, check=True, timeout=60)
    assert list(tmp_path.iterdir())


def test_sentencepiece_learns_from_a_share_of_ascii_runs_only():
    dna, thai = "ACGT" * 250_000, "\u0e01\u0e02\u0e04\u0e07" * 250_000
    for text in (thai, "a line\n" * 1000, WORDS):
        assert "".join(sentencepiece._lines([text])) == text.replace("\n", "")
    lines = list(sentencepiece._lines([f"a line {dna} an end\n" + "next"]))
    assert sum(map(len, lines)) < sentencepiece.RUN_CHARACTERS + 2 * sentencepiece.LONGEST_LINE
    assert lines[0].startswith("a line ACGT") and lines[-1] == "next"
    assert lines[-2].endswith(" an end")


def test_ordinary_text_is_not_cut_for_training():
    for text in (CORPUS, "x" * 1024, "a b " * 5000, ""):
        assert list(byte_bpe._cut_long_runs(text)) == [text]
    text = "a " + "x" * 3000 + "\n" + " " * 2500 + "b"
    parts = list(byte_bpe._cut_long_runs(text))
    assert "".join(parts) == text
    assert max(len(word) for part in parts for word in re.findall(r"\S+|\s+", part)) == 1024
