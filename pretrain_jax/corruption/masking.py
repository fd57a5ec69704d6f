"""Noise that stays in place: BERT's 80/10/10."""

from functools import lru_cache
from typing import Any

import numpy as np

from pretrain_jax.corruption.noise import firsts
from pretrain_jax.corruption.uniform import Uniform, whole
from pretrain_jax.ragged import Parts


def mask_tokens(
    tokens: np.ndarray,
    noise: np.ndarray,
    texts: Parts,
    uniform: Uniform,
    *,
    mask: int,
    replaced: float = 0.8,
    random: float = 0.1,
    candidates: np.ndarray,
    per_token: bool = False,
) -> np.ndarray:
    """`tokens` with each noise group masked, or made random, or left as it is.

    What becomes of a group is drawn once for the whole group, as SpanBERT does for spans, or once
    for each of its tokens, as BERT does also in whole words. Random tokens are drawn one by one.

    Args:
      tokens: int [T], of all texts.
      noise: int [T], the noise map.
      texts: where each text is.
      uniform: the only source of randomness.
      mask: id of the mask.
      replaced: probability of the mask.
      random: probability of random tokens; what `replaced` and `random` leave of 1 stays.
      candidates: int [C] ids that random tokens are drawn from, uniformly. BERT draws from its
        whole vocabulary, special ids included; objectives here pass the ids that stand for text.
      per_token: whether to draw for each token instead of for each group.

    Returns:
      a new array like `tokens`.
    """
    places = noise.nonzero()[0]
    first = np.ones(len(places), np.bool_) if per_token else firsts(texts, noise)[places]
    fate = uniform(texts.counts(places[first]).sizes)[first.cumsum() - 1]
    corrupted = tokens.copy()
    corrupted[places[fate < replaced]] = mask
    changed = places[(fate >= replaced) & (fate < replaced + random)]
    picked = whole(uniform(texts.counts(changed).sizes), len(candidates))
    corrupted[changed] = candidates[picked]
    return corrupted


@lru_cache(maxsize=4)
def text_ids(vocab: Any) -> np.ndarray:
    """int32: the ids of a tokenizer that stand for text; random tokens are drawn from them."""
    return np.flatnonzero(~vocab.special).astype(np.int32)
