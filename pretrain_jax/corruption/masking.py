"""Noise that is replaced in place: BERT's 80/10/10 rule."""

from functools import lru_cache
from typing import Any

import numpy as np

from pretrain_jax.corruption.noise import group_starts
from pretrain_jax.corruption.uniform import Uniform, to_int
from pretrain_jax.ragged import RowSplits


def mask_tokens(
    tokens: np.ndarray,
    noise: np.ndarray,
    texts: RowSplits,
    uniform: Uniform,
    *,
    mask: int,
    replaced: float = 0.8,
    random: float = 0.1,
    candidates: np.ndarray,
    per_token: bool = False,
) -> np.ndarray:
    """Replaces each noise group by masks or random tokens, or keeps it.

    The choice is drawn once per group, as in SpanBERT's spans, or once per token, as in BERT (also
    with whole words). Random tokens are drawn independently.

    Args:
      tokens: int [T], the tokens of all texts.
      noise: int [T], the noise map.
      texts: the splits of the texts.
      uniform: the only source of randomness.
      mask: id of the mask token.
      replaced: probability of masks.
      random: probability of random tokens. With the remaining probability the tokens are kept.
      candidates: int [C] ids from which random tokens are drawn uniformly. BERT draws from all of
        its vocabulary, including special ids; the objectives here pass the ids of text tokens.
      per_token: whether to draw per token instead of per group.

    Returns:
      A new array like `tokens`.
    """
    places = noise.nonzero()[0]
    first = np.ones(len(places), np.bool_) if per_token else group_starts(texts, noise)[places]
    choice = uniform(texts.take(places[first]).sizes)[first.cumsum() - 1]
    corrupted = tokens.copy()
    corrupted[places[choice < replaced]] = mask
    changed = places[(choice >= replaced) & (choice < replaced + random)]
    picked = to_int(uniform(texts.take(changed).sizes), len(candidates))
    corrupted[changed] = candidates[picked]
    return corrupted


@lru_cache(maxsize=4)
def text_ids(vocab: Any) -> np.ndarray:
    """int32: the ids of a tokenizer that stand for text; random tokens are drawn from them."""
    return np.flatnonzero(~vocab.special).astype(np.int32)
