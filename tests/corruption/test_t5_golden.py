"""Every published case of T5's noise; needs PRETRAIN_JAX_SHARED."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from sequences import one

from pretrain_jax.corruption import noise, render
from pretrain_jax.corruption.uniform import from_generator
from pretrain_jax.objectives import span_corruption
from pretrain_jax.ragged import Ragged


@pytest.fixture(scope="module")
def golden() -> dict:
    folder = os.environ.get("PRETRAIN_JAX_SHARED")
    if not folder:
        pytest.skip("PRETRAIN_JAX_SHARED is not set")
    return json.loads((Path(folder) / "data/golden/t5_span_corruption.json").read_text())


def test_renderings(golden):
    case = golden["unit_tests"]
    text, mask = np.array(case["tokens"]), np.array(case["noise_mask"], bool)
    drawn, rest = noise.from_mask(one(mask), mask), noise.from_mask(one(mask), ~mask)
    texts = Ragged.concatenate([text])
    alone = np.cumsum(mask) * mask  # every token of noise a group of its own
    sentinel = case["vocab_size"] - 1
    same, unique = [sentinel] * len(text), range(sentinel, sentinel - 100, -1)
    found = {
        "noise_token_to_sentinel": render.with_sentinels(texts, alone, same)[0].values,
        "noise_span_to_sentinel": render.with_sentinels(texts, drawn, same)[0].values,
        "nonnoise_span_to_sentinel": render.with_sentinels(texts, rest, same)[0].values,
        "noise_span_to_unique_sentinel": render.with_sentinels(texts, drawn, unique)[0].values,
        "drop_noise_tokens": render.drop_noise(texts, drawn).values,
        "drop_nonnoise_tokens": render.drop_noise(texts, rest).values,
    }
    assert {name: tokens.tolist() for name, tokens in found.items()} == {
        name: case[name] for name in found
    }


def test_lengths(golden):
    """Of the text that a row of inputs holds, and of its targets; one sentinel for each span."""
    for case in golden["random_spans_helper"]:
        assert case["extra_tokens_per_span_inputs"] == case["extra_tokens_per_span_targets"] == 1
        seq_len = case["inputs_length"]
        how = span_corruption.build(
            rate=case["noise_density"], mean_span=case["mean_noise_span_length"]
        )
        found = how.arrange(seq_len)["raw_length"], how.budgets(seq_len)["L"]
        assert found == (case["tokens_length"], case["targets_length"])


def test_noise_masks_have_the_same_counts(golden):
    """TensorFlow's random numbers are not ours; numbers of tokens and spans are."""
    for case in golden["random_spans_noise_mask"]:
        mask = np.array(case["mask"], bool)
        published = noise.from_mask(one(mask), mask)
        count, spans = noise.noise_and_span_counts(
            case["length"], case["noise_density"], case["mean_noise_span_length"]
        )
        assert (count, spans) == (np.count_nonzero(published), published.max())
        uniform = from_generator(np.random.default_rng(0))
        ours = noise.random_spans(one(mask), np.array([count]), np.array([spans]), uniform)
        assert (np.count_nonzero(ours), ours.max()) == (count, spans)


def test_denoised_example(golden):
    case = golden["denoise_example"]
    text = np.array(case["tokens"], np.int32)
    chosen = np.zeros(len(text), bool)
    for start, stop in case["masked_spans"]:
        chosen[start:stop] = True
    texts, drawn, sentinels = (
        Ragged.concatenate([text]),
        noise.from_mask(one(chosen), chosen),
        (25, 24),
    )
    count, spans = noise.noise_and_span_counts(len(text), case["noise_density"], 3.0)
    assert (np.count_nonzero(drawn), drawn.max()) == (count, spans)
    assert render.with_sentinels(texts, drawn, sentinels)[0].values.tolist() == case["inputs"]
    assert render.with_sentinels(texts, drawn, sentinels)[1].values.tolist() == case["targets"]
