"""Choosing the next token: the definitions of transformers, and draws from the distribution."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pretrain_jax.errors import ConfigError
from pretrain_jax.inference import sampling
from pretrain_jax.inference.sampling import Sampling

LOGITS = np.random.default_rng(0).normal(0, 3, (4, 50)).astype(np.float32)
CHOICES = {
    "temperature": (1.0, 0.3, 2.5),
    "top_k": (0, 1, 7, 100),
    "top_p": (1.0, 0.9, 0.2),
    "min_p": (0.0, 0.05, 0.9),
    "repetition_penalty": (1.0, 1.7, 0.5),
}
COMBINATIONS = [dict(zip(CHOICES, x, strict=True)) for x in itertools.product(*CHOICES.values())]


def scores(how: Sampling, tokens: np.ndarray) -> np.ndarray:
    """The scores that a draw is made from."""
    position = jnp.full(len(tokens), tokens.shape[1] - 1)
    seen = sampling.seen_tokens(jnp.asarray(tokens), position, LOGITS.shape[1])
    penalised = sampling.penalise(jnp.asarray(LOGITS), seen, how.repetition_penalty)
    return np.asarray(sampling.filter_scores(penalised / how.temperature, how.strengths))


def test_scores_are_those_of_transformers():
    """All 324 combinations, with transformers' own processors in the order of `generate`."""
    torch = pytest.importorskip("torch")
    processors = pytest.importorskip("transformers.generation.logits_process")
    tokens = np.random.default_rng(1).integers(0, 50, (4, 9))
    for how in COMBINATIONS:
        chain = [processors.RepetitionPenaltyLogitsProcessor(how["repetition_penalty"])]
        chain.append(processors.TemperatureLogitsWarper(how["temperature"]))
        if how["top_k"]:
            chain.append(processors.TopKLogitsWarper(how["top_k"]))
        if how["top_p"] < 1:
            chain.append(processors.TopPLogitsWarper(how["top_p"]))
        if how["min_p"]:
            chain.append(processors.MinPLogitsWarper(how["min_p"]))
        want = torch.from_numpy(LOGITS.copy())
        for processor in chain:
            want = processor(torch.from_numpy(tokens), want)
        got = scores(Sampling(**how), tokens)
        np.testing.assert_array_equal(np.isinf(got), np.isinf(want.numpy()), err_msg=str(how))
        np.testing.assert_allclose(got, want.numpy(), rtol=1e-5, err_msg=str(how))


def test_the_filters_of_the_docstring():
    p = np.log(np.array([[0.15, 0.5, 0.05, 0.3]], np.float32))
    cases: list[tuple[Sampling, set[int]]] = [
        (Sampling(top_k=2), {1, 3}),
        (Sampling(top_p=0.79), {1, 3}),
        (Sampling(top_p=0.01), {1}),
        (Sampling(min_p=0.2), {0, 1, 3}),
        (Sampling(top_k=3, top_p=0.5, min_p=0.9), {1}),
    ]
    for how, kept in cases:
        left = np.asarray(sampling.filter_scores(jnp.asarray(p), how.strengths))[0]
        assert set(np.flatnonzero(np.isfinite(left))) == kept, how


def test_draws_follow_the_filtered_distribution():
    """20,000 draws; the standard error of each frequency is below 0.0036."""
    how = Sampling(temperature=0.7, top_k=4)
    row = jnp.asarray(LOGITS[:1] / 3)
    keys = jax.random.split(jax.random.key(0), 20_000)
    tokens, log_p = sampling.draw(
        jnp.broadcast_to(row, (len(keys), 50)), None, keys, how.strengths, how.filters
    )
    want = np.asarray(jax.nn.softmax(sampling.filter_scores(row / 0.7, how.strengths)))[0]
    got = np.bincount(tokens, minlength=50) / len(keys)
    np.testing.assert_allclose(got, want, atol=0.015)
    np.testing.assert_allclose(log_p, jax.nn.log_softmax(row)[0][tokens], atol=1e-5)


def test_only_what_filters_is_computed():
    """Other strengths of the same kind are the same program."""
    assert Sampling(top_k=5).filters == Sampling(top_k=9, top_p=0.5).filters
    assert Sampling().filters != Sampling(top_k=5).filters
    assert Sampling(temperature=0).filters.greedy


@pytest.mark.parametrize(
    "wrong", [{"temperature": -1.0}, {"top_k": -1}, {"top_p": 0.0}, {"top_p": 1.1}, {"min_p": 2.0},
              {"repetition_penalty": 0.0}]
)  # fmt: skip
def test_a_number_out_of_its_range_is_refused(wrong):
    (name,) = wrong
    with pytest.raises(ConfigError, match=f"{name} must be .*; received"):
        Sampling(**wrong)
