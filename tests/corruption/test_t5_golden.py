"""Every published case of T5's noise; needs PRETRAIN_JAX_SHARED."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from pretrain_jax.corruption import noise, render
from pretrain_jax.objectives import span_corruption


@pytest.fixture(scope="module")
def golden() -> dict:
    folder = os.environ.get("PRETRAIN_JAX_SHARED")
    if not folder:
        pytest.skip("PRETRAIN_JAX_SHARED is not set")
    return json.loads((Path(folder) / "data/golden/t5_span_corruption.json").read_text())


def test_renderings(golden):
    case = golden["unit_tests"]
    text, mask = np.array(case["tokens"]), np.array(case["noise_mask"], bool)
    drawn, rest = noise.given(mask), noise.given(~mask)
    alone = np.cumsum(mask) * mask  # every token of noise a group of its own
    sentinel = case["vocab_size"] - 1
    same, unique = [sentinel] * len(text), range(sentinel, sentinel - 100, -1)
    found = {
        "noise_token_to_sentinel": render.with_sentinels(text, alone, same)[0],
        "noise_span_to_sentinel": render.with_sentinels(text, drawn, same)[0],
        "nonnoise_span_to_sentinel": render.with_sentinels(text, rest, same)[0],
        "noise_span_to_unique_sentinel": render.with_sentinels(text, drawn, unique)[0],
        "drop_noise_tokens": render.drop(text, drawn),
        "drop_nonnoise_tokens": render.drop(text, rest),
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
        published = noise.given(np.array(case["mask"], bool))
        count, spans = noise.spans_of_length(
            case["length"], case["noise_density"], case["mean_noise_span_length"]
        )
        assert (count, spans) == (np.count_nonzero(published), published.max())
        ours = noise.random_spans(case["length"], count, spans, np.random.default_rng(0))
        assert (np.count_nonzero(ours), ours.max()) == (count, spans)


def test_denoised_example(golden):
    case = golden["denoise_example"]
    text = np.array(case["tokens"], np.int32)
    chosen = np.zeros(len(text), bool)
    for start, stop in case["masked_spans"]:
        chosen[start:stop] = True
    drawn, sentinels = noise.given(chosen), (25, 24)
    count, spans = noise.spans_of_length(len(text), case["noise_density"], 3.0)
    assert (np.count_nonzero(drawn), drawn.max()) == (count, spans)
    assert render.with_sentinels(text, drawn, sentinels)[0].tolist() == case["inputs"]
    assert render.with_sentinels(text, drawn, sentinels)[1].tolist() == case["targets"]
