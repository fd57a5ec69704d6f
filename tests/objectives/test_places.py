"""Where the predictions of noise by words lie, in languages with and without spaces."""

import languages
import numpy as np
import pytest

from pretrain_jax import registry
from pretrain_jax.corruption.uniform import from_generator
from pretrain_jax.objectives import _encoder
from pretrain_jax.ragged import Ragged


@pytest.fixture(scope="module", params=registry.names("tokenizers"))
def tokenizer(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    module = registry.load("tokenizers", request.param, "tokenizer.name")
    texts = [languages.text(language, 2000) for language in languages.WORDS]
    module.train(texts, folder, vocab_size=1200)
    return module.load(folder)


def drawn(tokenizer, language, noise, size, times):
    """Noise of so many stretches of one long text, each of `size` tokens."""
    words = 6 * size
    while len(ids := tokenizer.encode(languages.text(language, words))) <= size:
        words *= 4  # a tokenizer may have one token for a sentence without spaces
        if words > 4000 * size:
            pytest.skip(f"one token for {words} words of {language}")
    at = np.random.default_rng(0).integers(0, len(ids) - size, times)
    texts = Ragged.concatenate([ids[a : a + size] for a in at])
    how = _encoder.build_masking(0.15, noise, 0.8, 0.1, 0)
    starts = tokenizer.word_starts[texts.values]
    _, found = how.hide(texts, starts, 2, from_generator(np.random.default_rng(1)), tokenizer)
    return texts.splits, found > 0


@pytest.mark.parametrize("language", languages.WORDS)
@pytest.mark.parametrize("noise, size, times", [("words", 510, 150), ("spans", 2000, 100)])
def test_every_tenth_of_an_example_is_predicted_alike(tokenizer, language, noise, size, times):
    """Spans begin in an example and end in it, so that its first tokens are in fewer of them: of a
    byte tokenizer's some 20, hence the longer examples."""
    texts, noisy = drawn(tokenizer, language, noise, size, times)
    tenths = np.bincount(texts.offsets[noisy] * 10 // size, minlength=10)
    assert abs(tenths / tenths.mean() - 1).max() < 0.2
    assert noisy.mean() > 0.14


@pytest.mark.parametrize("language", languages.WORDS)
@pytest.mark.parametrize("noise", ["words", "spans"])
def test_short_examples_are_predicted_everywhere(tokenizer, language, noise):
    """A tenth is too small to be alike here; no half of an example may have most of them."""
    texts, noisy = drawn(tokenizer, language, noise, 16, 600)
    halves = np.bincount(texts.offsets[noisy] * 2 // 16, minlength=2)
    assert abs(halves / halves.mean() - 1).max() < 0.2
    assert texts.take(noisy.nonzero()[0]).sizes.min() > 0
