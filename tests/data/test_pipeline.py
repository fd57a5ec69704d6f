"""The order of the data is a pure function of (seed, step)."""

import contextlib
import itertools
from typing import Any

import numpy as np
import pytest
from data_toys import (
    FIELDS,
    ByteTokenizer,
    cache_of,
    causal,
    causal_lengths,
    causal_stream,
    member,
    write_lines,
)

from pretrain_jax.data.cache import open_token_cache
from pretrain_jax.data.corpus import open_corpus
from pretrain_jax.data.examples import DocumentChunks
from pretrain_jax.data.pipeline import (
    MemberRows,
    RowNoise,
    Stream,
    count_eval_rows,
    eval_batches,
    train_batches,
)
from pretrain_jax.errors import DataError
from pretrain_jax.ragged import RowSplits

TEXTS = [f"<{i}> " + "some words " * (i * 7 % 11) for i in range(300)]
SPECIAL = ByteTokenizer().special


def noisy(examples, uniform, vocab):
    """As causal, with a draw in the weights."""
    fields = causal(examples, uniform, vocab)
    drawn = uniform(fields["tokens"].splits.sizes).astype(np.float32)
    return fields | {"weights": fields["weights"]._replace(values=drawn)}


@pytest.fixture
def source(tmp_path):
    return write_lines(tmp_path / "a.jsonl", TEXTS)


@pytest.fixture
def cache(source, tmp_path):
    return open_token_cache(open_corpus(source), "train", ByteTokenizer(), tmp_path / "cache")


@pytest.fixture
def stream(cache):
    return Stream([member(cache, 64, noisy)], FIELDS, {"L": 64})


def take(stream, count, **options: Any):
    options = {"seed": 3, "batch_size": 8, **options}
    with contextlib.closing(train_batches(stream, **options)) as made:
        return list(itertools.islice(made, count))


def joined(parts):
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def same(left, right):
    assert left.keys() == right.keys()
    for name in left:
        assert left[name].dtype == right[name].dtype
        np.testing.assert_array_equal(left[name], right[name])


@pytest.mark.parametrize("hosts", [2, 4, 8])
def test_hosts_together_read_what_one_host_reads(stream, hosts):
    whole = take(stream, 5)
    shares = np.split(np.arange(8), hosts)
    parts = [take(stream, 5, here=share) for share in shares]
    for step in range(5):
        same(joined([part[step] for part in parts]), whole[step])
        assert parts[0][step]["tokens"].shape == (8 // hosts, 64)


@pytest.mark.parametrize("step", [1, 7, 40])
def test_a_restart_at_any_step_goes_on_with_the_same_bytes(stream, step):
    whole = take(stream, step + 3)
    for old, new in zip(whole[step:], take(stream, 3, first_row=step * 8), strict=True):
        same(old, new)


@pytest.mark.parametrize("prefetch", [1, 32])
def test_prefetch_changes_nothing(stream, prefetch):
    for old, new in zip(take(stream, 6), take(stream, 6, prefetch=prefetch), strict=True):
        same(old, new)


def test_worker_processes_change_nothing(stream):
    for old, new in zip(take(stream, 6), take(stream, 6, workers=2), strict=True):
        same(old, new)


def test_batch_size_does_not_change_the_sequence_of_rows(stream):
    same(joined(take(stream, 6)), joined(take(stream, 3, batch_size=16)))


def test_each_epoch_holds_every_token_once_in_another_order(cache, stream):
    rows = len(stream)
    epochs = [stream.batch(range(e * rows, (e + 1) * rows), seed=3) for e in range(2)]
    expected = []
    for document in range(len(cache)):
        expected += [*cache[document].tolist(), 257]
    for epoch in epochs:
        assert sorted(epoch["targets"][epoch["segments"] > 0].tolist()) == sorted(expected)
    texts = [epoch["tokens"] for epoch in epochs]
    assert sorted(map(bytes, texts[0])) == sorted(map(bytes, texts[1]))
    assert (texts[0] != texts[1]).any()


def test_noise_is_of_seed_epoch_and_row_not_of_the_order_of_rows(stream):
    rows = len(stream)
    first, again, later = (stream.batch(range(a, a + rows), 3) for a in (0, 0, rows))
    other = stream.batch(range(rows), 4)
    same(first, again)

    def weights_by_text(batch):
        return {
            bytes(t): w.tolist() for t, w in zip(batch["tokens"], batch["weights"], strict=True)
        }

    drawn = [weights_by_text(batch) for batch in (first, later, other)]
    assert drawn[0].keys() == drawn[1].keys() == drawn[2].keys()
    for key in drawn[0]:
        assert drawn[0][key] != drawn[1][key] and drawn[0][key] != drawn[2][key]


def test_every_row_has_random_numbers_of_its_own_in_every_epoch_and_call():
    epochs, places, rows = np.array([0, 2, 0]), np.array([7, 7, 1]), RowSplits([2, 1, 1])
    noise, sizes = RowNoise(3, 4, epochs, places, rows), np.array([3, 2, 0, 6])
    for call in (1, 2):
        found = np.split(noise(sizes), [5, 5])  # of the rows: 3 + 2, 0 and 6 numbers
        for drawn, place, epoch in zip(found, places, epochs, strict=True):
            counter = [0, call, int(place), int(epoch)]
            alone = np.random.Philox(key=np.array([3, 4], np.uint64), counter=counter)
            np.testing.assert_array_equal(drawn, np.random.Generator(alone).random(len(drawn)))


@pytest.mark.parametrize("copies", [1, 3])
def test_static_noise_comes_back_after_so_many_epochs(cache, copies):
    """BERT's data had 10 copies of every example, each masked once and for all."""
    static = Stream([member(cache, 64, noisy, copies=copies)], FIELDS, {"L": 64})
    fresh = Stream([member(cache, 64, noisy)], FIELDS, {"L": 64})
    rows = len(static)

    def weights(stream, epoch):
        batch = stream.batch(range(epoch * rows, (epoch + 1) * rows), seed=3)
        return sorted(map(bytes, batch["weights"]))

    drawn = [weights(static, epoch) for epoch in range(copies + 1)]
    assert drawn[copies] == drawn[0]
    assert len({tuple(epoch) for epoch in drawn}) == copies
    assert drawn[:copies] == [weights(fresh, epoch) for epoch in range(copies)]


def test_attention_and_positions_stay_inside_examples(stream):
    batch = stream.batch(range(len(stream)), seed=0)
    for row in range(len(stream)):
        segments, tokens = batch["segments"][row], batch["tokens"][row]
        for segment in range(1, segments.max() + 1):
            inside = np.flatnonzero(segments == segment)
            assert (np.diff(inside) == 1).all()
            assert batch["positions"][row, inside].tolist() == list(range(len(inside)))
            assert (tokens[inside] == 256).sum() <= 1
    assert (batch["segments"].max(1) > 1).any()


def test_across_documents_when_the_config_says_so(source, tmp_path):
    stream, _ = causal_stream(source, tmp_path / "c", seq_len=64, cross_documents=True)
    batch = stream.batch(range(4), seed=0)
    assert batch["segments"].max() == 1
    real = batch["segments"][0].sum()
    assert batch["positions"][0, :real].tolist() == list(range(real))


def test_a_mixture_keeps_its_rates_and_mixes_no_row(tmp_path):
    members = []
    for mark, rate in (("a", 5.0), ("b", 2.0), ("c", 1.0)):
        source = write_lines(tmp_path / f"{mark}.jsonl", [mark * (10 + i % 50) for i in range(200)])
        cache = open_token_cache(open_corpus(source), "train", ByteTokenizer(), tmp_path)
        members.append(member(cache, 64, noisy, rate))
    mixture = Stream(members, FIELDS, {"L": 64})
    tokens = mixture.batch(range(800), seed=1)["tokens"]
    owners = np.array([set(row[(row > 0) & (row < 256)].tolist()).pop() for row in tokens])
    assert all(len(set(row[(row > 0) & (row < 256)].tolist())) == 1 for row in tokens)
    for mark, rate in (("a", 5), ("b", 2), ("c", 1)):
        drawn = np.cumsum(owners == ord(mark))
        assert np.abs(drawn - np.arange(1, 801) * rate / 8).max() <= 2
    for step, batch in enumerate(take(mixture, 3, seed=1, here=range(4, 8))):
        np.testing.assert_array_equal(batch["tokens"], tokens[step * 8 + 4 : step * 8 + 8])


def test_each_member_walks_its_own_rows_once_an_epoch(tmp_path):
    members = []
    for mark, rate in (("a", 3.0), ("b", 1.0)):
        source = write_lines(tmp_path / f"{mark}.jsonl", [f"{mark}{i:05d}" * 9 for i in range(150)])
        cache = open_token_cache(open_corpus(source), "train", ByteTokenizer(), tmp_path)
        members.append(member(cache, 64, causal, rate))
    mixture = Stream(members, FIELDS, {"L": 64})
    count = 4 * len(members[0].rows) // 3
    rows = [bytes(row) for row in mixture.batch(range(count), seed=1)["tokens"]]
    firsts = [row for row in rows if row[4] == ord("a")]
    assert len(firsts) == len(set(firsts)) >= len(members[0].rows) - 1
    assert len(mixture) <= count + 1


def test_two_members_over_one_corpus_take_different_orders(cache):
    mixture = Stream([member(cache, 64), member(cache, 64)], FIELDS, {"L": 64})
    rows = mixture.batch(range(40), seed=1)["tokens"]
    assert (rows[::2] != rows[1::2]).any(axis=1).mean() > 0.9


def test_evaluation_is_always_the_same_rows_and_noise(stream):
    rows, _ = count_eval_rows(stream, 1500, SPECIAL)
    wholes = []
    for size, hosts in ((8, 1), (8, 2), (4, 1), (rows, 1)):
        parts = []
        for host in range(hosts):
            here = np.split(np.arange(size), hosts)[host]
            parts.append(list(eval_batches(stream, rows=rows, batch_size=size, here=here)))
        steps = [joined(list(step)) for step in zip(*parts, strict=True)]
        wholes.append(joined(steps))
    for whole in wholes:
        same({n: a[:rows] for n, a in whole.items()}, {n: a[:rows] for n, a in wholes[0].items()})
        assert not whole["weights"][rows:].any() and not whole["segments"][rows:].any()


def test_evaluation_holds_the_tokens_wanted(source, tmp_path):
    stream, cache = causal_stream(source, tmp_path / "c", seq_len=64)

    def text(rows):
        (batch,) = eval_batches(stream, rows=rows, batch_size=rows)
        return ((batch["weights"] > 0) & ~SPECIAL[batch["targets"]]).sum()

    rows, found = count_eval_rows(stream, 1500, SPECIAL)
    assert found == text(rows) >= 1500 > text(rows - 1)
    assert count_eval_rows(stream, 10**9, SPECIAL) == (len(stream), len(cache.tokens))
    assert text(len(stream)) == len(cache.tokens)


def test_documents_too_short_to_predict_anything_are_refused():
    cache = cache_of([1, 2], [0, 1, 2])
    examples = DocumentChunks(cache, raw_length=9, overlap=1)
    with pytest.raises(DataError, match=r"every document of this member is too short"):
        MemberRows.plan(
            examples, lengths=causal_lengths, budgets={"L": 8}, corrupt=causal, vocab=None
        )


def test_any_rows_of_a_batch_can_be_made_alone(stream):
    whole = take(stream, 3)
    for step, batch in enumerate(take(stream, 3, here=[0, 3, 6])):
        same(batch, {name: field[[0, 3, 6]] for name, field in whole[step].items()})


def test_a_mixture_of_nothing_is_an_error():
    with pytest.raises(ValueError, match="positive rates"):
        Stream([], FIELDS, {"L": 64})
