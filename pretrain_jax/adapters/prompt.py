"""Prompt tuning (Lester et al. 2021): learned vectors before the embeddings of each example.

They start from a uniform distribution in +-0.5, as the paper's random prompts. An encoder-decoder
gets them in its memory, as in the paper. The vectors take the first positions of an example, and
data.seq_len counts them.
"""

from functools import partial
from typing import Annotated, Any

import jax

from pretrain_jax.adapters import _soft
from pretrain_jax.adapters._base import Adapter
from pretrain_jax.registry import Range


def build(*, tokens: Annotated[int, Range(1)] = 20, train: tuple[str, ...] = ()) -> Adapter:
    """Adds tokens x width parameters: 15,360 to GPT-2 of 124 M at 20.

    tokens: vectors before each example
    """
    return Adapter(
        change=partial(_soft.add_places, places=tokens, init=uniform),
        own=frozenset({_soft.PROMPT}),
        train=train,
        places=tokens,
        in_memory=True,
    )


def uniform(key: jax.Array, shape: tuple[int, ...], dtype: Any) -> jax.Array:
    """[tokens, width], uniform in +-0.5."""
    return jax.random.uniform(key, shape, dtype, -0.5, 0.5)
