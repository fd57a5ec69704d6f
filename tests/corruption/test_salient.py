"""The rule that finds names and dates, whatever the tokenizer."""

import numpy as np
import pytest

from pretrain_jax.corruption import salient
from pretrain_jax.corruption.uniform import from_generator
from pretrain_jax.ragged import Ragged, RowSplits
from pretrain_jax.tokenizers import Tokenizer
from pretrain_jax.tokenizers.bytes import Bytes
from pretrain_jax.tokenizers.chars import Chars

VOCAB = Bytes(0)


def found(text: str, vocab: Tokenizer = VOCAB) -> list[str]:
    tokens = vocab.encode(text).astype(np.int32)
    starts, stops = salient.find_spans(tokens, vocab)
    assert np.all(starts < stops)
    assert np.all(starts[1:] >= stops[:-1])
    return [vocab.decode(tokens[a:b]) for a, b in zip(starts, stops, strict=True)]


@pytest.mark.parametrize(
    "text, spans",
    [
        ("it began on 4 July 1976 at noon", ["4 July 1976"]),
        ("it began on July 4, 1976, at noon", ["July 4, 1976"]),
        ("it began in July 1976.", ["July 1976"]),
        ("on the 4th of July we rest; on May 1 too", ["4th of July", "May 1"]),
        ("from 1914-1918 and in the 1970s, not 2100", ["1914", "1918", "1970s"]),
        ("1500 metres, 1200 kg, $1500, 1,500, 3.1415, 1500.5 and 1900%", []),
        ("15001 and a1976 and 1976b", []),
        ("she may 1066 remember", ["1066"]),
    ],
)
def test_dates(text, spans):
    assert found("Look: " + text) == spans


@pytest.mark.parametrize(
    "text, spans",
    [
        ("The poet Homer saw New York City.", ["Homer", "New York City"]),
        ("Yesterday we slept. Nobody came! Why? Because", []),
        ("Yesterday Mary slept. Nobody Else came.", ["Yesterday Mary", "Nobody Else"]),
        ("we know that I am, and I'm sure I\u2019ll be, in Rome", ["Rome"]),
        ("we saw Paris, London and Rome", ["Paris", "London", "Rome"]),
        (
            "we met Dr. Smith and J. R. R. Tolkien (Oxford)",
            ["Dr. Smith", "J. R. R. Tolkien", "Oxford"],
        ),
        ("the U.S. Senate met", ["U.S. Senate"]),
        ("a line\nAnother line\n\nThird", []),
        ('he said: "Never" to “Nobody”, and Mary\'s dog', ["Mary's"]),
        ("von Zürich nach Århus, aus Köln", ["Zürich", "Århus", "Köln"]),
        ("Jean-Luc O'Neill", ["Jean-Luc O'Neill"]),
        ("", []),
        ("nothing", []),
    ],
)
def test_names(text, spans):
    assert found(text) == spans


def test_a_date_takes_its_words_before_a_name_does():
    assert found("Then In July 1976 came") == ["July 1976"]


def test_without_capitals_dates_are_found_alone():
    assert found("in paris on july 4 , 1776 , as john said") == ["july 4 , 1776"]


def test_another_tokenizer_finds_the_same():
    text = "The poet Homer saw Zürich on July 4, 1976."
    vocab = Chars(sorted(set(text)), 0)
    assert found(text, vocab) == found(text) == ["Homer", "Zürich", "July 4, 1976"]


def test_a_chunk_that_begins_inside_a_word_is_read_from_there():
    tokens = VOCAB.encode("sterday Mary came").astype(np.int32)
    starts, stops = salient.find_spans(tokens, VOCAB)
    assert VOCAB.decode(tokens[starts[0] : stops[0]]) == "Mary"


@pytest.mark.parametrize(
    "marks, starts, stops",
    [
        ([], [], []),
        ([0, 0], [], []),
        ([1], [0], [1]),
        ([1, 1, 2, 2, 0, 2], [0, 2, 5], [2, 4, 6]),
        ([0, 1, 0], [1], [2]),
    ],
)
def test_marked(marks, starts, stops):
    found = salient.annotated_spans(np.array(marks, np.uint8))
    np.testing.assert_array_equal(found, (starts, stops))


def test_spans_are_drawn_alike_and_as_long_as_they_fit():
    """Three spans of 1, 2 and 3 tokens, 3 tokens to take: {1, 2} or {3}, by which comes first."""
    starts, stops = Ragged.concatenate([[0, 2, 5]]), Ragged.concatenate([[1, 4, 8]])
    rng, draws = np.random.default_rng(0), 10_000
    longest = 0
    for _ in range(draws):
        noise = salient.choose_spans(
            RowSplits([9]), starts, stops, np.array([3]), 9, from_generator(rng)
        )
        assert noise.tolist() in ([1, 0, 2, 2, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 1, 1, 1, 0])
        longest += int(noise[5])
    assert abs(longest / draws - 1 / 3) < 3 * np.sqrt(2 / 9 / draws)
