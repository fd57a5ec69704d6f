"""Which tokens have the characters of a place: on every tokenizer, as a slow search finds them."""

import json
import random

import numpy as np
import pytest
from placed import TEXT, asked, cache, tokenizer, write

from pretrain_jax import registry
from pretrain_jax.data.cache import open_token_cache
from pretrain_jax.data.corpus import open_corpus
from pretrain_jax.data.places import find_tokens
from pretrain_jax.data.sources import Columns
from pretrain_jax.data.words import Words
from pretrain_jax.objectives.tag import read_tags
from pretrain_jax.ragged import RowSplits

TOKENIZERS = registry.names("tokenizers")


def search(tokens: np.ndarray, start: int, end: int) -> list[int]:
    """All tokens with a character of a place."""
    return [i for i, (a, b) in enumerate(tokens.tolist()) if max(a, start) < min(b, end)]


@pytest.mark.parametrize("name", TOKENIZERS)
def test_the_tokens_of_every_place(name):
    """In several texts at once, one of them without tokens."""
    draw = random.Random(0)
    texts = [TEXT, "", TEXT[::-1], "👧", TEXT[30:90]]
    each = [tokenizer(name).encode_with_offsets(text)[1] for text in texts]
    splits = RowSplits([len(tokens) for tokens in each])
    places, of, expected = [], [], []
    for number, text in enumerate(texts):
        for _ in range(100):
            start, end = sorted(draw.choices(range(len(text) + 1), k=2))
            found = [int(splits.starts[number]) + i for i in search(each[number], start, end)]
            places.append((start, end))
            of.append(number)
            expected.append((found[0], found[-1]) if found else None)
    tokens = np.concatenate(each).astype(np.uint32)
    result = find_tokens(tokens, splits, np.array(places), np.array(of)).tolist()
    assert any(pair is None for pair in expected)
    for (first, last), pair in zip(result, expected, strict=True):
        assert (first, last) == pair if pair else first > last


@pytest.mark.parametrize("name", TOKENIZERS)
def test_a_cache_has_the_characters_of_each_token_and_the_texts(tmp_path, name):
    records = [asked("Which city?", TEXT, "東京", id="a"), asked("Who 👧 ?", TEXT[5:], "lait")]
    stored = cache(write(tmp_path / "a.jsonl", *records), "answers", tokenizer(name))
    assert stored.ids == ["a", None]
    assert stored.texts == [[record["question"], record["context"]] for record in records]
    assert [json.loads(label or "") for label in stored.labels] == [r["answers"] for r in records]
    assert stored.places is not None and stored.annotations is not None
    for number, texts in enumerate(stored.texts):
        here = slice(stored.offsets[number], stored.offsets[number + 1])
        encoded = [tokenizer(name).encode_with_offsets(text) for text in texts]
        np.testing.assert_array_equal(stored.tokens[here], np.concatenate([x[0] for x in encoded]))
        np.testing.assert_array_equal(stored.places[here], np.concatenate([x[1] for x in encoded]))
        marks = [mark for mark, (ids, _) in enumerate(encoded) for _ in ids]
        assert stored.annotations[here].tolist() == marks


def test_a_cache_without_places_has_no_files_of_them(tmp_path):
    """And another name, since the note of a cache tells them apart."""
    path = write(tmp_path / "a.jsonl", {"tokens": "a b", "tags": "O O"})
    columns = Columns(texts=("tokens",), label="tags")
    corpus = open_corpus(f"text:{path}", split="all", columns=columns)
    plain = open_token_cache(corpus, "valid", tokenizer("bytes"), tmp_path / "cache")
    names = {file.name for file in plain.folder.iterdir()} - {"digests.json"}
    assert names == {"labels.json", "marks.bin", "note.json", "offsets.npy", "tokens.bin"}
    assert plain.places is None and "places" not in (plain.folder / "note.json").read_text()
    assert cache(path, "words", tokenizer("bytes")).folder != plain.folder


WORDS = [
    *("Zoë", "saw", "東京", "cafe\u0301", "👩\u200d👩\u200d👧", "❤️", "didn't"),
    *("\u200b", "", "1 000", "."),
]


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("name", TOKENIZERS)
def test_the_token_of_each_word(tmp_path, name, last):
    """Words are found by their characters, also with spaces inside; none is found for nothing."""
    records = [{"tokens": WORDS[n:], "tags": ["O"] * len(WORDS[n:])} for n in (0, 3)]
    how = tokenizer(name)
    stored = cache(write(tmp_path / "a.jsonl", *records), "words", how)
    words = Words(
        stored, tokens=1000, last=last, read_labels=lambda texts: read_tags(texts, ("O",))
    )
    offsets = words.take(np.array([0, 1]))["offset"].split()
    for k, record in enumerate(records):
        spans = how.encode_with_offsets(" ".join(record["tokens"]))[1]
        expected, at = {}, 0
        for number, word in enumerate(record["tokens"]):
            if found := search(spans, at, at + len(word)):
                expected[number] = found[-1 if last else 0]
            at += len(word) + 1
        assert dict(zip(words.words(k).tolist(), offsets[k].tolist(), strict=True)) == expected
        assert "" not in [record["tokens"][number] for number in expected]
