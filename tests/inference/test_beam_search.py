"""Beam search against brute force, where all continuations can be listed."""

import itertools
from typing import Any

import jax
import numpy as np
import pytest
import tiny
from uncached import log_probabilities

from pretrain_jax.inference import beam_search
from pretrain_jax.inference.decoding import Decoder, to_rows
from pretrain_jax.layers.stacks import BuildContext

VOCABULARY, END, TOKENS = 5, 0, 4
PROMPTS = ([1, 2, 3], [4])


@pytest.fixture(scope="module")
def model():
    """A GPT with large weights, so that its distributions are far from uniform."""
    sizes = {"vocab_size": VOCABULARY, "max_length": 32}
    module = tiny.build("gpt", BuildContext("causal"), **sizes)
    params = jax.tree.map(lambda x: 3 * x, tiny.init(module))

    def apply_cached(params, batch, cache, write):
        made: Any = module.apply({"params": params, **cache}, batch, False, mutable=list(write))
        return made

    return module, params, Decoder(apply_cached, VOCABULARY)


def brute_force(module, params, prompt: list[int], penalty: float) -> list[tuple[float, list[int]]]:
    """(score, tokens) of every continuation of at most TOKENS tokens, best first."""
    found = {}
    for tokens in itertools.product(range(VOCABULARY), repeat=TOKENS):
        end = tokens.index(END) + 1 if END in tokens else TOKENS
        found[tokens[:end]] = 0.0
    rows = np.array([[*prompt, *t, *[END] * (TOKENS - len(t))] for t in found])
    log_p = log_probabilities(module, params, rows)
    for row, tokens in enumerate(found):
        at = range(len(prompt) - 1, len(prompt) - 1 + len(tokens))
        total = sum(log_p[row, i, token] for i, token in zip(at, tokens, strict=True))
        found[tokens] = float(total) / len(tokens) ** penalty
    return sorted(((score, list(t)) for t, score in found.items()), reverse=True)


@pytest.mark.parametrize("penalty", [0.0, 0.6, 1.0, 2.0, -1.0])
def test_with_enough_beams_it_finds_the_best_of_all(model, penalty):
    """With 125 beams, every unfinished continuation of three tokens has one: nothing is lost."""
    module, params, decoder = model
    beams = VOCABULARY ** (TOKENS - 1)
    batch = to_rows([{"tokens": np.array(p, np.int32)} for p in PROMPTS], 2)
    last = np.array([len(p) + TOKENS - 1 for p in PROMPTS], np.int32)
    found = beam_search.search(
        params, batch, last, penalty, 1.0,
        slots=32, decoder=decoder, beams=beams, end=END, penalised=False,
    )  # fmt: skip
    for row, prompt in enumerate(PROMPTS):
        want = brute_force(module, params, prompt, penalty)
        for rank in range(5):
            made = found.tokens[row, rank, len(prompt) : int(found.position[row, rank]) + 1]
            assert float(found.scores[row, rank]) == pytest.approx(want[rank][0], abs=1e-4)
            assert made.tolist() == want[rank][1]
        total = found.log_probabilities[row, 0].sum()
        length = int(found.position[row, 0]) + 1 - len(prompt)
        assert float(total) / length**penalty == pytest.approx(
            float(found.scores[row, 0]), abs=1e-4
        )
