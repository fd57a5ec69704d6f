"""What every objective promises. A new file in objectives/ falls in by its name.

An objective with options that have no default stands in OPTIONS.
"""

import functools
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pretrain_jax import registry
from pretrain_jax.batch import FIELDS, Kind
from pretrain_jax.data import pack, yardsticks
from pretrain_jax.layers.embeddings import Readout
from pretrain_jax.text import Tokenizer

OPTIONS: dict[str, dict[str, Any]] = {}
NAMES = registry.names("objectives")
LENGTHS = (2, 3, 4, 17, 64)
"""Raw tokens of an example; two is begin and end."""
every_objective = pytest.mark.parametrize("name", NAMES)
every_length = pytest.mark.parametrize("n", LENGTHS)


class Vocabulary(Tokenizer):
    """All special ids that there are, then 100 text tokens, then three sentinels."""

    size = 110
    pad, unk, bos, eos, mask, cls, sep = range(7)
    sentinels = (109, 108, 107)
    fingerprint = "vocabulary"

    def encode(self, text):
        return np.frombuffer(text.encode(), np.uint8).astype(np.int32) % 100 + 7

    def decode(self, ids):
        return " ".join(map(str, ids))

    def spell(self, token):
        return str(token)

    @property
    def word_starts(self):
        return np.arange(self.size) % 3 != 1


VOCAB = Vocabulary()


@functools.cache
def built(name):
    return registry.load("objectives", name, "objective.name").build(**OPTIONS.get(name, {}))


def raw_example(n, seed=0):
    text = np.random.default_rng(seed).integers(7, 107, size=n - 2)
    tokens = [VOCAB.bos, *text.tolist(), VOCAB.eos]
    return {"tokens": np.array(tokens, np.int32)}


def corrupted(name, n, seed=0, draw=0):
    return built(name).corrupt(raw_example(n, seed), np.random.default_rng(draw), VOCAB)


def axis_of(name, field):
    return pack.axes_of(built(name).fields)[field]


@every_objective
def test_fields_are_of_the_contract(name):
    assert set(built(name).fields) <= set(FIELDS)
    assert {"targets", "weights"} <= set(built(name).fields)
    assert built(name).attention in ("causal", "prefix", "full")
    assert ("prefix" in built(name).fields) == (built(name).attention == "prefix")


@every_objective
@every_length
def test_corrupt_writes_what_was_declared(name, n):
    found = corrupted(name, n)
    assert set(found) == set(built(name).fields)
    for field, value in found.items():
        assert value.ndim == 1
        assert np.can_cast(value.dtype, FIELDS[field].dtype, "same_kind"), field
        assert np.array_equal(value.astype(FIELDS[field].dtype), value), field


@every_objective
@every_length
def test_fields_of_an_axis_are_equally_long_and_within_the_declared_lengths(name, n):
    bounds = built(name).lengths(n)
    for draw in range(5):
        lengths: dict[str, set[int]] = {}
        for field, value in corrupted(name, n, draw=draw).items():
            lengths.setdefault(axis_of(name, field), set()).add(len(value))
        assert set(lengths) <= set(bounds)
        for axis, found in lengths.items():
            assert len(found) == 1, axis
            assert 0 < max(found) <= bounds[axis], axis


@every_objective
def test_lengths_of_an_array_are_those_of_its_numbers(name):
    together = built(name).lengths(np.array(LENGTHS))
    for i, n in enumerate(LENGTHS):
        alone = built(name).lengths(n)
        assert {
            axis: int(np.broadcast_to(bound, len(LENGTHS))[i]) for axis, bound in together.items()
        } == alone


@every_objective
@pytest.mark.parametrize("seq_len", [8, 64, 512])
def test_the_raw_length_of_a_row_fills_it_and_no_more(name, seq_len):
    how = built(name)
    raw = how.raw_length(seq_len)
    assert how.lengths(raw)["L"] <= seq_len < how.lengths(raw + 1)["L"]
    assert 0 <= how.overlap < raw


@every_objective
@every_length
def test_the_same_generator_gives_the_same_bytes(name, n):
    first, second = corrupted(name, n, draw=3), corrupted(name, n, draw=3)
    for field, value in first.items():
        assert value.dtype == second[field].dtype
        assert value.tobytes() == second[field].tobytes()


@every_objective
@every_length
def test_the_raw_example_is_not_written_to(name, n):
    raw = raw_example(n)
    raw["tokens"].flags.writeable = False
    before = raw["tokens"].copy()
    built(name).corrupt(raw, np.random.default_rng(0), VOCAB)
    assert set(raw) == {"tokens"}
    np.testing.assert_array_equal(raw["tokens"], before)


@every_objective
@every_length
def test_ids_are_of_the_vocabulary_and_padding_is_no_token(name, n):
    found = corrupted(name, n)
    for field in ("tokens", "targets"):
        assert np.all((found[field] >= 0) & (found[field] < VOCAB.size)), field
    assert not np.any(found["tokens"] == VOCAB.pad)
    predicted = found["targets"][found["weights"] > 0]
    assert not np.any(predicted == VOCAB.pad)


@every_objective
@every_length
def test_weights_are_finite_and_not_negative(name, n):
    weights = corrupted(name, n)["weights"]
    assert np.all(np.isfinite(weights) & (weights >= 0))
    assert n <= 3 or np.any(weights > 0)


@every_objective
def test_indices_stay_inside_the_stream(name):
    found = corrupted(name, 64)
    for field, value in found.items():
        if FIELDS[field].kind in (Kind.INDEX, Kind.PLACE):
            assert np.all((value >= 0) & (value < len(found["tokens"]))), field


@every_objective
def test_examples_can_be_packed(name):
    """Two examples and padding in one row: the budget is the sum of the declared lengths."""
    how = built(name)
    rows = [[corrupted(name, 17), corrupted(name, 9)], []]
    budgets = {
        axis: int(how.lengths(17)[axis] + how.lengths(9)[axis] + 3) for axis in how.lengths(9)
    }
    batch = pack.pack(rows, fields=how.fields, budgets=budgets)
    assert batch["segments"].max() == 2
    assert batch["weights"].sum() == sum(example["weights"].sum() for example in rows[0])


@every_objective
def test_yardsticks_score_the_tokens_of_the_objective(name):
    how = built(name)
    if not how.yardsticks:
        return
    batch = packed(name, [[corrupted(name, 17, seed=seed)] for seed in range(3)])
    host = {field: np.asarray(value) for field, value in batch.items()}
    texts = np.concatenate([raw_example(64, seed)["tokens"] for seed in range(4)])
    counts = yardsticks.Counts(texts, 64 * np.arange(4), VOCAB.bos, VOCAB.size)
    scores = yardsticks.score(how.yardsticks, counts=counts, batches=[host], special=VOCAB.special)
    assert len(scores) == len(how.yardsticks)
    assert all(np.isfinite(score) and score > 0 for score in scores.values())


def loss_of(name, batch, scale=1.0):
    """The device half with a model that reads nothing but the tokens' own rows of a table."""
    table = jnp.asarray(np.random.default_rng(0).normal(0, scale, (128, 8)), jnp.float32)

    def apply(params, batch, rng, train):
        hidden = params[batch["tokens"]]
        if "predict_at" in batch:
            hidden = jnp.take_along_axis(hidden, batch["predict_at"][..., None], axis=1)
        return SimpleNamespace(hidden=hidden, readout=Readout(params, None, 1.0, VOCAB.size))

    return built(name).loss(apply, table, batch, jax.random.key(0), True)


def packed(name, rows):
    how = built(name)
    budgets = {axis: int(2 * bound) for axis, bound in how.lengths(17).items()}
    batch = pack.pack(rows, fields=how.fields, budgets=budgets)
    return {field: jnp.asarray(value) for field, value in batch.items()}


@every_objective
def test_terms_have_a_coefficient_or_are_z_loss(name):
    terms = loss_of(name, packed(name, [[corrupted(name, 17)]]))
    assert set(built(name).coefficients) <= set(terms)
    assert set(terms) - set(built(name).coefficients) <= {"z_loss"}
    for total, weight in terms.values():
        assert (total.shape, weight.shape) == ((), ())
        assert np.isfinite(total)
        assert weight > 0


@every_objective
def test_weights_of_terms_depend_on_the_batch_alone(name):
    batch = packed(name, [[corrupted(name, 17)]])
    first, second = loss_of(name, batch), loss_of(name, batch, scale=0.1)
    for term in first:
        assert first[term][0] != second[term][0]
        assert first[term][1] == second[term][1]


@every_objective
def test_terms_of_a_batch_are_the_sums_over_its_rows(name):
    rows = [
        [corrupted(name, 17, seed=1), corrupted(name, 9, seed=2)],
        [corrupted(name, 4, seed=3)],
        [],
    ]
    whole = loss_of(name, packed(name, rows))
    parts = [loss_of(name, packed(name, [row])) for row in rows]
    for term, pair in whole.items():
        for i, value in enumerate(pair):
            added = sum(float(part[term][i]) for part in parts)
            assert float(value) == pytest.approx(added, rel=1e-5)


def test_causal_lm_predicts_each_token_once():
    found = corrupted("causal_lm", 17)
    raw = raw_example(17)["tokens"]
    np.testing.assert_array_equal(found["tokens"], raw[:-1])
    np.testing.assert_array_equal(found["targets"], raw[1:])
    assert np.all(found["weights"] == 1)
    assert VOCAB.eos not in found["tokens"]
    assert found["targets"][-1] == VOCAB.eos


def test_causal_lm_covers_a_text_that_is_cut_into_chunks():
    """Chunks of 6 that share one token: the targets together are the text without its first."""
    how, text = built("causal_lm"), raw_example(31)["tokens"]
    step = how.raw_length(5) - how.overlap
    chunks = [text[at : at + 6] for at in range(0, len(text) - 1, step)]
    targets = [how.corrupt({"tokens": chunk}, None, VOCAB)["targets"] for chunk in chunks]
    np.testing.assert_array_equal(np.concatenate(targets), text[1:])
