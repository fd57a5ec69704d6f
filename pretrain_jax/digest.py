"""Digests of arrays, computed on the devices that hold them.

Each element's bits are mixed with its index by a bijection of uint32, and the results are added
modulo 2^32, twice with other constants. Integer sums have no order, so every sharding gives the
same digest. It finds damage and mistakes; it is not secure against forgery.
"""

import hashlib
import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pretrain_jax.optim.trees import named_leaves

LANES = (0x9E3779B9, 0x85EBCA6B)
"""A constant for each of the two sums."""
LENGTH = 16


def digest_arrays(tree: Any) -> str:
    """Hexadecimal digits for the names, shapes, dtypes and bits of all arrays of a tree.

    >>> digest_arrays({"a": jnp.zeros(2)}) == digest_arrays({"a": jnp.zeros(3)})
    False
    """
    return combine(digest_leaves(tree))


def digest_leaves(tree: Any) -> dict[str, str]:
    """For each array of a tree, by name: its dtype, its shape and the sums of its bits."""
    sums = jax.device_get(jax.jit(lambda leaves: jax.tree.map(sum_bits, leaves))(tree))
    return {
        name: f"{leaf.dtype} {leaf.shape} {value.tolist()}"
        for (name, leaf), (_, value) in zip(named_leaves(tree), named_leaves(sums), strict=True)
    }


def combine(leaves: Mapping[str, str]) -> str:
    """The digest of the arrays of `digest_leaves`."""
    lines = "\n".join(f"{name} {value}" for name, value in leaves.items())
    return hashlib.sha256(lines.encode()).hexdigest()[:LENGTH]


def sum_bits(x: jax.Array) -> jax.Array:
    """uint32 [2]: the sums of an array."""
    bits = jax.lax.bitcast_convert_type(x, np.dtype(f"uint{8 * x.dtype.itemsize}")).astype(
        jnp.uint32
    )
    index = jnp.zeros(x.shape, jnp.uint32)
    for axis in range(x.ndim):
        stride = math.prod(x.shape[axis + 1 :]) % 2**32
        places = jax.lax.broadcasted_iota(jnp.uint32, x.shape, axis)
        index += places * np.uint32(stride)
    mixed = tuple(mix(bits ^ mix(index ^ np.uint32(lane))) for lane in LANES)
    zero = np.uint32(0)
    add = lambda a, b: (a[0] + b[0], a[1] + b[1])  # noqa: E731
    return jnp.stack(jax.lax.reduce(mixed, (zero, zero), add, tuple(range(x.ndim))))


def mix(x: jax.Array) -> jax.Array:
    """A bijection of uint32 (the finalizer of MurmurHash3)."""
    x = (x ^ (x >> 16)) * np.uint32(0x85EBCA6B)
    x = (x ^ (x >> 13)) * np.uint32(0xC2B2AE35)
    return x ^ (x >> 16)
