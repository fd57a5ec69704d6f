"""From a seed of 64 bits to jax's random key."""

import jax

WORD = 2**32


def key(seed: int) -> jax.Array:
    """The random key of a seed from 0 to 2^64 - 1; every seed has a key of its own.

    `jax.random.key` reads 32 bits only. The upper 32 are folded in where they are not zero, so that
    seeds below 2^32 have the keys that jax gives them.

    >>> bool(key(5) == jax.random.key(5)), bool(key(WORD + 5) == key(5))
    (True, False)
    """
    if not 0 <= seed < WORD**2:
        raise ValueError(f"a seed has 64 bits; received {seed}")
    high, low = divmod(seed, WORD)
    made = jax.random.key(low)
    return jax.random.fold_in(made, high) if high else made
