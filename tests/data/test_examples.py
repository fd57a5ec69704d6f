"""Raw examples cover every token as promised."""

import pickle

import numpy as np
import pytest
from data_toys import ByteTokenizer, cache_of, write_lines
from sequences import apart, taken

from pretrain_jax.data.cache import open_token_cache
from pretrain_jax.data.corpus import open_corpus
from pretrain_jax.data.examples import CorpusChunks, DocumentChunks


def counted(sizes):
    """Tokens 10, 11, 12 ... so that each stands for its own place."""
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    return cache_of(np.arange(10, 10 + offsets[-1]), offsets)


def test_the_example_of_the_docstring():
    chunks = DocumentChunks(counted([5, 1]), raw_length=4, overlap=1, begin=1, end=2)
    assert [taken(chunks, k)["tokens"].tolist() for k in range(len(chunks))] == [
        [1, 10, 11, 12],
        [12, 13, 14, 2],
        [1, 15, 2],
    ]
    assert chunks.document.tolist() == [0, 0, 1] and chunks.length.tolist() == [4, 4, 3]


@pytest.mark.parametrize("begin", [None, 1])
@pytest.mark.parametrize("end", [None, 2])
@pytest.mark.parametrize(("raw_length", "overlap"), [(2, 1), (5, 1), (5, 0), (7, 3), (100, 1)])
def test_every_token_is_predicted_exactly_once(begin, end, raw_length, overlap):
    sizes = [0, 1, 2, 3, 4, 5, 6, 0, 13, 40]
    cache = counted(sizes)
    chunks = DocumentChunks(cache, raw_length=raw_length, overlap=overlap, begin=begin, end=end)
    predicted = [[] for _ in sizes]
    for k in range(len(chunks)):
        example = taken(chunks, k)["tokens"]
        assert example.dtype == np.int32 and overlap < len(example) <= raw_length
        assert len(example) == chunks.length[k]
        predicted[chunks.document[k]].extend(example[overlap:].tolist())
    numbers = np.random.default_rng(0).permutation(len(chunks))
    for k, example in zip(numbers, apart(chunks.take(numbers)), strict=True):
        assert example["tokens"].tolist() == taken(chunks, k)["tokens"].tolist()
    for document, found in enumerate(predicted):
        text = cache.tokens[cache.offsets[document] : cache.offsets[document + 1]].tolist()
        whole = [1] * (begin is not None) + text + [2] * (end is not None)
        assert found == whole[overlap:]


@pytest.mark.parametrize(
    "begin, end, expected",
    [
        (1, 2, [[1, 10, 11, 12], [12, 2, 1, 13], [13, 14, 2]]),
        (1, 1, [[1, 10, 11, 12], [12, 1, 13, 14], [14, 1]]),
        (None, 2, [[10, 11, 12, 2], [2, 13, 14, 2]]),
        (1, None, [[1, 10, 11, 12], [12, 1, 13, 14]]),
    ],
)
def test_joined_documents_are_one_text(begin, end, expected):
    joined = CorpusChunks(counted([3, 2]), raw_length=4, begin=begin, end=end)
    assert [taken(joined, k)["tokens"].tolist() for k in range(len(joined))] == expected
    assert joined.length.tolist() == [len(example) for example in expected]


@pytest.mark.parametrize("raw_length", [2, 5, 7, 1000])
@pytest.mark.parametrize("begin, end", [(1, 2), (1, 1), (None, 2), (1, None)])
def test_every_token_of_joined_documents_is_predicted_once(begin, end, raw_length):
    sizes = [0, 1, 2, 0, 0, 13, 4, 40, 0]
    cache = counted(sizes)
    joined = CorpusChunks(cache, raw_length=raw_length, begin=begin, end=end)
    whole = []
    for first, behind in zip(cache.offsets[:-1], cache.offsets[1:], strict=True):
        whole += [begin] * (begin is not None) + cache.tokens[first:behind].tolist()
        whole += [end] * (end is not None and end != begin)
    whole += [end] * (begin == end)
    examples = apart(joined.take(np.arange(len(joined))))
    predicted = [token for each in examples for token in each["tokens"][1:].tolist()]
    assert predicted == whole[1:]
    read = [token for each in examples for token in each["tokens"][:-1].tolist()]
    assert read == whole[:-1]


def test_joined_documents_need_something_between_them():
    with pytest.raises(ValueError, match="begin or an end"):
        CorpusChunks(counted([3]), raw_length=4, begin=None, end=None)


@pytest.mark.parametrize("kind, options", [(DocumentChunks, {"overlap": 1}), (CorpusChunks, {})])
def test_a_pickled_copy_reads_the_same_files(kind, options, tmp_path):
    source = write_lines(tmp_path / "a.jsonl", [f"document {i}" * 9 for i in range(120)])
    cache = open_token_cache(open_corpus(source), "train", ByteTokenizer(), tmp_path)
    chunks = kind(cache, raw_length=33, begin=256, end=257, **options)
    data = pickle.dumps(chunks)
    assert len(data) < 1000  # a worker process is sent names of files, not tokens
    copy = pickle.loads(data)
    for k in range(len(chunks)):
        np.testing.assert_array_equal(taken(copy, k)["tokens"], taken(chunks, k)["tokens"])
