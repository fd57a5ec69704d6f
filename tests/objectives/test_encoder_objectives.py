"""The encoders' objectives one by one: masked_lm, next_sentence, span_boundary, replaced_token."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import nats
import numpy as np
import objective_toys as toys
import pytest
from objective_toys import VOCAB
from sequences import apart

from pretrain_jax import losses
from pretrain_jax.corruption.uniform import from_generator
from pretrain_jax.errors import ConfigError
from pretrain_jax.layers.stacks import Output
from pretrain_jax.objectives import (
    _encoder,
    masked_lm,
    next_sentence,
    replaced_token,
    span_boundary,
)
from pretrain_jax.ragged import Ragged, RowSplits

ENCODERS = (masked_lm, next_sentence, span_boundary, replaced_token)


def ids(*values):
    return np.array(values, np.int32)


def check(found, **expected):
    assert set(found) == set(expected)
    for field, value in expected.items():
        assert found[field].tolist() == value, field


@pytest.mark.parametrize(
    ("module", "options", "named"),
    [
        (masked_lm, {"noise": "word"}, "did you mean words"),
        (masked_lm, {"replaced": 0.8, "random": 0.3}, "objective.replaced.*at most 1"),
    ],
)
def test_options_that_make_no_sense_are_refused(module, options, named):
    with pytest.raises(ConfigError, match=named):
        module.build(**options)


@pytest.mark.parametrize("shares", [(1.0, 0.0), (0.0, 1.0), (0.0, 0.0)])
def test_shares_may_be_all_or_nothing(shares):
    replaced, random = shares
    how = masked_lm.build(replaced=replaced, random=random)
    found = toys.corrupted(how, 50)
    read = found["tokens"][found["predict_at"]]
    assert np.all(read == VOCAB.mask) == (replaced == 1)
    assert np.all(read == found["targets"]) == (replaced == random == 0)


@pytest.mark.parametrize("module", ENCODERS)
def test_a_row_of_512_is_filled_and_77_of_its_tokens_are_predicted(module):
    how = module.build()
    raw = how.arrange(512)["raw_length"]
    bounds, budgets = how.lengths(raw), how.budgets(512)
    assert (bounds["L"], bounds["P"]) == (512, 77)
    assert (budgets["L"], budgets["P"]) == (512, 80)
    assert how.attention == "full"
    assert how.special_tokens == ("mask", "cls", "sep")
    assert how.baselines == ("uniform", "unigram")


def test_at_least_one_token_is_predicted_and_never_more_than_there_are():
    how = masked_lm.build(rate=0.9)
    assert masked_lm.build().lengths(1) == {"L": 3, "P": 1}
    for n in (1, 2, 10):
        count = len(toys.corrupted(how, n)["targets"])
        assert count == min(n, round(0.9 * (n + 2)))


def test_static_masking_is_a_number_of_copies():
    assert masked_lm.build().copies == 0
    assert masked_lm.build(copies=10).copies == next_sentence.build(copies=10).copies == 10


def test_masked_lm_writes_the_example_of_its_docstring():
    texts = Ragged.concatenate([ids(10, 11, 12, 13, 14)])
    hidden = ids(10, 11, VOCAB.mask, 13, 14)
    found = apart(_encoder.text_fields(texts, hidden, np.array([2]), VOCAB))[0]
    tokens = [5, 10, 11, 4, 13, 14, 6]
    check(found, tokens=tokens, predict_at=[3], targets=[12], weights=[1])


@pytest.mark.parametrize("make", [masked_lm.build, next_sentence.build])
def test_whole_words_are_predicted_as_a_whole(make):
    how = make(noise="words", rate=0.3)
    for draw in range(50):
        raw = toys.raw_example(how, 40, draw)
        found = toys.corrupt(how, raw, np.random.default_rng(draw))
        original = found["tokens"].copy()
        original[found["predict_at"]] = found["targets"]
        chosen = np.zeros(len(original), bool)
        chosen[found["predict_at"]] = True
        # A token that begins no word shares the fate of the one before it; special ids begin one.
        inside = ~VOCAB.word_starts[original] & ~VOCAB.special[original]
        inside &= ~VOCAB.special[np.roll(original, 1)]
        np.testing.assert_array_equal(chosen[inside], np.roll(chosen, 1)[inside])


def test_no_word_runs_from_one_text_of_a_pair_into_the_other():
    """B begins with the rest of a word; it is hidden with A's last word in some draws alone."""
    how = next_sentence.build(noise="words", rate=0.3)
    pair = {"first": ids(11, 12, 14), "second": ids(10, 12, 14), "is_next": ids(1)}
    assert not VOCAB.word_starts[10]
    drawn = [toys.corrupt(how, pair, np.random.default_rng(n))["predict_at"] for n in range(50)]
    assert {(3 in at, 5 in at) for at in drawn} == {(x, y) for x in (0, 1) for y in (0, 1)}


@pytest.mark.parametrize("is_next", [0, 1])
def test_next_sentence_writes_the_example_of_its_docstring(is_next):
    texts, hidden, first = Ragged.concatenate([ids(10, 11, 12)]), ids(10, VOCAB.mask, 12), ids(2)
    found = next_sentence.pair_fields(texts, first, ids(1 - is_next), hidden, np.array([1]), VOCAB)
    check(
        apart(found)[0],
        tokens=[5, 10, 4, 6, 12, 6],
        types=[0, 0, 0, 0, 1, 1],
        predict_at=[2],
        targets=[11],
        weights=[1],
        example_at=[0],
        labels=[1 - is_next],
        label_weights=[1],
    )


def test_both_texts_of_a_pair_are_predicted():
    how = next_sentence.build()
    at = np.concatenate([toys.corrupted(how, 7, draw=draw)["predict_at"] for draw in range(500)])
    assert set(at) == {1, 2, 3, 4, 6, 7, 8}  # [CLS] a b c d [SEP] e f g [SEP]


BATCH = {
    "tokens": [[5, 20, 4, 6, 21, 6, 5, 22, 6, 23, 6, 0], [0] * 12],
    "segments": [[1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 0], [0] * 12],
    "predict_at": [[2, 7, 0], [0, 0, 0]],
    "targets": [[30, 22, 0], [0, 0, 0]],
    "weights": [[1.0, 1, 0], [0, 0, 0]],
    "example_at": [[0, 6, 0], [0, 0, 0]],
    "labels": [[0, 1, 0], [0, 0, 0]],
    "label_weights": [[1.0, 1, 0], [0, 0, 0]],
    "left_at": [[1, 0, 0], [0, 0, 0]],
    "right_at": [[3, 0, 0], [0, 0, 0]],
    "span_positions": [[0, 0, 0], [0, 0, 0]],
    "span_weights": [[1.0, 0, 0], [0, 0, 0]],
}
"""Two packed examples, the second prediction seen by the model; padding behind, and a row of it."""


@functools.cache
def batch():
    return {field: jnp.asarray(value) for field, value in BATCH.items()}


def numbers(sums):
    return {name: (float(total), float(weight)) for name, (total, weight) in sums.items()}


def test_next_sentence_loss_and_metrics_by_hand():
    """Logits that say "next" with 3 nats for [CLS] of the first pair, and of the second too."""
    how = next_sentence.build()
    logits = jnp.array([[[3.0, 0.0], [3.0, 0.0], [9.0, 0.0]], [[0.0, 9.0]] * 3])

    def apply(params, batch, rng, train, method="__call__"):
        output = toys.apply_of(how)(params, batch, rng, train)
        return output.replace(heads={"next_sentence": logits})

    params, rng = toys.params_of(how), jax.random.key(0)
    found = numbers(how.loss(apply, params, batch(), rng, True))
    wrong = np.log1p(np.exp(3.0))
    assert found["next_sentence"] == (pytest.approx(2 * wrong - 3), 2)
    assert found["loss"] == (pytest.approx(numbers(token_loss(how))["loss"][0]), 2)
    found = numbers(how.metrics(apply, params, batch(), rng, jnp.asarray(VOCAB.special)))
    assert found["next_sentence_accuracy"] == (1, 2)
    assert found["yardstick/always_random"] == (1, 2)
    assert how.coefficients == {"loss": 1, "next_sentence": 1}


def token_loss(how):
    return losses.token_loss(
        toys.apply_of(how), toys.params_of(how), batch(), jax.random.key(0), True
    )


@pytest.mark.parametrize(
    ("drawn", "left", "right", "positions", "weights"),
    [
        # text a b c d e, with b and c drawn: the example of the docstring
        ([0, 1, 1, 0, 0], [1, 1], [4, 4], [0, 1], [1, 1]),
        # spans that begin and that end the text have no boundary
        ([1, 1, 0, 2, 0, 3], [0, 0, 3, 0], [0, 0, 5, 0], [0, 0, 0, 0], [0, 0, 1, 0]),
        ([1, 1, 1], [0] * 3, [0] * 3, [0] * 3, [0] * 3),
        # of a span of five tokens the first three are predicted from the boundary
        (
            [0, 1, 1, 1, 1, 1, 0],
            [1, 1, 1, 0, 0],
            [7, 7, 7, 0, 0],
            [0, 1, 2, 0, 0],
            [1] * 3 + [0] * 2,
        ),
    ],
)
def test_boundaries_are_the_tokens_outside_of_a_span(drawn, left, right, positions, weights):
    found = span_boundary.boundaries(RowSplits([len(drawn)]), ids(*drawn), np.flatnonzero(drawn), 3)
    check(
        apart(found)[0],
        left_at=left,
        right_at=right,
        span_positions=positions,
        span_weights=weights,
    )


def test_boundaries_are_text_that_is_read_and_never_special():
    how = span_boundary.build(rate=0.3)
    weights = []
    for draw in range(100):
        raw = toys.raw_example(how, 30, draw)
        found = toys.corrupt(how, raw, np.random.default_rng(draw))
        counts = found["span_weights"] > 0
        left, right, at = (found[key][counts] for key in ("left_at", "right_at", "predict_at"))
        original = np.array([VOCAB.cls, *raw["tokens"], VOCAB.sep])
        for outside in (left, right):
            np.testing.assert_array_equal(found["tokens"][outside], original[outside])
            assert not np.any(VOCAB.special[original[outside]])
            assert not np.any(np.isin(outside, found["predict_at"]))
        np.testing.assert_array_equal(at - left - 1, found["span_positions"][counts])
        assert np.all((left < at) & (at < right))
        weights.append(found["span_weights"].mean())
    assert 0 < np.mean(weights) < 1


def test_a_span_shares_its_fate():
    """All [MASK], or all unchanged, or all random: never two of these in one span."""
    how = span_boundary.build(rate=0.3)
    fates = set()
    for draw in range(100):
        raw = toys.raw_example(how, 60, draw)
        found = toys.corrupt(how, raw, np.random.default_rng(draw))
        at, read = found["predict_at"], found["tokens"][found["predict_at"]]
        for run in np.split(np.arange(len(at)), np.flatnonzero(np.diff(at) != 1) + 1):
            masked = read[run] == VOCAB.mask
            assert np.all(masked) or not np.any(masked)
            kept = np.mean(read[run] == found["targets"][run])
            assert len(run) < 4 or kept == 1 or kept < 0.5
            fates.add((bool(masked[0]), bool(kept == 1)))
    assert len(fates) == 3


def test_span_boundary_loss_and_metrics_are_the_mean_over_their_own_targets():
    how = span_boundary.build()
    output = toys.apply_of(how)(toys.params_of(how), batch(), None, True)
    nll, _ = nats.token_nll(output.heads["span_boundary"], batch()["targets"])
    terms, found = numbers(toys.loss_of(how, batch())), numbers(toys.metrics_of(how, batch()))
    assert terms["span_boundary"] == (pytest.approx(float(nll[0, 0])), 1)
    assert terms["loss"] == numbers(token_loss(how))["loss"]
    assert found["span_boundary"] == terms["span_boundary"]
    assert found["span_boundary_accuracy"][1] == 1
    assert how.coefficients == {"loss": 1, "span_boundary": 1}


def test_the_head_has_as_many_places_as_the_objective_writes():
    how = span_boundary.build(boundary_positions=4, longest=10, rate=0.5)
    params = toys.params_of(how)["span_boundary"]
    assert params["positions"].shape == (4, 200)
    found = [toys.corrupted(how, 64, draw=draw)["span_positions"] for draw in range(20)]
    assert np.max(np.concatenate(found)) == 3


def play(generated, logits):
    """What the discriminator reads, what was replaced and the metrics of BATCH.

    The generator is sure of the tokens `generated` [B, P]; the discriminator's logits are `logits`.
    """
    table = 100.0 * jnp.eye(VOCAB.size)
    seen = []

    def apply(params, batch, rng, train, method):
        if method == "generate":
            return Output(jnp.eye(VOCAB.size)[jnp.asarray(generated)], toys.tied(table))
        seen.append(np.asarray(batch["tokens"]))
        return jnp.broadcast_to(jnp.asarray(logits), batch["tokens"].shape)

    special = jnp.asarray(VOCAB.special)
    *_, replaced = replaced_token.run_both(apply, None, batch(), jax.random.key(0), True)
    found = replaced_token.build().metrics(apply, None, batch(), jax.random.key(0), special)
    return seen[0], np.asarray(replaced), numbers(found)


def test_padding_predictions_write_nothing():
    """The generator says 40 everywhere, also for the padding predictions, which point at [CLS]."""
    tokens, replaced, _ = play([[40, 40, 40], [40, 40, 40]], 0.0)
    expected = np.array(BATCH["tokens"])
    expected[0, [2, 7]] = 40
    np.testing.assert_array_equal(tokens, expected)
    assert np.argwhere(replaced).tolist() == [[0, 2], [0, 7]]


def test_a_sample_that_equals_the_original_counts_as_original():
    """Of targets 30 and 22 the generator says 30 and 41: only the second was replaced."""
    tokens, replaced, _ = play([[30, 41, 0], [0, 0, 0]], 0.0)
    assert tokens[0, [2, 7]].tolist() == [30, 41]
    assert np.argwhere(replaced).tolist() == [[0, 7]]


def test_precision_and_recall_of_the_discriminator_by_hand():
    """Places 2 and 7 were replaced; the discriminator says so of 2, 3 and of padding."""
    logits = np.full((2, 12), -2.0)
    logits[0, [2, 3, 11]] = logits[1, 0] = 2.0
    _, _, found = play([[40, 41, 0], [0, 0, 0]], logits)
    assert found["discriminator_accuracy"] == (9, 11)
    assert found["discriminator_precision"] == (1, 2)
    assert found["discriminator_recall"] == (1, 2)
    assert found["yardstick/always_original"] == (9, 11)
    right, wrong = np.log1p(np.exp(-2.0)), np.log1p(np.exp(2.0))
    assert found["discriminator"] == (pytest.approx(9 * right + 2 * wrong, rel=1e-5), 11)
    assert found["accuracy"] == (0, 2)


def test_a_discriminator_that_says_nothing_has_no_precision_and_no_nan():
    _, _, found = play([[40, 41, 0], [0, 0, 0]], -2.0)
    assert found["discriminator_precision"] == (0, 0)
    assert found["discriminator_recall"] == (0, 2)


def discriminator_loss(generator, discriminator, rng=0):
    """Its sum, where each stack has parameters of its own."""
    how = replaced_token.build()
    params = {"generate": generator, "discriminate": discriminator}

    def apply(params, batch, rng, train, method):
        return toys.apply_of(how)(params[method], batch, rng, train, method)

    return how.loss(apply, params, batch(), jax.random.key(rng), True)["discriminator"][0]


def test_no_gradient_flows_through_the_sample():
    params = toys.params_of(replaced_token.build())
    gradients = jax.grad(discriminator_loss, argnums=(0, 1))(params, params)
    assert not np.any(gradients[0]["table"])
    assert np.any(gradients[1]["table"])


def test_the_sample_depends_on_the_generator_and_on_the_key():
    params = toys.params_of(replaced_token.build())
    drawn = [float(discriminator_loss(params, params, rng)) for rng in (0, 0, 1, 2, 3)]
    assert drawn[0] == drawn[1]
    assert len(set(drawn)) > 1
    reversed_table = {"table": params["table"][::-1]}
    assert float(discriminator_loss(reversed_table, params)) != drawn[0]


def test_the_stacks_and_the_sample_have_keys_of_their_own():
    keys: dict[str, Any] = {}

    def apply(params, batch, rng, train, method):
        keys[method] = jax.random.key_data(rng).tolist()
        return toys.apply_of(replaced_token.build())(params, batch, rng, train, method)

    how = replaced_token.build()
    rng = jax.random.key(0)
    how.loss(apply, toys.params_of(how), batch(), rng, True)
    assert (
        len({tuple(key) for key in keys.values()} | {tuple(jax.random.key_data(rng).tolist())}) == 3
    )


def test_replaced_token_minimises_50_times_the_discriminators_loss():
    how = replaced_token.build()
    assert how.coefficients == {"loss": 1, "discriminator": 50}
    assert replaced_token.build(weight=2.0).coefficients["discriminator"] == 2
    terms = numbers(toys.loss_of(how, batch()))
    assert terms["loss"] == numbers(token_loss(masked_lm.build()))["loss"]
    assert terms["discriminator"][1] == 11


def test_single_tokens_are_chosen_wherever_words_start():
    uniform = from_generator(np.random.default_rng(0))
    drawn = _encoder.single_tokens(RowSplits([30]), ids(7), uniform, starts=np.zeros(30, bool))
    assert np.bincount(drawn).tolist() == [23] + [1] * 7
