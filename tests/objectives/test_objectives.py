"""What every objective promises. A new file in objectives/ falls in by its name.

Its options, where some have no default or where its other forms are to keep the promises too, stand
in OPTIONS under its name, or its name and a word of your own.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import objective_toys as toys
import pytest
import text_objectives
from objective_toys import VOCAB
from sequences import apart, together

from pretrain_jax.batch import FIELDS, Kind
from pretrain_jax.composition import config
from pretrain_jax.corruption.uniform import from_generator
from pretrain_jax.data import baselines, pack
from pretrain_jax.errors import ConfigError

OPTIONS: dict[str, dict[str, Any]] = {
    "iid_denoising spans": {"targets": "spans"},
    "iid_denoising tokens": {"targets": "tokens", "inputs": "prefix"},
    "masked_lm words": {"noise": "words", "rate": 0.3},
    "masked_lm spans": {"noise": "spans"},
    "next_sentence words": {"noise": "words", "rate": 0.3},
    "next_sentence spans": {"noise": "spans"},
    "prefix_lm fixed": {"split": "fixed", "inputs": "prefix"},
    "prefix_lm stream": {"inputs": "stream"},
    "replaced_token large": {"rate": 0.25},
    "salient_spans prefix": {"inputs": "prefix"},
    "span_corruption prefix": {"inputs": "prefix", "mean_span": 8.0, "rate": 0.5},
    "span_corruption mode": {"mode": 1},
    "text_to_text prefix": {"inputs": "prefix", "targets_length": 8},
    "text_to_text stream": {"inputs": "stream", "prefix": "say: ", "targets_length": 8},
}
NAMES = text_objectives.PLAIN
LENGTHS = (2, 3, 4, 17, 64)
"""Raw tokens of an example; two may be begin and end."""


@functools.cache
def built(name):
    return toys.built(name.split()[0], **OPTIONS.get(name, {}))


CASES = sorted({*NAMES, *OPTIONS})
IN_PLACE = [case for case in CASES if "cls" in built(case).special_tokens]
"""Those that hide tokens where they stand, between special tokens."""
every_objective = pytest.mark.parametrize("name", NAMES)
every_case = pytest.mark.parametrize("name", CASES)
every_in_place = pytest.mark.parametrize("name", IN_PLACE)
every_length = pytest.mark.parametrize("n", LENGTHS)


def corrupted(name, n, seed=0, draw=0):
    return toys.corrupted(built(name), n, seed, draw)


def packed(name, rows):
    return toys.packed(built(name), rows)


def test_the_objectives_of_plain_text_are_those_without_labels():
    assert {"causal_lm", "masked_lm", "span_corruption"} <= set(text_objectives.PLAIN)
    labelled = {"classify", "regress", "multiple_choice", "prefer"}
    assert not labelled & set(text_objectives.PLAIN)


@every_case
def test_what_is_declared_exists(name):
    how = built(name)
    assert set(how.fields) <= set(FIELDS)
    assert {"targets", "weights"} <= set(how.fields)
    assert how.attention in ("causal", "prefix", "full")
    assert ("prefix" in how.fields) == (how.attention == "prefix")
    assert how.arrangement in ("chunks", "pairs", "texts")
    assert all(getattr(VOCAB, need) is not None for need in how.special_tokens)
    assert how.sentinels(512) >= how.sentinels(64) >= 0
    assert how.copies >= 0


@every_case
@every_length
def test_corrupt_writes_what_was_declared(name, n):
    found = corrupted(name, n)
    assert set(found) == set(built(name).fields)
    for field, value in found.items():
        assert value.ndim == 1
        assert np.can_cast(value.dtype, FIELDS[field].dtype, "same_kind"), field
        assert np.array_equal(value.astype(FIELDS[field].dtype), value), field


@every_case
@every_length
def test_fields_of_an_axis_are_equally_long_and_within_the_declared_lengths(name, n):
    how = built(name)
    bounds, axes = how.lengths(toys.raw_size(how, n)), pack.field_axes(how.fields)
    assert set(bounds) == set(axes.values())
    for draw in range(5):
        lengths: dict[str, set[int]] = {}
        for field, value in corrupted(name, n, draw=draw).items():
            lengths.setdefault(axes[field], set()).add(len(value))
        for axis, found in lengths.items():
            assert len(found) == 1, axis
            assert 0 < max(found) <= bounds[axis], axis


@every_case
def test_lengths_of_an_array_are_those_of_its_numbers(name):
    how = built(name)
    sizes = np.array([toys.raw_size(how, n) for n in LENGTHS])
    together = how.lengths(sizes)
    for i, size in enumerate(sizes):
        alone = how.lengths(size if size.ndim else int(size))
        assert {
            axis: int(np.broadcast_to(bound, len(LENGTHS))[i]) for axis, bound in together.items()
        } == alone


@every_case
@pytest.mark.parametrize("seq_len", [16, 64, 512])
def test_the_longest_raw_example_fills_a_row_and_no_more(name, seq_len):
    how = built(name)
    arranged, budgets = how.arrange(seq_len), how.budgets(seq_len)
    if how.arrangement == "texts":
        longest = np.array([arranged["inputs"], arranged["targets"]])
        longer = list(longest + np.eye(2, dtype=int))
    else:
        longest, longer = arranged["raw_length"], [arranged["raw_length"] + 1]
        assert 0 <= arranged.get("overlap", 0) < longest
    assert set(budgets) == set(how.lengths(longest))
    assert all(bound <= budgets[axis] for axis, bound in how.lengths(longest).items())
    for size in longer:
        assert any(bound > budgets[axis] for axis, bound in how.lengths(size).items())


@every_case
@every_length
def test_the_same_generator_gives_the_same_bytes(name, n):
    first, second = corrupted(name, n, draw=3), corrupted(name, n, draw=3)
    for field, value in first.items():
        assert value.dtype == second[field].dtype
        assert value.tobytes() == second[field].tobytes()


@every_case
def test_examples_are_made_alike_alone_and_together(name):
    """What becomes of an example depends on its own random numbers, not on what stands beside."""
    how = built(name)
    raws = [toys.raw_example(how, n, seed) for seed, n in enumerate(LENGTHS)]
    whole = apart(how.corrupt(together(raws), toys.Keyed(range(len(raws))), VOCAB))
    for key, (raw, beside) in enumerate(zip(raws, whole, strict=True)):
        alone = apart(how.corrupt(together([raw]), toys.Keyed([key]), VOCAB))[0]
        for field, value in alone.items():
            np.testing.assert_array_equal(value, beside[field], err_msg=field)


@every_case
@every_length
def test_the_raw_example_is_not_written_to(name, n):
    raw = toys.raw_example(built(name), n)
    before = {key: value.copy() for key, value in raw.items()}
    for value in raw.values():
        value.flags.writeable = False
    examples = together([raw])  # none of which can be written to
    built(name).corrupt(examples, from_generator(np.random.default_rng(0)), VOCAB)
    raw = apart(examples)[0]
    assert set(raw) == set(before)
    for key, value in raw.items():
        np.testing.assert_array_equal(value, before[key])


@every_case
@every_length
def test_ids_are_of_the_vocabulary_and_padding_is_no_token(name, n):
    found = corrupted(name, n)
    for field in {"tokens", "targets", "memory_tokens"} & set(found):
        assert np.all((found[field] >= 0) & (found[field] < VOCAB.size)), field
        # A decoder behind an encoder starts from the padding id, as T5's does.
        inside = (
            found[field][1:] if field == "tokens" and "memory_tokens" in found else found[field]
        )
        assert not np.any(inside == VOCAB.pad), field


@every_case
@every_length
def test_weights_are_finite_and_not_negative(name, n):
    weights = corrupted(name, n)["weights"]
    assert np.all(np.isfinite(weights) & (weights >= 0))
    assert n <= 3 or np.any(weights > 0)


@every_case
def test_indices_stay_inside_the_stream(name):
    for draw in range(5):
        found = corrupted(name, 64, draw=draw)
        for field, value in found.items():
            if FIELDS[field].kind in (Kind.INDEX, Kind.EXAMPLE_INDEX):
                assert np.all((value >= 0) & (value < len(found["tokens"]))), field


@every_case
def test_text_is_kept_or_predicted(name):
    """No token of the text is lost: what the model reads and what it predicts hold them all."""
    raw = toys.raw_example(built(name), 64)
    found = corrupted(name, 64)
    shown = np.concatenate(
        [found[field] for field in ("tokens", "memory_tokens", "targets") if field in found]
    )
    assert not set(np.concatenate(list(raw.values()))[:64]) - set(shown)


@every_case
def test_examples_can_be_packed(name):
    """Two examples and padding in one row; places are shifted with the tokens they point at."""
    how = built(name)
    row = [corrupted(name, 17), corrupted(name, 9)]
    batch = {field: np.asarray(value) for field, value in packed(name, [row, []]).items()}
    assert batch["segments"].max() == 2
    assert batch["weights"].sum() == sum(example["weights"].sum() for example in row)
    axes = pack.field_axes(how.fields)
    for field in how.fields:
        if FIELDS[field].kind in (Kind.INDEX, Kind.EXAMPLE_INDEX):
            count = sum(len(example[field]) for example in row)
            read = batch["tokens"][0, batch[field][0, :count]]
            expected = np.concatenate([example["tokens"][example[field]] for example in row])
            np.testing.assert_array_equal(read, expected, err_msg=field)
        else:
            count = sum(len(example[field]) for example in row)
            expected = np.concatenate([example[field] for example in row])
            np.testing.assert_array_equal(batch[field][0, :count], expected, err_msg=field)
        assert not np.any(batch[field][1]), axes[field]


@every_objective
def test_yardsticks_score_the_tokens_of_the_objective(name):
    how = built(name)
    if not how.baselines:
        return
    batch = packed(name, [[corrupted(name, 17, seed=seed)] for seed in range(3)])
    host = {field: np.asarray(value) for field, value in batch.items()}
    counts = np.bincount(np.concatenate([toys.text(62, seed) for seed in range(4)]))
    heard = np.zeros(VOCAB.size)
    heard[: len(counts)] = counts
    counts = baselines.Counts(heard, np.array([2 * VOCAB.size + 7]), np.ones(1))
    scores = baselines.score_baselines(
        how.baselines, counts=counts, batches=[host], special=VOCAB.special
    )
    assert len(scores) == len(how.baselines)
    assert all(np.isfinite(score) and score > 0 for score in scores.values())


def framed(raw):
    """The tokens of a raw example with nothing hidden."""
    if "first" in raw:
        return np.array([VOCAB.cls, *raw["first"], VOCAB.sep, *raw["second"], VOCAB.sep])
    return np.array([VOCAB.cls, *raw["tokens"], VOCAB.sep])


@every_in_place
@every_length
def test_what_is_not_predicted_is_not_touched_special_tokens_neither(name, n):
    expected = framed(toys.raw_example(built(name), n))
    for draw in range(20):
        found = corrupted(name, n, draw=draw)
        at, restored = found["predict_at"], found["tokens"].copy()
        assert np.all(np.diff(at) > 0)
        assert not np.any(VOCAB.special[expected[at]])
        restored[at] = found["targets"]
        np.testing.assert_array_equal(restored, expected)
        read = found["tokens"][at]
        assert np.all((read == VOCAB.mask) | ~VOCAB.special[read])


@every_in_place
@every_length
def test_weights_sum_to_the_budget(name, n):
    """max(1, round(rate n)) of the n tokens with special ones; whole words may not fill it."""
    bound = built(name).lengths(n)["P"]
    for draw in range(20):
        count = corrupted(name, n, draw=draw)["weights"].sum()
        assert 0 < count <= bound if "words" in name else count == min(bound, n)


SHARES = {"replaced_token": (0.85, 0.0)}
"""Of [MASK] and of random tokens; BERT's elsewhere."""
DRAWS = 10_000


@every_in_place
def test_shares_of_masked_random_and_kept_tokens(name):
    """Within 3 sigma. What is drawn once for a span is counted once for a span."""
    how, rng = built(name), np.random.default_rng(1)
    raw = toys.raw_example(how, 20)
    drawn = toys.corrupted_often(how, raw, DRAWS, rng)
    at = np.concatenate([found["predict_at"] for found in drawn])
    read = np.concatenate([found["tokens"][found["predict_at"]] for found in drawn])
    targets = np.concatenate([found["targets"] for found in drawn])
    if "span" in name:
        begins = np.diff(at, prepend=-1) != 1
        if "pairs" in how.arrangement:
            begins &= at != len(raw["first"]) + 2  # a span goes on behind the [SEP]
        read, targets = read[begins], targets[begins]
    masked, changed = SHARES.get(name.split()[0], (0.8, 0.1))
    changed *= 1 - 1 / np.count_nonzero(~VOCAB.special)  # a random token may be the token itself
    shares = {
        masked: np.mean(read == VOCAB.mask),
        changed: np.mean((read != VOCAB.mask) & (read != targets)),
        1 - masked - changed: np.mean(read == targets),
    }
    for expected, share in shares.items():
        assert abs(share - expected) <= 3 * np.sqrt(expected * (1 - expected) / len(read))


def test_spans_are_as_long_as_spanberts():
    """Ten tokens, each a word, are hidden among so many that spans hardly ever touch.

    How often each length must occur follows from the distribution alone: spans are drawn until
    ten tokens are hidden, and the last is cut. Within 3 sigma over 10,000 spans.
    """
    how = toys.built("span_boundary", rate=0.0025)
    raw, rng = {"tokens": np.full(4000, 8, np.int32)}, np.random.default_rng(2)
    assert VOCAB.word_starts[8]
    counts = np.zeros((4000, 11))
    for row in counts:
        at = toys.corrupt(how, raw, rng)["predict_at"]
        assert len(at) == 10
        runs = np.split(at, np.flatnonzero(np.diff(at) != 1) + 1)
        row += np.bincount([len(run) for run in runs], minlength=11)
    chances = 0.2 * 0.8 ** np.arange(10) / (1 - 0.8**10)
    expected = np.zeros((11, 11))  # [tokens left, length]
    for left in range(1, 11):
        for length, chance in enumerate(chances, start=1):
            taken = min(length, left)
            expected[left] += chance * expected[left - taken]
            expected[left, taken] += chance
    assert counts.sum() > DRAWS
    error = counts.std(axis=0) / np.sqrt(len(counts))
    assert np.all(np.abs(counts.mean(axis=0) - expected[10]) <= 3 * error)


@functools.cache
def device_half(name):
    """Its loss and its metrics, each compiled once: (parameters, batch) -> sums."""
    how = built(name)
    apply, rng, special = toys.apply_of(how), jax.random.key(0), jnp.asarray(VOCAB.special)
    loss = toys.loss_function(how)
    return (
        jax.jit(lambda params, batch: loss(apply, params, batch, rng, True)),
        jax.jit(lambda params, batch: how.metrics(apply, params, batch, rng, special)),
    )


ROWS = ([(17, 1), (9, 2)], [(16, 3)], [(4, 4), (17, 5)], [])
"""Raw tokens and seeds of the examples of a batch; the last row is padding."""


def batch_of(name, only=None):
    """The batch of ROWS, or the same with all but one row empty."""
    examples = [
        [corrupted(name, n, seed, seed) for n, seed in row] if only in (None, number) else []
        for number, row in enumerate(ROWS)
    ]
    return packed(name, examples)


@every_objective
def test_terms_have_a_coefficient_or_are_z_loss(name):
    terms = device_half(name)[0](toys.params_of(built(name)), batch_of(name))
    assert set(built(name).coefficients) <= set(terms)
    assert set(terms) - set(built(name).coefficients) <= {"z_loss"}
    for total, weight in terms.values():
        assert (total.shape, weight.shape) == ((), ())
        assert np.isfinite(total)
        assert weight > 0


@every_objective
def test_weights_of_terms_depend_on_the_batch_alone(name):
    loss, batch = device_half(name)[0], batch_of(name)
    first, second = (loss(toys.params_of(built(name), scale), batch) for scale in (1.0, 0.1))
    for term in first:
        assert first[term][0] != second[term][0]
        assert first[term][1] == second[term][1]


@every_objective
def test_terms_of_a_batch_are_the_sums_over_its_rows(name):
    loss, params = device_half(name)[0], toys.params_of(built(name))
    whole = loss(params, batch_of(name))
    parts = [loss(params, batch_of(name, only=row)) for row in range(len(ROWS))]
    for term, pair in whole.items():
        for i, value in enumerate(pair):
            added = sum(float(part[term][i]) for part in parts)
            assert float(value) == pytest.approx(added, rel=1e-5)
            assert float(parts[-1][term][i]) == 0


@every_objective
def test_metrics_are_of_the_text_tokens_that_are_predicted(name):
    params, batch = toys.params_of(built(name)), batch_of(name)
    found = device_half(name)[1](params, batch)
    assert {"text", "accuracy"} <= set(found)
    predicted = np.asarray(batch["targets"])[np.asarray(batch["weights"]) > 0]
    assert found["text"][1] == found["accuracy"][1] == np.sum(~VOCAB.special[predicted])
    for key, (total, weight) in found.items():
        assert np.isfinite(total), key
        assert weight >= 0, key
        assert not key.endswith("accuracy") or total <= weight, key
    assert jax.tree.all(jax.tree.map(np.array_equal, found, device_half(name)[1](params, batch)))


@every_objective
def test_probes_predict_each_token_of_the_text_alone(name):
    how = built(name)
    if how.pll_examples is None:
        return
    raw = toys.raw_example(how, 17)
    before = {key: value.copy() for key, value in raw.items()}
    probes = apart(how.pll_examples(together([raw]), np.arange(17), VOCAB))
    some = apart(how.pll_examples(together([raw]), np.array([3, 5]), VOCAB))
    for field, value in some[1].items():
        np.testing.assert_array_equal(value, probes[5][field])
    seen = np.concatenate([probe["targets"] for probe in probes])
    np.testing.assert_array_equal(seen, np.concatenate(list(before.values()))[:17])
    for probe in probes:
        assert set(probe) == set(how.fields)
        assert np.count_nonzero(probe["tokens"] == VOCAB.mask) == 1
        assert probe["tokens"][probe["predict_at"]].tolist() == [VOCAB.mask]
        assert probe["weights"].tolist() == [1]
    assert all(np.array_equal(raw[key], value) for key, value in before.items())
    toys.packed(how, [probes[:2]])


def test_causal_lm_predicts_each_token_once():
    found = corrupted("causal_lm", 17)
    raw = toys.raw_example(built("causal_lm"), 17)["tokens"]
    np.testing.assert_array_equal(found["tokens"], raw[:-1])
    np.testing.assert_array_equal(found["targets"], raw[1:])
    assert np.all(found["weights"] == 1)
    assert VOCAB.eos not in found["tokens"]
    assert found["targets"][-1] == VOCAB.eos


def test_causal_lm_covers_a_text_that_is_cut_into_chunks():
    """Chunks of 6 that share one token: the targets together are the text without its first."""
    how = built("causal_lm")
    raw = toys.raw_example(how, 31)["tokens"]
    arranged = how.arrange(5)
    step = arranged["raw_length"] - arranged["overlap"]
    chunks = [raw[at : at + 6] for at in range(0, len(raw) - 1, step)]
    targets = [toys.corrupt(how, {"tokens": chunk}, None)["targets"] for chunk in chunks]
    np.testing.assert_array_equal(np.concatenate(targets), raw[1:])


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [
        ("masked_lm", "rate", "0.0"),
        ("masked_lm", "rate", "1.0"),
        ("masked_lm", "replaced", "1.1"),
        ("next_sentence", "random", "-0.1"),
        ("next_sentence", "copies", "-1"),
        ("next_sentence", "short", "1.5"),
        ("span_boundary", "p", "1.0"),
        ("span_boundary", "longest", "0"),
        ("span_boundary", "boundary_positions", "0"),
        ("replaced_token", "weight", "0"),
        ("span_corruption", "mean_span", "0.5"),
        ("span_corruption", "mode", "-1"),
        ("prefix_lm", "mode", "100"),
        ("salient_spans", "spans", "0"),
        ("text_to_text", "targets_length", "1"),
        ("text_to_text", "inputs_length", "-1"),
    ],
)
def test_a_config_with_a_number_out_of_range_is_refused(name, key, value):
    """By composition/ranges.py, so that no objective checks a single number again."""
    with pytest.raises(ConfigError, match=rf"objective\.{key} must be"):
        config.read("configs/gpt2_nano.py", [("objective.name", name), (f"objective.{key}", value)])
