"""The jax random key of a 64-bit seed."""

import jax

WORD = 2**32


def random_key(seed: int) -> jax.Array:
    """The random key of a seed from 0 to 2^64 - 1; no two seeds have the same key.

    `jax.random.key` uses only 32 bits. Nonzero upper 32 bits are folded in, so seeds below 2^32
    have the same keys as in jax.

    >>> bool(random_key(5) == jax.random.key(5)), bool(random_key(WORD + 5) == random_key(5))
    (True, False)
    """
    if not 0 <= seed < WORD**2:
        raise ValueError(f"a seed must be in 0 .. 2^64 - 1; received {seed}")
    high, low = divmod(seed, WORD)
    key = jax.random.key(low)
    return jax.random.fold_in(key, high) if high else key
